"""The task that asks for the attributes of paintings: gaps, replies, figures by hand, and the real harness."""

import json
import math

import pytest
from lmms_eval.tasks import TaskManager

from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.harness.plugin import register_tasks
from artquant_plugin.metrics.agreement import srocc
from artquant_plugin.prompting.attributes import attribute_spec
from artquant_plugin.prompting.levels import LEVEL_VALUES
from artquant_plugin.report.boards import read_boards
from artquant_plugin.report.model_predictions import PredictionColumns
from artquant_plugin.report.prediction_sources import PredictionSource
from artquant_plugin.report.task_runs import read_runs
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.tasks import attributes
from tests.evaluation import evaluate
from tests.tiny import pictures, tiny_checkpoint, tiny_llava

GIVEN = [
    {"Color": 2.0, "Mood": 9.0},
    {"Color": None, "Mood": 3.0},
    {"Color": 6.0, "Mood": 5.0},
    {"Color": 4.0, "Mood": None},
    {"Color": 8.0, "Mood": 1.0},
]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """$ARTQUANT_DATA with an `apdd` of five paintings and two attributes, each with a gap; and `plain` without any."""
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    images = tmp_path / "pictures"
    images.mkdir()
    rows = []
    for index, (image, given) in enumerate(zip(pictures(5), GIVEN, strict=True)):
        image.save(images / f"p{index}.png")
        sha = sha256_file(images / f"p{index}.png")
        rows.append(Painting(f"p{index}", f"p{index}.png", sha, float(index + 1), attributes=given))
    for name, found in (("apdd", rows), ("plain", [Painting("a", "p0.png", "", 5.0)])):
        write_dataset(
            tmp_path / "data" / name,
            name=name,
            score_range=(0, 10),
            splits={"test": found},
            image_root=str(images),
            source="made up",
            license="CC0",
        )
    return tmp_path / "data"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, *tiny_llava(), ScoringSpec(attributes=(attribute_spec("Color", LEVEL_VALUES),)))
    return folder


def test_a_document_stands_for_each_painting_and_attribute_with_a_score(home):
    documents = attributes.apdd_docs(None)
    assert [(doc["id"], doc["attribute"], doc["score"]) for doc in documents] == [
        ("p0", "Color", 2.0),
        ("p0", "Mood", 9.0),
        ("p1", "Mood", 3.0),
        ("p2", "Color", 6.0),
        ("p2", "Mood", 5.0),
        ("p3", "Color", 4.0),
        ("p4", "Color", 8.0),
        ("p4", "Mood", 1.0),
    ]
    assert {(doc["attribute"], doc["gaps"]) for doc in documents} == {("Color", 1), ("Mood", 1)}
    question = attributes.doc_to_text(documents[0], {"prompt": "How is the {attribute}, from {low} to {high}?"})
    assert question == "How is the color, from 0 to 10?"


def test_replies_are_read_as_scores_are_and_figures_follow_by_hand(home):
    replies = ['{"score": 3}', "I cannot rate this.", '{"score": 4}', '{"score": 5}', '{"score": 2}', "Score: 1/10"]
    replies += ['{"score": 7}', '{"score": 9}']
    found = [
        attributes.process_results(doc, [reply])
        for doc, reply in zip(attributes.apdd_docs(None), replies, strict=True)
    ]
    value = {
        entry["metric"]: entry["aggregation"]([result[entry["metric"]] for result in found])
        for entry in attributes.apdd_metrics
    }
    # Color: people 2, 6, 4, 8, model 3, 5, 1, 7: ranks 1, 3, 2, 4 and 2, 3, 1, 4, so 1 - 6 · 2 / (4 · 15) = 0.8.
    assert value["srocc_color"] == pytest.approx(0.8)
    # Mood: p0 has no score; people 3, 5, 1, model 4, 2, 9: ranks 2, 3, 1 and 2, 1, 3, so the order is the reverse.
    assert value["srocc_mood"] == pytest.approx(-1)
    assert value["srocc"] == pytest.approx((0.8 - 1) / 2)
    assert (value["scored"], value["failed"]) == (7, 1)
    assert (value["failed_mood"], value["gaps_mood"]) == (1, 1)
    assert (value["failed_color"], value["gaps_color"]) == (0, 1)


def test_a_dataset_without_attributes_is_one_line_and_has_no_such_task(home):
    with pytest.raises(ArtQuantError, match="'plain' has no scores of attributes; evaluate on task 'plain'"):
        _ = attributes.plain_file
    register_tasks()
    (home / "mine").symlink_to(home / "apdd")
    index = TaskManager().task_index
    assert {"apdd_attributes", "artquant_demo_attributes", "mine_attributes"} <= set(index)
    assert "plain" in index and "plain_attributes" not in index


def test_our_model_answers_all_questions_about_an_image_at_once(home, checkpoint):
    results = evaluate("artquant", f"pretrained={checkpoint}", ["apdd_attributes"], batch_size="3")
    metrics = {name.partition(",")[0]: value for name, value in results["results"]["apdd_attributes"].items()}
    scorer = ArtQuantScorer.from_pretrained(str(checkpoint), device="cpu", batch_size=3)
    named = [0, 2, 3, 4]
    found = scorer.score([home.parent / "pictures" / f"p{index}.png" for index in named], attributes=True)
    expected = [score.attributes["Color"] for score in found]
    samples = [sample["scored"] for sample in results["samples"]["apdd_attributes"]]
    color = sorted((s for s in samples if s["attribute"] == "Color"), key=lambda s: s["id"])
    assert [s["prediction"] for s in color] == pytest.approx(expected, abs=1e-5)
    assert metrics["srocc_color"] == pytest.approx(srocc(expected, [2.0, 6.0, 4.0, 8.0]))
    # The checkpoint was not trained on Mood: its four paintings are unscored, with the reason.
    mood = {s["detail"] for s in samples if s["attribute"] == "Mood"}
    assert mood == {"the checkpoint has no attribute 'Mood'"}
    assert metrics["failed_mood"] == 4 and math.isnan(metrics["srocc_mood"])


def test_a_checkpoint_without_attributes_is_one_line(home, tmp_path):
    tiny = tiny_checkpoint()
    save_checkpoint(tmp_path / "total", tiny.model, tiny.processor, tiny.spec)
    with pytest.raises(ArtQuantError, match="has no attributes, since it was trained on total scores alone"):
        evaluate("artquant", f"pretrained={tmp_path / 'total'}", ["apdd_attributes"], batch_size="3")


def write_run(folder, home):
    """What lmms-eval logs of the task: Color predicted as it is, one painting of Mood without a score."""
    folder.mkdir(parents=True)
    lines = []
    for doc in attributes.apdd_docs(None):
        reply = "" if (doc["id"], doc["attribute"]) == ("p0", "Mood") else json.dumps({"score": doc["score"]})
        scored = attributes.process_results(doc, [reply])["scored"]
        lines.append(json.dumps({"scored": scored, "missing": 0, "filtered_resps": reply}) + "\n")
    (folder / "20260101_000000_samples_apdd_attributes.jsonl").write_text("".join(lines))
    test = {"data_files": {"test": str(home / "apdd" / "dataset.json")}}
    content = {"model_name": "m", "configs": {"apdd_attributes": {"dataset_kwargs": test}}}
    (folder / "20260101_000000_results.json").write_text(json.dumps(content))
    return folder


def test_results_has_a_row_for_each_attribute_and_tells_the_gaps(home, tmp_path, capsys):
    folder = write_run(tmp_path / "out" / "m", home)
    runs = read_runs([folder])
    assert [(run.title, run.gaps, len(run.ids)) for run in runs] == [
        ("apdd_attributes: Color", 1, 4),
        ("apdd_attributes: Mood", 1, 3),
    ]
    assert main(["results", str(folder), "--resamples", "0"]) == 0
    out = capsys.readouterr().out
    assert "apdd_attributes: Color" in out and "apdd_attributes: Mood" in out
    assert "m on apdd_attributes: Mood: paintings without a human score of it, which are left out: 1" in out


def test_the_report_has_a_board_for_each_attribute_with_its_own_human_scores(home, tmp_path):
    source = PredictionSource(write_run(tmp_path / "out" / "m", home))
    boards = read_boards([source], PredictionColumns())
    assert [board.dataset for board in boards] == ["apdd: Color", "apdd: Mood"]
    assert list(boards[0].truth) == [2.0, 6.0, 4.0, 8.0]
    assert boards[0].paintings["p2"].score == 6.0 and "p1" not in boards[0].paintings
    assert [model.name for model in boards[0].models] == ["m"]
    assert boards[0].images.keys() == {"p0", "p2", "p3", "p4"}
    assert [b.dataset for b in read_boards([source], PredictionColumns(), dataset="apdd: Mood")] == ["apdd: Mood"]
