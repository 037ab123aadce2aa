"""RAD's published label files: read, written, read again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset, Painting, write_dataset
from artquant_plugin.data.importers.rad import read_rad
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.train.rad.label_files import description_record, score_record, write_label_files
from artquant_plugin.train.rad.table import RadRun
from tests.paths import ROOT
from tests.train.rad.finished_runs import write_data, write_run

DATA = ROOT / "tests/recorded/parity/data"


def score(image: str, value, probabilities=(0.0, 1.0, 0.0, 0.0, 0.0), **more) -> dict:
    return {"id": f"{image}->{value}", "image": image, "gt_score": value, "level_probs": probabilities} | more


def described(image: str, text: str) -> dict:
    turns = [{"from": "human", "value": "What?\n<|image|>"}, {"from": "gpt", "value": text}]
    return {"id": image, "image": image, "task_type": "description", "conversations": turns}


def write(path: Path, *records) -> Path:
    path.write_text(json.dumps(records, indent=1))
    return path


def test_the_papers_own_files_are_read():
    files = [DATA / "train_score.json", DATA / "train_description.json"]
    found = read_rad({"train": files, "test": [DATA / "test.json"]}, name="rad")
    assert [(p.id, p.image, p.score) for p in found.splits["train"]] == [
        ("train_0.png", "train_0.png", 6.37),
        ("train_1.png", "train_1.png", 8.1),
    ]
    # Its descriptions are of two other pictures, which have no score there; of its test records, two were trained on.
    assert "2 descriptions of pictures without a score left out, 'train_2.png' the first" in found.notes
    assert [p.score for p in found.splits["test"]] == [5.2, 7.9, 3.1, 6.37, 8.1]
    # The authors' solver chooses sigma freely: its expectation is the score to 1e-5, its probabilities are others.
    (labels,) = [note for note in found.notes if note.startswith("level_probs")]
    assert "2 compared" in labels
    assert "in 0 by more than 0.01" in labels


def test_differing_labels_are_reported_and_the_score_counts(tmp_path):
    # 7.5 is what the labels say; the second score is 0.5 away from it, the third one's labels are no distribution.
    # A record is 12 lines long, and the first one begins in line 2.
    file = write(tmp_path / "a.json", score("a", 7.5), score("b", 7.0), score("c", 2.0, [float("nan")] * 5))
    found = read_rad({"train": [file]}, name="rad")
    assert [p.score for p in found.splits["train"]] == [7.5, 7.0, 2.0]
    assert f"level_probs: 1 of 3 do not sum to 1, {file}:26 the first" in found.notes
    assert f"misses gt_score by 0.5 at most ({file}:14), in 1 by more than 0.01" in found.notes[-1]


def test_a_picture_has_its_score_and_its_description_with_levels_where_they_can_be_told(tmp_path):
    levels = "Perception: warm reds.\nCognition: a harbour.\nEmotion: calm."
    scores = write(tmp_path / "s.json", score("a.jpg", 5.0), score("b.jpg", 6.0), score("c.jpg", 7.0))
    texts = write(
        tmp_path / "d.json", described("a.jpg", levels), described("b.jpg", "Restless."), described("a.jpg", "More.")
    )
    found = read_rad({"train": [texts, scores]}, name="rad")
    assert [p.description for p in found.splits["train"]] == [
        {"perception": "warm reds.", "cognition": "a harbour.", "emotion": "calm."},
        {"text": "Restless."},
        None,
    ]
    assert found.notes[:2] == (
        "descriptions: 1 with three levels, 1 whole text",
        "1 further descriptions of pictures that have one left out",
    )


@pytest.mark.parametrize(
    ("before", "kept"), [("1. **Overall view**", "levels"), ("It is a harbour at dusk, " * 3, "whole")]
)
def test_a_text_loses_its_headings_and_nothing_else(before, kept, tmp_path):
    text = f"{before}\nPerception: warm reds.\nCognition: a harbour.\nEmotion: calm."
    file = write(tmp_path / "a.json", score("a.jpg", 5.0), described("a.jpg", text))
    ((painting,),) = read_rad({"train": [file]}, name="rad").splits.values()
    assert painting.description.get("text") == (text if kept == "whole" else None)


def test_an_empty_range_is_refused(tmp_path):
    with pytest.raises(ArtQuantError, match="score range 10 0 is empty"):
        read_rad({"train": [write(tmp_path / "a.json", score("a.jpg", 5.0))]}, name="rad", score_range=(10, 0))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (score("a", 11), r"s.json:4: gt_score 11 of 'a' is no number in \[0, 10\] \(1 faulty"),
        (score("a", "5"), "gt_score '5' of 'a'"),
        (score("a", float("nan")), "gt_score nan"),
        (score("a", True), "gt_score True"),
        (score("", 5), "image is '', not the name"),
        (score("a", 5, [1, 0]), "level_probs of 'a' are not 5 numbers"),
        (score("a", 5, task_type="pair"), "task_type 'pair' is neither"),
        (described("a", "  "), "description of 'a' has no answer"),
        ({"image": "a", "task_type": "description", "conversations": None}, "has no answer"),
        (7, "int instead of an object"),
        (score("first", 6.0), "image 'first' has gt_score 5 already, at .*s.json:3"),
    ],
)
def test_a_bad_record_is_named_by_file_and_line(record, message, tmp_path):
    file = tmp_path / "s.json"
    file.write_text("[\n\n" + ",\n".join(json.dumps(r) for r in (score("first", 5.0), record)) + "]")
    with pytest.raises(ArtQuantError, match=message):
        read_rad({"train": [file]}, name="rad")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[\n{"image": "a", "gt_score": 1},\n{"image"', "ends before its list does"),
        (b'[\n{"image": "a", "gt_score": }]', ":2: not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[]", "hold no score record"),
    ],
)
def test_a_file_that_is_no_list_of_records_is_one_line(content, message, tmp_path):
    (tmp_path / "s.json").write_bytes(content)
    with pytest.raises(ArtQuantError, match=message):
        read_rad({"train": [tmp_path / "s.json"]}, name="rad")


def test_json_lines_are_read_too(tmp_path):
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(score(name, 5.0)) + "\n" for name in "ab"))
    assert len(read_rad({"train": [tmp_path / "s.jsonl"]}, name="rad").splits["train"]) == 2


@pytest.mark.parametrize(
    ("value", "word"),
    [(0.5, "bad"), (1.0, "bad"), (1.1, "poor"), (3.5, "poor"), (3.6, "fair"), (5.1, "good"), (7.6, "excellent")],
)
def test_the_answers_word_is_the_lowest_level_not_below_the_score(value, word):
    record = score_record(Painting("a", "a.jpg", "", value), [0.2] * 5, LevelScale())
    assert record["conversations"][1]["value"] == f"The quality of the painting is {word}."
    assert record["id"] == f"a.jpg->{value}"


def test_records_have_the_papers_keys():
    scores, texts = (json.loads((DATA / f"train_{kind}.json").read_text())[0] for kind in ("score", "description"))
    painting = Painting("a", "a.jpg", "", 5.0, description={"text": "Calm."})
    for ours, theirs in (
        (score_record(painting, [0.2] * 5, LevelScale()), scores),
        (description_record(painting), texts),
    ):
        assert list(ours) == list(theirs)
        assert [list(turn) for turn in ours["conversations"]] == [list(turn) for turn in theirs["conversations"]]
        assert ours["conversations"][0]["value"].endswith("\n<|image|>")


def test_a_run_is_written_and_read_again(tmp_path):
    data = write_data(tmp_path / "data")
    with RadRun.open(write_run(tmp_path / "run", data)) as run:
        counts = write_label_files(run, tmp_path / "out")
        expected = {(result.split, p.image): (p.score, result.description) for p, result in run.paintings()}
    assert counts == {
        "train_score.json": 6, "train_description.json": 5, "validation_score.json": 2,
        "validation_description.json": 2, "test_score.json": 4, "test_description.json": 3,
    }  # fmt: skip
    files = {
        split: [tmp_path / "out" / f"{split}_{kind}.json" for kind in ("score", "description")]
        for split in ("train", "validation", "test")
    }
    found = read_rad(files, name="rad")
    read = {(split, p.image): (p.score, p.description) for split, rows in found.splits.items() for p in rows}
    assert read == expected
    # Written by us, the labels are ours.
    assert "differs from this package's label by 0 at most" in found.notes[-1]


def test_a_dataset_with_whole_texts_is_written_and_read_again(tmp_path):
    rows = [Painting("a.jpg", "a.jpg", "", 5.123456789, description={"text": 'Say "no":\n' + "é" * 3})]
    dataset = write_dataset(
        tmp_path / "d", name="d", score_range=(0, 10), splits={"train": rows}, image_root=".", source="s", license="l"
    )
    write_label_files(dataset, tmp_path / "out")
    files = [tmp_path / "out" / f"train_{kind}.json" for kind in ("score", "description")]
    (read,) = read_rad({"train": files}, name="rad").splits["train"]
    assert read == replace(rows[0], id="a.jpg")


def test_scores_outside_the_levels_need_level_values(tmp_path):
    rows = [Painting("a.jpg", "a.jpg", "", 0.5)]
    dataset = write_dataset(
        tmp_path / "d", name="d", score_range=(0, 10), splits={"train": rows}, image_root=".", source="s", license="l"
    )
    with pytest.raises(ArtQuantError, match="score 0.5 .* outside the levels' range"):
        write_label_files(dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write_label_files(dataset, tmp_path / "out", values=(10, 7.5, 5, 2.5, 0))
    (record,) = json.loads((tmp_path / "out/train_score.json").read_text())
    assert sum(v * p for v, p in zip((10, 7.5, 5, 2.5, 0), record["level_probs"], strict=True)) == pytest.approx(0.5)
    with pytest.raises(ArtQuantError, match="out' exists; remove it"):
        write_label_files(dataset, tmp_path / "out")


def test_the_command_imports_files_that_training_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "home"))
    (tmp_path / "pictures").mkdir()
    for name, colour in (("a.png", "red"), ("b.png", "blue"), ("c.png", "green")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / "pictures" / name)
    files = [
        write(tmp_path / "s.json", score("a.png", 5.0), score("b.png", 7.5)),
        write(tmp_path / "d.json", described("a.png", "Restless.")),
    ]
    test = write(tmp_path / "t.json", score("c.png", 6.0))
    arguments = ["data", "import", "rad", "--annotations", *map(str, files), "--images", str(tmp_path / "pictures")]
    assert main([*arguments, "--name", "rad-x", "--test", str(test), "--license", "CC0"]) == 0
    printed = capsys.readouterr().out
    assert "note: descriptions: 1 whole text" in printed
    dataset = Dataset.load(tmp_path / "home/rad-x")
    assert dataset.split("train")[0].description == {"text": "Restless."}
    assert dataset.info.license == "CC0"
    # A picture of the training files that stands in the test file as well is refused.
    assert main([*arguments, "--name", "rad-x", "--test", str(files[0])]) == 2
    assert "stands in train and test" in capsys.readouterr().err
    assert main([*arguments, "--name", "../x"]) == 2
    assert "is no plain name" in capsys.readouterr().err
