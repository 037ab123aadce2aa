"""The tests and the speeds that need a GPU, within nine minutes, as one Markdown table and one JSON file.

Each step runs in a process of its own with a time limit of its own, and the table is written after every step, so that
a step that fails or hangs hides no other. The steps come in order of worth; those for which the budget leaves too
little time are dropped, and the table says so. docs/gpu.md says what each row means.

This program imports the standard library alone. With `--wheels` it installs a folder of wheels beside itself first,
for a machine that has torch and no package index.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
BUDGET = 540  # seconds, for which the steps' own times are meant
LEAST = 0.4  # of a step's usual time; with less left, the step is dropped
RESERVE = 5  # seconds of the budget that are kept for writing
ENVIRONMENT = """
import json, os, platform, sys
from importlib import metadata
import torch
found = {"python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda}
found["cores"] = len(os.sched_getaffinity(0))
found["card"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
names = ("transformers", "peft", "accelerate", "triton", "flash-linear-attention", "causal-conv1d", "flash-attn",
    "bitsandbytes")
for name in names:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        found[name] = None
if sys.argv[1] == "cuda":
    assert found["card"] is not None, "torch finds no CUDA device"
    found["card_memory"] = torch.cuda.get_device_properties(0).total_memory
import artquant_plugin.scoring.scorer, artquant_plugin.train.run
sys.path.insert(0, "benchmarks")
from _machine import peak
found["peak"] = peak(torch.device(sys.argv[1]), torch.bfloat16 if sys.argv[1] == "cuda" else torch.float32)
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Step:
    """A program that is run and whose outcome is a row of the table.

    Args:
        name: what the row is called in the table.
        command: the command line, without Python itself in front of it.
        usual: the seconds that the step is expected to take, including the start of Python.
        limit: the seconds after which the step is ended.
        read: makes the figures of the row from what the step printed.
    """

    name: str
    command: list[str]
    usual: int
    limit: int
    read: Callable[[str], dict[str, Any]]


@dataclass
class Row:
    """The outcome of a step.

    Args:
        name: the name of the step that was run.
        state: ``ok``, ``failed``, ``out of time``, ``dropped``, or ``waiting`` before the step's turn.
        seconds: the time that the step took.
        figures: what the step measured, or how its tests ended.
        reason: why it did not end well, in one line.
    """

    name: str
    state: str = "waiting"
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


def main() -> None:
    """Run the steps; the exit code is 1 where one of them did not end well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of the results (%(default)s)")
    parser.add_argument(
        "--budget", type=float, default=BUDGET, help="seconds for all steps (%(default)s); with more, each has more"
    )
    parser.add_argument(
        "--wheels", type=Path, help="folder of wheels to install first, for a machine without an index"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--tiny", action="store_true", help="smallest models and few tests, to try this program itself"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], help="run the steps alone whose names hold one of these words"
    )
    args = parser.parse_args()
    started = time.monotonic()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, (args.out / "gpu.log").open("w", encoding="utf-8") as log:
        environment = environment_of(args, Path(scratch), log)
        found = steps(args.device, args.tiny, Path(scratch))
        found = [step for step in found if not args.only or any(word in step.name for word in args.only)]
        rows = run_all(found, args.out, args.budget, environment, log, started)
    sys.exit(any(row.state != "ok" for row in rows))


def run_all(
    found: list[Step], folder: Path, budget: float, environment: dict[str, str], log: TextIO, started: float
) -> list[Row]:
    """Run steps one after the other, and write the table after each.

    Args:
        found: the steps, the most important first.
        folder: where the table and the JSON file are written.
        budget: the seconds for all steps together.
        environment: the environment variables of every step.
        log: the open file that takes what the steps print.
        started: what `time.monotonic` said when the time of the budget began.

    Returns:
        One row per step.
    """
    patience = max(1.0, budget / BUDGET)
    rows = [Row(step.name) for step in found]
    for step, row in zip(found, rows, strict=True):
        left = budget - RESERVE - (time.monotonic() - started)
        if left < step.usual * patience * LEAST:
            row.state, row.reason = "dropped", f"{max(left, 0):.0f} s of {budget:.0f} s were left"
        else:
            run(step, row, min(step.limit * patience, left), environment, log)
        write(folder, rows, time.monotonic() - started)
        print(line(row), flush=True)
    return rows


def steps(device: str, tiny: bool, scratch: Path) -> list[Step]:
    """All steps, in order of worth."""

    def tests(name: str, files: str, usual: int, limit: int, *selection: str) -> Step:
        results = scratch / f"{len(name)}-{name.split()[-1]}.xml"
        command = ["-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", f"--junitxml={results}"]
        return Step(name, [*command, *files.split(), *selection], usual, limit, lambda _: test_figures(results))

    def score(name: str, shape: str, batch: int, images: int, usual: int, limit: int) -> Step:
        command = ["benchmarks/score.py", "--json", "--shapes", shape, "--batch-sizes", str(batch)]
        return Step(name, [*command, "--images", str(images), *common], usual, limit, score_figures)

    def train(name: str, shape: str, way: str, pairs: int, usual: int, limit: int) -> Step:
        command = ["benchmarks/train.py", "--json", "--shapes", shape, "--ways", way, "--pairs", str(pairs)]
        return Step(name, [*command, "--steps", "1" if tiny else "8", *common], usual, limit, train_figures)

    common = ["--device", device, "--dtype", "bfloat16" if device == "cuda" else "float32"]
    large, small, pairs = ("tiny", "qwen3.5-tiny", 1) if tiny else ("7b", "qwen3.5-0.8b", 8)
    few = ("-k", "llava and not llava_") if tiny else ()
    one = ("-k", "recomputed") if tiny else ()
    count = (lambda _: 4) if tiny else (lambda images: images)
    return [
        Step("environment", ["-c", ENVIRONMENT, device], 20, 90, last_json),
        tests("tests: scores of every family", "tests/gpu/test_scores.py", 60, 150, *few),
        score("score 7B, batch 32", large, 2 if tiny else 32, count(512), 50, 120),
        score("score Qwen3.5 0.8B, batch 32", small, 2 if tiny else 32, count(1024), 60, 120),
        train("train 7B, activations recomputed", large, "language", pairs, 50, 110),
        tests("tests: memory", "tests/gpu/test_memory.py", 25, 60, *(("-k", "halved") if tiny else ())),
        tests("tests: training", "tests/gpu/test_training.py", 90, 150, *one),
        train("train 7B, activations kept", large, "plain", pairs, 50, 110),
        tests("tests: kernels", "tests/gpu/test_kernels.py", 60, 120, *(("-k", "eager") if tiny else ())),
        tests("tests: quantised", "tests/gpu/test_quantized.py", 30, 60, *(("-k", "4bit") if tiny else ())),
        tests("tests: vLLM", "tests/gpu/test_vllm.py", 20, 120),
        score("score Qwen3.5 0.8B, batch 128", small, 2 if tiny else 128, count(1024), 60, 90),
        score("score 7B, batch 8", large, 2 if tiny else 8, count(256), 45, 90),
    ]


def environment_of(args: argparse.Namespace, scratch: Path, log: TextIO) -> dict[str, str]:
    """The environment of every step: the checkout, and the wheels' packages before those of the machine."""
    paths = [str(ROOT)]
    if args.wheels is not None:
        site = scratch / "site"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        command += ["--target", str(site), *map(str, sorted(args.wheels.glob("*.whl")))]
        done = subprocess.run(command, stdout=log, stderr=log)
        if done.returncode:
            sys.exit(f"the wheels of {args.wheels} cannot be installed; {args.out / 'gpu.log'} says why")
        paths.insert(0, str(site))
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "ARTQUANT_TEST_DEVICE": args.device,
    }


def run(step: Step, row: Row, limit: float, environment: dict[str, str], log: TextIO) -> None:
    """Run a step, end it with all its processes at its limit, and fill its row."""
    log.write(f"\n===== {step.name}\n")
    log.flush()
    started = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as printed:
        process = subprocess.Popen(
            [sys.executable, *step.command],
            cwd=ROOT,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=limit)
            row.state = "ok" if code == 0 else "failed"
        except subprocess.TimeoutExpired:
            code = None
            row.state, row.reason = "out of time", f"ended after {limit:.0f} s"
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # what the step started and left behind, too
            except ProcessLookupError:
                pass
            process.wait()
        row.seconds = time.monotonic() - started
        printed.seek(0)
        text = printed.read()
    log.write(text)
    log.flush()
    try:
        row.figures = step.read(text)
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
        if row.state == "ok":
            row.state, row.reason = "failed", f"its results cannot be read: {type(error).__name__}: {error}"
    if code and not row.reason:
        lines = [each.strip() for each in text.splitlines() if each.strip()]
        row.reason = "see its failed tests" if "failed" in row.figures else f"exit code {code}: {(lines or [''])[-1]}"


def last_json(text: str) -> dict[str, Any]:
    """The last line that is a JSON object; warnings may stand behind it."""
    return json.loads([each for each in text.splitlines() if each.startswith("{")][-1])


def score_figures(text: str) -> dict[str, Any]:
    """The row of benchmarks/score.py, with the fraction of the peak."""
    row = last_json(text)
    return row | {"of_peak": row["rate"] * row["work"] / row["peak"]}


def train_figures(text: str) -> dict[str, Any]:
    """The row of benchmarks/train.py, with the fraction of the peak and the rate."""
    row = last_json(text)
    return row | {"of_peak": row["work"] / row["seconds"] / row["peak"], "rate": row["samples"] / row["seconds"]}


def test_figures(results: Path) -> dict[str, Any]:
    """How many tests passed; the names of those that failed or were skipped, with reasons; what tests recorded."""
    passed, failed, skipped, recorded = 0, {}, {}, {}
    for case in ElementTree.parse(results).iter("testcase"):
        name = case.attrib["name"]
        bad = [each for kind in ("failure", "error") for each in case.findall(kind)]
        left_out = case.find("skipped")
        if bad:
            failed[name] = first_line(bad[0].attrib.get("message", ""))
        elif left_out is not None:
            skipped[name] = first_line(left_out.attrib.get("message", ""))
        else:
            passed += 1
        for each in case.iter("property"):
            recorded[f"{name} {each.attrib['name']}"] = each.attrib["value"]
    return {"passed": passed, "failed": failed, "skipped": skipped, "recorded": recorded}


def first_line(text: str) -> str:
    """The first line of a message, cut to 200 characters."""
    return (text.strip().splitlines() or [""])[0][:200]


def write(folder: Path, rows: list[Row], seconds: float) -> None:
    """Write the table and the JSON file, each whole or not at all."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() or "unknown",
        "seconds": seconds,
        "steps": [vars(row) for row in rows],
    }
    for name, text in (("gpu.json", json.dumps(content, indent=1) + "\n"), ("gpu.md", table(content, rows))):
        beside = folder / f"{name}.new"
        beside.write_text(text, encoding="utf-8")
        beside.replace(folder / name)


def table(content: dict[str, Any], rows: list[Row]) -> str:
    """The Markdown table, with what it was measured on above it, and failed and skipped tests below it."""
    machine = next((row.figures for row in rows if row.name == "environment"), {})
    about = [str(machine.get("card") or "no GPU"), content["date"][:10], f"commit {content['commit'][:12]}"]
    about += [f"{name} {machine[name]}" for name in ("torch", "cuda", "transformers", "triton") if machine.get(name)]
    lines = [f"{', '.join(about)}; {content['seconds']:.0f} s", ""]
    lines += ["| step | state | s | rate | of peak | waiting | memory GiB | remarks |", "|---" * 8 + "|"]
    lines += [line(row) for row in rows]
    for row in rows:
        for kind in ("failed", "skipped"):
            lines += [f"- {kind}: `{name}`: {why}" for name, why in row.figures.get(kind, {}).items()]
    return "\n".join(lines) + "\n"


def line(row: Row) -> str:
    """A row of the Markdown table."""
    found = row.figures
    cells = [row.name, row.state, f"{row.seconds:.0f}"]
    if "rate" in found:
        unit = "images/s" if "vision" in found else "samples/s"
        cells += [f"{found['rate']:.1f} {unit}", f"{found['of_peak']:.1%}", f"{found['waiting']:.1%}"]
        cells += [f"{found['memory'] / 2**30:.1f}"]
    else:
        cells += ["", "", "", ""]
    remarks = [row.reason] if row.reason else []
    if "passed" in found:
        remarks += [f"{found['passed']} passed, {len(found['failed'])} failed, {len(found['skipped'])} skipped"]
        differences = [float(v) for name, v in found["recorded"].items() if name.endswith("float32_difference")]
        remarks += [f"largest float32 difference {max(differences):.1e}"] if differences else []
        differences = [float(v) for name, v in found["recorded"].items() if name.endswith("bfloat16_difference")]
        remarks += [f"bfloat16 {max(differences):.2f}"] if differences else []
    elif "peak" in found:
        remarks += [f"matrix-product peak {found['peak'] / 1e12:.3g} TFLOP/s"]
    return "| " + " | ".join([*cells, "; ".join(remarks).replace("|", "\\|")]) + " |"


if __name__ == "__main__":
    main()
