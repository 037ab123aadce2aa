"""`artquant doctor` as users meet it, also where nothing is installed."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from artquant_plugin.cli import main
from artquant_plugin.environment.findings import Check, guarded
from tests.environment.distributions import write_filelock_without_api, write_metadata
from tests.paths import ROOT


@pytest.fixture(autouse=True)
def no_data(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "data"))


def test_one_table_and_every_problem_and_note_with_what_it_means(capsys):
    code = main(["doctor", "--quick"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["state", "area", "name", "found", "tested"]
    states = [line.split()[0] for line in lines[1 : lines.index("")]]
    explained = [line.partition(":")[0] for line in lines[lines.index("") :] if line and not line.startswith(" ")]
    assert explained == [*sorted((each for each in states if each != "ok"), reverse=True), "problems"]
    assert lines[-1] == f"problems: {states.count('problem')}, notes: {states.count('note')}"
    assert code == (1 if "problem" in states else 0)


def findings(capsys, *options: str):
    code = main(["doctor", "--json", *options])
    content = json.loads(capsys.readouterr().out)
    return code, {(finding["area"], finding["name"]): finding for finding in content["findings"]}


@pytest.mark.slow
def test_everything_that_the_commands_import_can_be_imported(capsys):
    _, found = findings(capsys)
    imports = {name: finding["state"] for (area, name), finding in found.items() if area == "import"}
    assert imports == dict.fromkeys(
        ["lmms_eval.evaluator", "artquant_plugin.harness.artquant", "artquant_plugin.train.run", "filelock._api"], "ok"
    )


def test_a_package_outside_our_bounds_is_a_problem_with_its_remedy(capsys, tmp_path, monkeypatch):
    write_metadata(tmp_path, "filelock", "4.3.1")
    monkeypatch.syspath_prepend(tmp_path)
    code, found = findings(capsys, "--quick")
    assert code == 1
    finding = found["package", "filelock"]
    assert (finding["state"], finding["found"], finding["remedy"]) == (
        "problem",
        "4.3.1",
        "pip install 'filelock<4.3'",
    )


@pytest.mark.slow
def test_a_module_that_lmms_eval_misses_is_named(capsys, tmp_path, monkeypatch):
    write_filelock_without_api(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    code, found = findings(capsys)
    assert code == 1
    assert found["import", "lmms_eval.evaluator"]["state"] == "ok"
    assert "No module named 'filelock._api'" in found["import", "filelock._api"]["message"]


def run(*arguments: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    path = {} if folder is None else {"PYTHONPATH": str(folder)}
    return subprocess.run(arguments, env=os.environ | environment | path, cwd=folder, capture_output=True, text=True)


def test_the_token_is_not_shown(tmp_path):
    token = "hf_" + "x" * 34
    program = (sys.executable, "-m", "artquant_plugin", "doctor", "--quick", "--json")
    home = {"HF_HOME": str(tmp_path), "HF_TOKEN_PATH": str(tmp_path / "token")}
    present = run(*program, HF_TOKEN=token, **home)
    assert token not in present.stdout + present.stderr
    absent = run(*program, HF_TOKEN="", **home)
    states = {}
    for name, done in (("present", present), ("absent", absent)):
        (finding,) = [each for each in json.loads(done.stdout)["findings"] if each["area"] == "hub"]
        states[name] = finding["state"], finding["remedy"]
    assert states == {"present": ("ok", ""), "absent": ("note", "hf auth login")}


def test_it_answers_where_nothing_is_installed(tmp_path):
    """Neither torch, nor lmms-eval, nor anything else besides Python's own library."""
    venv.create(tmp_path / "bare", symlinks=True)
    python = str(next((tmp_path / "bare").glob("*/python")))
    (tmp_path / "artquant_plugin").symlink_to(ROOT / "artquant_plugin")  # beside it in ROOT there may be metadata
    done = run(python, "-m", "artquant_plugin", "doctor", "--json", folder=tmp_path)
    assert done.returncode == 1, done.stderr
    found = {(each["area"], each["name"]): each for each in json.loads(done.stdout)["findings"]}
    assert found["package", "artquant-plugin"]["found"] == "missing"
    assert "No module named 'torch'" in found["gpu", "torch"]["message"]
    assert "No module named 'lmms_eval'" in found["import", "lmms_eval.evaluator"]["message"]
    assert all(each["remedy"] for each in found.values() if each["state"] == "problem")


def test_a_check_that_fails_itself_is_a_problem_with_its_reason():
    def fails():
        raise OSError("the disk\nis gone")

    (finding,) = guarded(Check("disk", "data", fails))
    assert (finding.state, finding.area, finding.name) == ("problem", "disk", "data")
    assert finding.message == "data could not be looked at (OSError: the disk)"


def test_nothing_heavy_is_imported_before_a_check_runs():
    program = (
        "import sys, artquant_plugin.cli, artquant_plugin.environment.survey as s; "
        "print({'torch', 'numpy', 'transformers', 'huggingface_hub', 'lmms_eval', 'packaging'} & set(sys.modules))"
    )
    done = run(sys.executable, "-c", program)
    assert done.stdout == "set()\n", done.stderr


def test_the_package_is_the_command():
    done = run(sys.executable, "-m", "artquant_plugin", "--version")
    assert done.stdout.startswith("artquant 0.")
    wrong = run(sys.executable, "-m", "artquant_plugin", "paint")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("artquant: error: ")
