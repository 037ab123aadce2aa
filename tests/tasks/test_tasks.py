"""The tasks through the real harness, with our model and with another's."""

import base64
import json
import math
import os
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artquant_plugin.checkpoint import save_checkpoint
from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.report.run_details import read_details
from artquant_plugin.report.task_runs import read_runs
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.tasks import scoring
from tests.evaluation import evaluate
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
    monkeypatch.setenv("ARTQUANT_DATA", str(home))
    monkeypatch.setenv("HF_HOME", str(tmp_path))

    def run(model: str, model_args: str, tasks: list[str]) -> dict:
        return evaluate(model, model_args, tasks, batch_size="3")

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
    assert "is cut short" in samples[7]["scored"]["detail"]
    from artquant_plugin.metrics.agreement import plcc, srocc

    truths = [float(index + 1) for index in range(7)]
    assert metrics["srocc"] == pytest.approx(srocc([e.score for e in expected], truths))
    assert metrics["plcc"] == pytest.approx(plcc([e.score for e in expected], truths))
    shown = {"srocc", "plcc", "mae", "rmse", "scored", "failed", "missing"}
    assert {name for name in metrics if "_stderr" not in name} - {"alias", "sample_len", "name"} == shown


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


@pytest.mark.parametrize(
    ("model", "arguments", "ending"),
    [
        ("artquant", "pretrained=CHECKPOINT", ""),
        ("artquant", "pretrained=CHECKPOINT", "_describe"),
        ("dummy", "response=7", "_cot"),
        ("dummy", "response=good", "_levels"),
    ],
)
def test_a_dataset_of_the_users_own_is_evaluated_like_a_published_one(
    model, arguments, ending, evaluated, home, checkpoint, tmp_path, monkeypatch
):
    """The same paintings under both names give the same figures; the broken one is left out for the model `dummy`."""
    data = tmp_path / "data"
    rows = [Painting(f"p{index}", f"p{index}.png", "", index + 1.0, comment="calm") for index in range(7)]
    for name in ("baid", "own-2.b"):
        write_dataset(
            data / name,
            name=name,
            score_range=(0, 10),
            splits={"test": rows},
            image_root=str(home / "pictures"),
            source="made up",
            license="CC0",
        )
    monkeypatch.setenv("ARTQUANT_DATA", str(data))
    tasks = [f"baid{ending}", f"own-2.b{ending}"]
    found = evaluated(model, arguments.replace("CHECKPOINT", str(checkpoint)), tasks)
    known, own = (found["results"][task] for task in tasks)
    assert own.pop("alias") == f"own-2.b{ending}" and known.pop("alias") == f"baid{ending}"
    assert own == pytest.approx(known, nan_ok=True)
    known, own = (found["samples"][task] for task in tasks)
    kept = "described" if ending == "_describe" else "scored"
    assert [sample[kept] for sample in own] == [sample[kept] for sample in known]


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
    assert entry["scored"]["reason"] == "refusal"
    assert entry["failed"]
    good = scoring.process_results(doc, ['{"score": 5}'])
    assert scoring.scored([entry["scored"], good["scored"]]) == 1
    assert scoring.failed([entry["failed"], good["failed"]]) == 1
    assert scoring.mae([entry["mae"], good["mae"]]) == 1.0
    assert math.isnan(scoring.srocc([entry["srocc"]]))
    assert scoring.process_results(doc, [None])["scored"]["reason"] == "empty"
    assert scoring.process_results(doc, ["Score: 7-8"])["scored"]["from_range"]


def test_correlations_are_those_of_the_scored_paintings_and_too_few_are_told_once():
    """Predictions 2, none, 1, 3 for truths 1, 2, 3, 9."""
    predictions = {"a": "2", "b": "I see no image.", "c": "1", "d": "3"}
    truths = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 9.0}
    doc = {"category": None, "score_range": [0, 10], "level_values": [10, 7.5, 5, 3.5, 1], "missing": 0}
    entries = [
        scoring.process_results({**doc, "id": name, "score": truths[name]}, [reply])
        for name, reply in predictions.items()
    ]
    pairs = [entry["srocc"] for entry in entries]
    with pytest.warns(ArtQuantWarning, match="3 pairs are too few") as told:
        # Ranks 2, 1, 3 of 1, 2, 3: products of deviations sum to 1, of squares to 2 on both sides.
        assert scoring.srocc(pairs) == pytest.approx(1 / 2)
        # Deviations 0, -1, 1 of 2, 1, 3 and -10/3, -4/3, 14/3 of 1, 3, 9: products sum to 6, squares to 2 and 104/3.
        assert scoring.plcc(pairs) == pytest.approx(6 / (2 * 104 / 3) ** 0.5)
    assert len(told) == 1


def test_a_prompt_asks_for_the_scale_and_the_form_and_its_echo_is_no_score(home, monkeypatch):
    """A model that repeats its question has answered nothing."""
    import lmms_eval.models  # noqa: F401  # loads the entry points
    from lmms_eval.tasks import TaskManager, get_task_dict

    monkeypatch.setenv("ARTQUANT_DATA", str(home))
    names = ["baid", "baid_cot", "baid_levels"]
    tasks = get_task_dict(names, TaskManager(include_defaults=False))
    doc = {"score_range": [1, 10], "level_values": [10, 7.5, 5, 3.5, 1], "id": "a", "score": 5.0, "category": None}
    doc["missing"] = 0
    asked = {}
    for name in names:
        asked[name] = scoring.doc_to_text(doc, tasks[name].config.lmms_eval_specific_kwargs["default"])
        assert "{low}" not in asked[name]
        assert scoring.process_results(doc, [asked[name]])["failed"], asked[name]
    for name in ("baid", "baid_cot"):
        assert "score from 1 (worst) to 10 (best)" in asked[name]
        assert '{"score": <number>}' in asked[name]
    places = [asked["baid_cot"].index(word) for word in ("perception", "cognition", "emotion", "score")]
    assert places == sorted(places)
    assert asked["baid_levels"].endswith("Answer with one word: excellent, good, fair, poor or bad.")
    metadata = {name: tasks[name].config.metadata for name in names}
    assert [metadata[name]["prompt"] for name in names] == ["plain-1", "cot-1", "levels-1"]
    # Our own models take this for a request; the other tasks are asked in words, whoever answers.
    assert [name for name in names if "artquant" in metadata[name]] == ["baid"]
    limits = [tasks[name].config.generation_kwargs["max_new_tokens"] for name in names]
    assert limits == [256, 2048, 64]


def test_our_model_answers_the_tasks_in_words_with_words(evaluated, home, checkpoint):
    from artquant_plugin.scoring.generation import generate

    (home / "vaps").mkdir(exist_ok=True)
    info = json.loads((home / "baid" / "dataset.json").read_text())
    info["splits"]["test"]["n"] = 2
    (home / "vaps" / "dataset.json").write_text(json.dumps(info))
    rows = (home / "baid" / "test.jsonl").read_text().splitlines()
    (home / "vaps" / "test.jsonl").write_text("\n".join(rows[:2]) + "\n")
    results = evaluated("artquant", f"pretrained={checkpoint}", ["vaps_levels"])
    picture = Image.open(home / "pictures" / "p0.png")
    question = (
        "How would people who look at this painting rate its quality on average? "
        "Answer with one word: excellent, good, fair, poor or bad."
    )
    parts = [{"type": "image", "url": picture}, {"type": "text", "text": question}]
    options = {"max_new_tokens": 64, "temperature": 0, "do_sample": False, "until": ["\n\n"]}
    expected = generate(tiny_checkpoint(), [{"role": "user", "content": parts}], options)
    samples = {sample["scored"]["id"]: sample for sample in results["samples"]["vaps_levels"]}
    assert samples["p0"]["resps"] == [[expected]]


def test_other_tasks_are_answered_with_text(checkpoint):
    from artquant_plugin.scoring.generation import generate
    from tests.tiny import tiny_checkpoint

    messages = [{"role": "user", "content": [{"type": "image", "url": pictures(1)[0]}, {"type": "text", "text": "?"}]}]
    text = generate(tiny_checkpoint(), messages, {"max_new_tokens": 4, "temperature": 0, "until": ["\n"]})
    assert isinstance(text, str)
    with pytest.raises(ValueError, match="a request holds video"):
        generate(tiny_checkpoint(), [{"role": "user", "content": [{"type": "video", "url": "x"}]}], {})


def run_command_line(folder: Path, home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """lmms-eval as a user runs it."""
    environment = os.environ | {"ARTQUANT_DATA": str(home), "HF_HOME": str(folder / "hf")}
    command = [Path(sys.executable).parent / "lmms-eval", *options]
    command += ["--log_samples", "--output_path", str(folder / "out")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def command_line(folder: Path, home: Path, *options: str) -> str:
    """lmms-eval as a user runs it; its standard error, as it exits with 0 whatever happened."""
    return run_command_line(folder, home, *options).stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("vaps", "pretrained=CHECKPOINT", "dataset 'vaps' is not in "),
        ("baid", "pretrained=none", "'none' is no folder and no Hub id"),
        ("baid", "pretrained=CHECKPOINT,batchsize=4", "did you mean 'batch_size'?"),
        ("baid,nothing", "pretrained=CHECKPOINT", "there is no task 'nothing', since no dataset is in "),
        ("cut_levels", "pretrained=CHECKPOINT", "there is no task 'cut_levels': "),
        ("nothing*", "pretrained=CHECKPOINT", None),
    ],
)
def test_an_error_of_ours_is_one_line_and_exit_code_1(task, arguments, message, home, checkpoint, tmp_path):
    """Other errors are lmms-eval's own: a traceback, and 0."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "baid").symlink_to(home / "baid")
    (data / "cut").mkdir()
    (data / "cut" / "dataset.json").write_text("{")
    arguments = arguments.replace("CHECKPOINT", str(checkpoint))
    done = run_command_line(tmp_path, data, "--model", "artquant", "--model_args", arguments, "--tasks", task)
    said = [line for line in done.stderr.splitlines() if line.startswith("artquant: error: ")]
    if message is None:
        assert (done.returncode, said) == (0, [])
        return
    assert done.returncode == 1
    assert len(said) == 1 and message in said[0]
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.slow
def test_the_command_line_from_model_to_table(home, checkpoint, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "baid").symlink_to(home / "baid")
    shutil.copytree(home / "baid", data / "mine_2")
    options = ["--model", "artquant", "--model_args", f"pretrained={checkpoint}", "--tasks", "baid,mine_2"]
    log = command_line(tmp_path, data, *options, "--batch_size", "auto")
    runs = read_runs([tmp_path / "out"])
    assert [run.task for run in runs] == ["baid", "mine_2"], log[-2000:]
    for run in runs:
        assert (len(run.ids), run.failures, run.missing) == (7, {"unscored": 1}, 1)
        details = read_details(run)
        assert (details.dataset, details.variant, details.prompt_version) == (run.task, "", "own")


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
    assert run.failures == {"no_number": 1, "failed_request": 1}, log[-2000:]
    expected = {name: value / 2.56 for name, value in brightness.items() if name not in ("p3", "p5")}
    assert dict(zip(run.ids, run.predictions, strict=True)) == pytest.approx(expected, abs=1e-3)
