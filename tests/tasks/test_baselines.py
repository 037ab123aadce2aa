"""Every command line of docs/baselines.md, run as it stands there against a scripted endpoint."""

import base64
import json
import os
import re
import shlex
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artquant_plugin.cli import main
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.metrics.predictions import join_predictions, read_predictions, read_truth
from artquant_plugin.report.task_runs import read_runs
from tests.backbones.families import family
from tests.evaluation import evaluate
from tests.paths import ROOT
from tests.peers.llm_answers import Says
from tests.peers.local_llm import LocalLLM
from tests.tiny import pictures

PAGE = (ROOT / "docs" / "baselines.md").read_text(encoding="utf-8")
LINES = re.findall(r"^    (lmms-eval .+)$", PAGE, re.MULTILINE)
GENERALISTS = [line for line in LINES if "--model pyiqa" not in line]
PLAIN, COT = ("apdd", "baid", "vaps"), ("apdd_cot", "baid_cot", "vaps_cot")
DATASETS = {"apdd": (0, 10), "baid": (0, 10), "vaps": (1, 10)}


def test_the_page_has_the_lines_that_it_promises():
    named = [re.search(r"--model (\S+) --model_args ([^ ,]+)", line) for line in LINES]
    assert [(match[1], match[2]) for match in named] == [
        ("openai", "model_version=gpt-4o-2024-08-06"),
        ("openai", "model_version=qwen-vl-plus"),
        ("qwen2_5_vl", "pretrained=Qwen/Qwen2.5-VL-7B-Instruct"),
        ("openai", "model_version=Qwen/Qwen2.5-VL-7B-Instruct"),
        ("openai", "model_version=Qwen/Qwen2.5-VL-7B-Instruct"),
        ("pyiqa", "metric=laion_aes"),
    ]
    assert all("--tasks artquant,artquant_cot " in line for line in GENERALISTS)
    assert all("timeout=600" in line for line in GENERALISTS if "--model openai" in line)
    assert "base_url=http://localhost:8000/v1" in GENERALISTS[3]  # vLLM's own port
    assert "base_url=http://localhost:30000/v1" in GENERALISTS[4]  # SGLang's own port


def test_the_snippet_for_deqa_gives_its_scores(tmp_path, monkeypatch):
    """Equal logits are the middle of 1 to 5; one level far above the others is its value."""
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    words = ("excellent", "good", "fair", "poor", "bad")
    rows = [
        {"image": "a.jpg", "logits": dict.fromkeys(words, 2.0)},
        {"image": "b.jpg", "logits": {word: 50.0 * (word == "good") for word in words}},
    ]
    (tmp_path / "deqa.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "docs/baselines.md", "exec"), {})
    (tmp_path / "truth.csv").write_text("image,score\na.jpg,1\nb.jpg,2\n")
    joined = join_predictions(read_predictions(tmp_path / "deqa.csv"), read_truth("truth.csv"))
    assert joined.predictions == pytest.approx([3, 4])


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """$ARTQUANT_DATA with small `apdd`, `baid` and `vaps` of the same five paintings."""
    folder = tmp_path_factory.mktemp("home")
    rows = []
    for index, image in enumerate(pictures(5)):
        path = folder / f"p{index}.png"
        image.save(path)
        rows.append(Painting(f"p{index}", path.name, sha256_file(path), float(index + 2)))
    for name, score_range in DATASETS.items():
        write_dataset(
            folder / name,
            name=name,
            score_range=score_range,
            splits={"test": rows},
            image_root=str(folder),
            source="made up",
            license="CC0",
        )
    return folder


def brightness(picture: Image.Image) -> float:
    return round(float(np.mean(picture)), 3)


def scripted(home: Path):
    """An endpoint's answers by painting and prompt: scores, and every way of giving none."""
    place = {brightness(Image.open(home / f"p{index}.png")): index for index in range(5)}

    def words(body: dict) -> str | None:
        image, question = body["messages"][0]["content"]
        picture = Image.open(BytesIO(base64.b64decode(image["image_url"]["url"].partition(",")[2])))
        index = place[brightness(picture)]
        if "step by step" in question["text"]:
            assert body["max_tokens"] == 2048
            reasoning = "Perception: 3 warm reds, a good balance. Cognition: a harbour of 1889. Emotion: 9/10 calm."
            return [
                f'{reasoning}\n{{"score": 2.5}}',
                f"<think>a 9?</think>{reasoning}\n\n**Score: 3–4 / 10**",
                f"{reasoning}\nOverall I would give this painting a 40 out of 100.",
                reasoning,
                None,
            ][index]
        if "Answer with one word" in question["text"]:
            assert body["max_tokens"] == 64
            return ["Excellent", "**fair**", "The quality of the painting is poor.", "Not good, not bad.", "Lovely"][
                index
            ]
        assert body["max_tokens"] == 256
        return [
            '```json\n{"score": 6}\n```',
            "评分：5,5",
            "I'm sorry, but I can't assist with that.",
            '{"score": 11}',
            '{"score": 3}',
        ][index]

    return lambda body: Says(words(body))


PLAIN_READ = {"p0": 6.0, "p1": 5.5, "p4": 3.0}
PLAIN_FAILURES = {"refusal": 1, "out_of_range": 1}
COT_READ = {"p0": 2.5, "p1": 3.5, "p2": 4.0}
COT_FAILURES = {"empty": 1, "ambiguous": 1}  # aspects and prose alone are no answer


def run_line(line: str, folder: Path, home: Path, *extra: str, **variables: str) -> str:
    """A line as a shell would run it; its standard error, as it exits with 0 whatever happened."""
    program, *options = shlex.split(line)
    assert program == "lmms-eval"
    environment = os.environ | {
        "ARTQUANT_DATA": str(home),
        "HF_HOME": str(folder / "hf"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    command = [Path(sys.executable).parent / program, *options, *extra]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stderr


def test_level_words_through_an_endpoint(home, tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(home))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with LocalLLM(scripted(home)) as llm:
        options = f"model_version=m,base_url={llm.url},api_key=none"
        results = evaluate("openai", options, ["baid_levels"], batch_size="1")
    found = {name.partition(",")[0]: value for name, value in results["results"]["baid_levels"].items()}
    read = {s["scored"]["id"]: s["scored"]["prediction"] for s in results["samples"]["baid_levels"]}
    assert read == {"p0": 10.0, "p1": 5.0, "p2": 3.5, "p3": None, "p4": None}
    reasons = {s["scored"]["id"]: s["scored"]["reason"] for s in results["samples"]["baid_levels"]}
    assert sorted(filter(None, reasons.values())) == ["ambiguous", "no_number"]
    assert [found[name] for name in ("scored", "failed")] == [3, 2]
    assert found["srocc"] == pytest.approx(-1)  # truths 2 to 4 in the reverse order


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in GENERALISTS if "--model openai" in line])
def test_a_line_for_an_endpoint(line, home, tmp_path, capsys):
    gpt = "gpt-4o" in line
    with LocalLLM(scripted(home), delay=12.0 if gpt else 0.0) as llm:  # longer than lmms-eval's default time-out
        line = re.sub(r"base_url=[^,]+", f"base_url={llm.url}", line)
        address = {"OPENAI_API_BASE": llm.url} if gpt else {}
        started = time.monotonic()
        log = run_line(line, tmp_path, home, OPENAI_API_KEY="none", **address)
    output = tmp_path / line.rpartition("--output_path ")[2]
    runs = {run.task: run for run in read_runs([output])}
    assert set(runs) == {*PLAIN, *COT}, log[-3000:]
    assert len(llm.requests) == 30  # five paintings, three datasets, two prompts, none asked twice
    assert not gpt or time.monotonic() - started > 12
    for task in PLAIN:
        assert dict(zip(runs[task].ids, runs[task].predictions, strict=True)) == PLAIN_READ
        assert (runs[task].failures, runs[task].prompt) == (PLAIN_FAILURES, "plain-1")
    for task in COT:
        assert dict(zip(runs[task].ids, runs[task].predictions, strict=True)) == pytest.approx(COT_READ)
        assert (runs[task].failures, runs[task].prompt) == (COT_FAILURES, "cot-1")
        assert runs[task].from_range == 1
    scales = {body["messages"][0]["content"][1]["text"].partition(" (worst)")[0][-1] for _, body in llm.requests}
    assert scales == {"0", "1"}
    assert main(["results", str(output), "--resamples", "20"]) == 0
    shown = capsys.readouterr().out
    for part in ("plain-1", "cot-1", "2 (1 out_of_range, 1 refusal)", "2 (1 ambiguous, 1 empty)"):
        assert part in shown
    assert f"{runs['apdd_cot'].model} on apdd_cot: 1 scores are the mid-point of a range" in shown


@pytest.mark.slow
def test_the_line_for_a_local_model(home, tmp_path, capsys):
    """With a Qwen2.5-VL of random weights in the place of its id, and on a CPU: it says nothing that is a score."""
    pytest.importorskip("decord", reason="decord is not installed, which lmms-eval's model qwen2_5_vl imports")
    (line,) = (line for line in GENERALISTS if "--model qwen2_5_vl" in line)
    model, processor = family("qwen2_5_vl")
    model.save_pretrained(tmp_path / "qwen")
    processor.save_pretrained(tmp_path / "qwen")
    line = line.replace("pretrained=Qwen/Qwen2.5-VL-7B-Instruct", "pretrained=qwen,device_map=cpu")
    log = run_line(line, tmp_path, home, "--device", "cpu", "--gen_kwargs", "max_new_tokens=8")
    runs = {run.task: run for run in read_runs([tmp_path / "results"])}
    assert set(runs) == {*PLAIN, *COT}, log[-3000:]
    for run in runs.values():
        assert len(run.ids) + len(run.unscored) == 5
    capsys.readouterr()  # what building and saving the model printed
    assert main(["results", str(tmp_path / "results"), "--format", "json"]) == 0
    for row in json.loads(capsys.readouterr().out)["rows"]:
        assert sum(row["failed_reasons"].values()) == row["failed"] == 5
