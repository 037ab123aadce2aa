"""The program of `make gpu`: no step hides another, the table is there after each, and every step's line is right."""

import importlib.util
import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from tests.paths import ROOT

PROGRAM = ROOT / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("benchmarks_gpu", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_a_step_that_fails_or_hangs_hides_no_other(program, tmp_path):
    child = "import subprocess as s, time; p = s.Popen(['sleep', '300']); print(p.pid, flush=True); time.sleep(300)"
    score = {"vision": 0.2, "rate": 10.0, "work": 3e9, "peak": 6e10, "waiting": 0.25, "memory": 2**31}
    found = [
        program.Step("hangs", ["-c", child], 1, 2, lambda text: {"pid": int(text)}),
        program.Step("fails", ["-c", "raise SystemExit('no | card')"], 1, 9, program.last_json),
        program.Step("says nothing", ["-c", ""], 1, 9, program.last_json),
        program.Step("works", ["-c", f"print({json.dumps(score)!r})"], 1, 9, program.score_figures),
        program.Step("too long", ["-c", ""], 1000, 1000, program.last_json),
    ]
    with (tmp_path / "gpu.log").open("w") as log:
        rows = program.run_all(found, tmp_path, 60, dict(os.environ), log, time.monotonic())
    assert [row.state for row in rows] == ["out of time", "failed", "failed", "ok", "dropped"]
    left_behind = rows[0].figures["pid"]  # what the step had started ends with it; nobody may have collected it yet
    assert not psutil.pid_exists(left_behind) or psutil.Process(left_behind).status() == psutil.STATUS_ZOMBIE
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert [step["state"] for step in written["steps"]] == [row.state for row in rows]
    assert written["steps"][3]["figures"]["of_peak"] == 0.5  # 10 images of 3 GFLOP per second, of 60 GFLOP/s
    lines = (tmp_path / "gpu.md").read_text().splitlines()
    assert lines[0].startswith("no GPU, ")
    assert "| exit code 1: no \\| card |" in lines[5]
    assert "its results cannot be read: IndexError" in lines[6]
    assert lines[7].endswith("| 10.0 images/s | 50.0% | 25.0% | 2.0 | matrix-product peak 0.06 TFLOP/s |")
    assert lines[8].startswith("| too long | dropped | 0 |")
    assert "no | card" in (tmp_path / "gpu.log").read_text()


def test_failed_and_skipped_tests_are_named(program, tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_good(record_property): record_property('float32_difference', 2e-7)\n"
        "def test_bad(): assert 1 == 2\n"
        "def test_left_out(): pytest.skip('no package')\n"
    )
    results = tmp_path / "results.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, f"--junitxml={results}", "test_it.py"]
    subprocess.run(command, cwd=tmp_path, capture_output=True)
    figures = program.test_figures(results)
    assert figures["passed"] == 1
    assert figures["failed"] == {"test_bad": "assert 1 == 2"}
    assert figures["skipped"] == {"test_left_out": "no package"}
    row = program.Row("tests", "failed", 3.0, figures)
    assert "1 passed, 1 failed, 1 skipped; largest float32 difference 2.0e-07" in program.line(row)


@pytest.mark.parametrize("tiny", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_step_fits_the_budget_and_names_files_that_exist(program, device, tiny, tmp_path):
    found = program.steps(device, tiny, tmp_path)
    assert len({step.name for step in found}) == len(found)
    for step in found:
        assert step.usual <= step.limit < program.BUDGET
        for word in step.command:
            assert not word.endswith(".py") or (ROOT / word).is_file()


@pytest.mark.slow
def test_the_whole_program_runs_on_a_cpu_with_the_smallest_models(tmp_path):
    command = [sys.executable, str(PROGRAM), "--device", "cpu", "--tiny", "--out", str(tmp_path), "--budget", "1700"]
    done = subprocess.run(command, capture_output=True, text=True)
    written = json.loads((tmp_path / "gpu.json").read_text())
    states = {step["name"]: (step["state"], step["reason"]) for step in written["steps"]}
    assert {state for state, _ in states.values()} == {"ok"}, (states, (tmp_path / "gpu.log").read_text()[-4000:])
    assert done.returncode == 0, done.stderr
    measured = [step["figures"] for step in written["steps"] if step["name"].startswith(("score", "train"))]
    assert len(measured) == 6
    for figures in measured:
        assert figures["rate"] > 0 and 0 < figures["of_peak"] < 1 and 0 <= figures["waiting"] < 1
    tested = {step["name"]: step["figures"] for step in written["steps"] if step["name"].startswith("tests")}
    assert not any(figures["failed"] for figures in tested.values())
    # vLLM is in an environment of its own, where there is one.
    assert tested["tests: vLLM"]["passed"] or all("vLLM" in why for why in tested["tests: vLLM"]["skipped"].values())
    assert all(figures["passed"] for name, figures in tested.items() if name != "tests: vLLM")
    assert len((tmp_path / "gpu.md").read_text().splitlines()) >= 4 + len(states)
