import json
from pathlib import Path

import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset, Painting, outside_levels, write_dataset
from artquant_plugin.data.find import find_dataset


def painting(name: str, score: float = 5.0, **more) -> Painting:
    return Painting(id=name, image=f"{name}.jpg", sha256="", score=score, **more)


def write(folder: Path, splits=None, **more) -> Dataset:
    options = {"name": "d", "score_range": (0.0, 10.0), "image_root": ".", "source": "made up", "license": "CC0"}
    return write_dataset(folder, splits=splits or {"train": [painting("a")]}, **options | more)


def test_what_is_written_is_read_again_with_its_statistics(tmp_path):
    rows = [
        painting("a", 1.0, category="oil", attributes={"Color": 2.0}, comment="Grüße, “quoted”\nlines"),
        painting("b", 2.0, description={"perception": "x", "cognition": "y", "emotion": "z"}),
        painting("c", 6.0, attributes={"Mood": 3.0}),
    ]
    write(tmp_path, {"train": rows, "test": []}, missing={"train": {"broken": 2}}, split_seed=7, split_method="m")
    dataset = Dataset.load(tmp_path)
    info = dataset.info.splits["train"]
    # Mean 9/3; median 2; variance of a population: (4 + 1 + 9) / 3.
    assert (info.n, info.mean, info.median, info.variance) == (3, 3.0, 2.0, pytest.approx(14 / 3))
    assert info.missing == {"broken": 2}
    assert dataset.info.splits["test"].mean is None
    assert (dataset.info.split_seed, dataset.info.split_method) == (7, "m")
    read = dataset.split("train")
    assert read[0].comment == rows[0].comment
    assert [row.attributes for row in read] == [
        {"Color": 2.0, "Mood": None},
        {"Color": None, "Mood": None},
        {"Color": None, "Mood": 3.0},
    ]
    assert read[1].description == rows[1].description


def test_every_row_has_the_same_keys_so_that_readers_infer_one_schema(tmp_path):
    import datasets

    rows = [painting(f"p{index}") for index in range(300)] + [painting("late", category="oil", comment="c")]
    write(tmp_path, {"test": rows})
    file = str(tmp_path / "test.jsonl")
    loaded = datasets.load_dataset("json", data_files={"test": file}, split="test", cache_dir=str(tmp_path / "c"))
    assert loaded[300]["category"] == "oil"
    assert loaded[0]["category"] is None


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": [painting("a")], "test": [painting("a")]}, "stands in train and test.*1 across splits"),
        ({"train": [painting("a"), painting("a")]}, "1 within a split"),
        ({"dev": [painting("a")]}, "split 'dev' is not one of"),
        ({"train": []}, "has no paintings"),
        ({"train": [painting("a", 10.5)]}, r"score 10.5 of 'a.jpg' is outside \[0, 10\]"),
        ({"train": [painting("a", float("nan"))]}, "score nan"),
    ],
)
def test_what_makes_no_dataset_is_refused_before_anything_is_written(splits, message, tmp_path):
    with pytest.raises(ArtQuantError, match=message):
        write(tmp_path / "d", splits)
    assert not (tmp_path / "d").exists()


def test_writing_again_removes_the_splits_and_folds_of_before(tmp_path):
    write(tmp_path, {"train": [painting("a")], "test": [painting("b")]}, folds={"a": 0, "b": 1}, split_seed=3)
    assert json.loads((tmp_path / "folds.json").read_text())["seed"] == 3
    assert Dataset.load(tmp_path).info.folds == 2
    write(tmp_path, {"train": [painting("a")]})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset.json", "train.jsonl"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a"}', "train.jsonl:1: .*missing"),
        ("nonsense", "train.jsonl:1: "),
        ('{"id":"a","image":"a.jpg","sha256":"","score":11}', "score 11 is outside"),
        ('{"id":"a","image":"a.jpg","sha256":"","score":1,"x":1}', "unknown key 'x'"),
        ('{"id":"a","image":"a.jpg","sha256":"","score":1,"description":{"perception":""}}', "description has"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(line, message, tmp_path):
    dataset = write(tmp_path)
    (tmp_path / "train.jsonl").write_text(line + "\n")
    with pytest.raises(ArtQuantError, match=message):
        dataset.split("train")


def test_a_manifest_that_lost_rows_is_noticed(tmp_path):
    dataset = write(tmp_path, {"train": [painting("a"), painting("b")]})
    path = tmp_path / "train.jsonl"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(ArtQuantError, match="has 1 rows, dataset.json says 2"):
        dataset.split("train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not of the dataset form"),
        ('{"form_version": 99}', "form version 99"),
        ("[" * 1_000_000, "not of the dataset form"),
        ("[]", "not of the dataset form"),
        (
            '{"form_version": 1, "name": "x", "score_range": [0, 1], "image_root": 5, "splits": {}, "source": "", '
            '"license": "", "level_values": null}',
            "image_root, source, license is no text",
        ),
    ],
)
def test_a_broken_dataset_json_is_one_line(content, message, tmp_path):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(ArtQuantError, match=message):
        Dataset.load(tmp_path)


def test_an_image_path_of_a_manifest_stays_inside_the_image_root(tmp_path):
    dataset = write(tmp_path, image_root="/pictures")
    assert dataset.image_path(painting("a")) == Path("/pictures/a.jpg")
    with pytest.raises(ArtQuantError, match="leaves the image folder"):
        dataset.image_path(Painting("a", "../a.jpg", "", 1.0))


def test_a_dataset_is_found_by_name_then_by_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path))
    write(tmp_path / "baid")
    assert find_dataset("baid") == tmp_path / "baid"
    assert find_dataset(str(tmp_path / "baid")) == tmp_path / "baid"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("apdd", "artquant data import apdd --annotations FILE_OR_FOLDER --images FOLDER"),
        ("mine", "artquant data import csv --name mine"),
        ("artquant_demo", "artquant data demo"),
    ],
)
def test_an_absent_dataset_names_the_command_that_makes_it(name, command, tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path))
    with pytest.raises(ArtQuantError, match=command):
        find_dataset(name)


def test_the_default_place_is_in_the_users_cache(monkeypatch):
    monkeypatch.delenv("ARTQUANT_DATA", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    from artquant_plugin.data.dataset import data_home

    assert data_home() == Path("/home/someone/.cache/artquant/data")


def test_scores_that_no_level_can_express_are_counted():
    assert outside_levels([0.5, 1.0, 10.0, 7.0]) == 1
    assert outside_levels([0.5, 1.0], (10, 5, 0)) == 0


@pytest.mark.parametrize("name", ["~nosuchuser/x", "~nosuchuser"])
def test_the_home_of_nobody_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path))
    with pytest.raises(ArtQuantError, match="nosuchuser', who is no user here"):
        find_dataset(name)
    monkeypatch.setenv("ARTQUANT_DATA", name)
    with pytest.raises(ArtQuantError, match="nosuchuser', who is no user here"):
        find_dataset("x")
