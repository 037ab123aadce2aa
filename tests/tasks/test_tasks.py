"""The tasks through the real harness, with our model and with another's."""

import base64
import json
import math
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artquant_plugin.checkpoint import save_checkpoint
from artquant_plugin.dataset import Painting, write_dataset
from artquant_plugin.errors import ArtQuantError
from artquant_plugin.images import sha256_file
from artquant_plugin.report.samples import read_runs
from artquant_plugin.scoring import ArtQuantScorer
from artquant_plugin.tasks import scoring
from tests.peers.local_llm import LocalLLM
from tests.tiny import pictures, tiny_checkpoint


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """$ARTQUANT_DATA with a small `baid`, of which one test image was missing and one is broken today."""
    folder = tmp_path_factory.mktemp("home")
    images = folder / "pictures"
    images.mkdir()
    rows = []
    for index, image in enumerate(pictures(8)):
        path = images / f"p{index}.png"
        image.save(path)
        rows.append(Painting(f"p{index}", path.name, sha256_file(path), float(index + 1), category="oil"))
    (images / "p7.png").write_bytes((images / "p7.png").read_bytes()[:100])
    write_dataset(
        folder / "baid",
        name="baid",
        score_range=(0, 10),
        splits={"test": rows},
        image_root=str(images),
        source="made up",
        license="CC0",
        missing={"test": {"missing": 1}},
    )
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny = tiny_checkpoint()
    save_checkpoint(folder, tiny.model, tiny.processor, tiny.spec)
    return folder


@pytest.fixture
def evaluated(home, monkeypatch, tmp_path):
    import lmms_eval.models  # noqa: F401  # loads the entry points
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    monkeypatch.setenv("ARTQUANT_DATA", str(home))
    monkeypatch.setenv("HF_HOME", str(tmp_path))

    def run(model: str, model_args: str, tasks: list[str]) -> dict:
        manager = TaskManager(include_defaults=False)
        return simple_evaluate(model, model_args, tasks=tasks, batch_size="3", device="cpu", task_manager=manager)

    return run


def test_our_model_on_a_task(evaluated, home, checkpoint):
    results = evaluated("artquant", f"pretrained={checkpoint}", ["baid"])
    metrics = {name.partition(",")[0]: value for name, value in results["results"]["baid"].items()}
    assert (metrics["scored"], metrics["failed"], metrics["missing"]) == (7, 1, 1)
    expected = ArtQuantScorer.from_pretrained(str(checkpoint), device="cpu", batch_size=3).score(
        [home / "pictures" / f"p{index}.png" for index in range(7)]
    )
    samples = sorted(results["samples"]["baid"], key=lambda sample: sample["scored"]["id"])
    assert [s["scored"]["prediction"] for s in samples[:7]] == pytest.approx([e.score for e in expected], abs=1e-6)
    assert samples[7]["scored"]["reason"] == "unscored"
    assert "is broken" in samples[7]["scored"]["detail"]
    from artquant_plugin.metrics import plcc, srocc

    truths = [float(index + 1) for index in range(7)]
    assert metrics["srocc"] == pytest.approx(srocc([e.score for e in expected], truths))
    assert metrics["plcc"] == pytest.approx(plcc([e.score for e in expected], truths))
    assert metrics["spearman_low"] <= metrics["srocc"] <= metrics["spearman_high"]


def test_another_model_on_a_task(evaluated, home):
    # The broken painting is opened for a model that is given images, so it leaves the set here.
    rows = (home / "baid" / "test.jsonl").read_text().splitlines()
    info = json.loads((home / "baid" / "dataset.json").read_text())
    other = home / "vaps"
    other.mkdir()
    info["splits"]["test"]["n"] = 7
    (other / "dataset.json").write_text(json.dumps(info))
    (other / "test.jsonl").write_text("\n".join(rows[:7]) + "\n")
    with pytest.warns(UserWarning, match="all 7 predictions equal 6.5"):
        results = evaluated("dummy", "response=I would give it a score of 6.5", ["vaps"])
    metrics = {name.partition(",")[0]: value for name, value in results["results"]["vaps"].items()}
    assert (metrics["scored"], metrics["failed"]) == (7, 0)
    assert math.isnan(metrics["srocc"])
    assert metrics["mae"] == pytest.approx((5.5 + 4.5 + 3.5 + 2.5 + 1.5 + 0.5 + 0.5) / 7)
    asked = json.dumps(results["samples"]["vaps"][0], default=str)
    assert "Give one score from 0 (worst) to 10 (best)" in asked


def test_an_absent_dataset_stops_the_run_with_the_command_that_imports_it(evaluated):
    command = "artquant data import apdd --annotations FILE_OR_FOLDER --images FOLDER"
    with pytest.raises(ArtQuantError, match=command):
        evaluated("dummy", "response=5", ["apdd"])


def test_an_empty_test_split_stops_the_run(home, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(home))
    folder = home / "empty"
    rows = {"train": [Painting("a", "a.png", "", 1.0)], "test": []}
    write_dataset(folder, name="empty", score_range=(0, 10), splits=rows, image_root=".", source="", license="")
    with pytest.raises(ValueError, match="has no painting in its test split"):
        scoring.empty_file  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        scoring.nothing  # noqa: B018


def test_a_reply_without_score_is_counted_and_never_scored():
    doc = {"id": "a", "score": 4.0, "category": None, "score_range": [0, 10], "level_values": [10, 7.5, 5, 3.5, 1]}
    doc["missing"] = 0
    entry = scoring.process_results(doc, ["I cannot judge art."])
    assert entry["scored"]["reason"] == "no_score"
    assert entry["failed"]
    good = scoring.process_results(doc, ['{"score": 5}'])
    assert scoring.scored([entry["scored"], good["scored"]]) == 1
    assert scoring.failed([entry["failed"], good["failed"]]) == 1
    assert scoring.mae([entry["mae"], good["mae"]]) == 1.0
    assert math.isnan(scoring.srocc([entry["srocc"]]))


def test_other_tasks_are_answered_with_text(checkpoint):
    from artquant_plugin.generation import generate
    from tests.tiny import tiny_checkpoint

    messages = [{"role": "user", "content": [{"type": "image", "url": pictures(1)[0]}, {"type": "text", "text": "?"}]}]
    text = generate(tiny_checkpoint(), messages, {"max_new_tokens": 4, "temperature": 0, "until": ["\n"]})
    assert isinstance(text, str)
    with pytest.raises(ValueError, match="a request holds video"):
        generate(tiny_checkpoint(), [{"role": "user", "content": [{"type": "video", "url": "x"}]}], {})


def command_line(folder: Path, home: Path, *options: str) -> str:
    """lmms-eval as a user runs it; its standard error, as it exits with 0 whatever happened."""
    environment = os.environ | {"ARTQUANT_DATA": str(home), "HF_HOME": str(folder / "hf")}
    command = [Path(sys.executable).parent / "lmms-eval", *options]
    command += ["--log_samples", "--output_path", str(folder / "out")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stderr


@pytest.mark.slow
def test_the_command_line_from_model_to_table(home, checkpoint, tmp_path):
    options = ["--model", "artquant", "--model_args", f"pretrained={checkpoint}", "--tasks", "baid"]
    log = command_line(tmp_path, home, *options, "--batch_size", "auto")
    (run,) = read_runs([tmp_path / "out"])
    assert (run.task, len(run.ids), run.failures, run.missing) == ("baid", 7, {"unscored": 1}, 1), log[-2000:]


@pytest.mark.slow
def test_the_command_line_with_a_model_behind_an_api(home, tmp_path):
    images = {f"p{index}": Image.open(home / "pictures" / f"p{index}.png") for index in range(7)}
    brightness = {name: round(float(np.mean(image)), 2) for name, image in images.items()}
    rows = [json.loads(line) for line in (home / "baid" / "test.jsonl").read_text().splitlines()]
    write_dataset(
        tmp_path / "data" / "apdd",
        name="apdd",
        score_range=(0, 100),
        splits={"test": [Painting(**row) for row in rows if row["id"] in images]},
        image_root=str(home / "pictures"),
        source="made up",
        license="CC0",
    )

    def answer(body: dict) -> str:
        image, question = body["messages"][0]["content"]
        assert "from 0 (worst) to 100 (best)" in question["text"]
        picture = Image.open(BytesIO(base64.b64decode(image["image_url"]["url"].partition(",")[2])))
        shown = round(float(np.mean(picture)), 2)
        if shown == brightness["p3"]:
            return "Beauty has no number."
        if shown == brightness["p5"]:
            raise RuntimeError("the endpoint answers with status 500")
        return f'I see a painting.\n```json\n{{"score": {shown / 2.56:.3f}}}\n```'

    with LocalLLM(answer) as llm:
        options = f"model_version=scripted,base_url={llm.url},api_key=none,max_retries=1"
        log = command_line(
            tmp_path, tmp_path / "data", "--model", "openai", "--model_args", options, "--tasks", "apdd"
        )
    (run,) = read_runs([tmp_path / "out"])
    assert run.failures == {"no_score": 1, "failed_request": 1}, log[-2000:]
    expected = {name: value / 2.56 for name, value in brightness.items() if name not in ("p3", "p5")}
    assert dict(zip(run.ids, run.predictions, strict=True)) == pytest.approx(expected, abs=1e-3)
