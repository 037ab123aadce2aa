"""One picture under several names: spellings, copies and links, in splits that are given or made."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantWarning
from artquant_plugin.data.copies import trained_and_tested
from artquant_plugin.data.dataset import Dataset, Painting, write_dataset
from artquant_plugin.data.importers.importing import Annotations, import_dataset


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Ten pictures of different grey, 0.png to 9.png."""
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    for number in range(10):
        Image.new("L", (4, 4), 20 * number).save(folder / f"{number}.png")
    return folder


def copy(pictures: Path, name: str, other: str) -> None:
    (pictures / other).write_bytes((pictures / name).read_bytes())


def run(tmp_path: Path, pictures: Path, rows: str, *options: str, kind: str = "csv") -> int:
    (tmp_path / "list.csv").write_text(rows)
    command = ["data", "import", kind, "--annotations", str(tmp_path / "list.csv"), "--images", str(pictures)]
    named = ["--name", "d", "--score-range", "0", "10", "--out", str(tmp_path / "out")]
    return main([*command, *named, *options])


def given(**splits: list[tuple[str, float]]) -> str:
    lines = [f"{name},{score},{split}" for split, rows in splits.items() for name, score in rows]
    return "\n".join(["image,score,split", *lines]) + "\n"


def report(tmp_path: Path) -> list[tuple[str, str, str]]:
    with (tmp_path / "out" / "import-report.csv").open(newline="") as file:
        return [(row["split"], row["image"], row["reason"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("other", ["./1.png", ".//1.png", "././1.png"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_another_spelling_of_a_name_is_the_same_painting(tmp_path, pictures, capsys, other, split):
    rows = {"train": [("1.png", 2)], "test": [("2.png", 3)]}
    rows[split].append((other, 2))
    line = 3 if split == "train" else 4
    assert run(tmp_path, pictures, given(**rows), "--split-column", "split") == 2
    said = capsys.readouterr().err
    assert f"list.csv:{line}: image '{other}' stands already at {tmp_path}/list.csv:2 as '1.png' (1 such rows)" in said
    assert run(tmp_path, pictures, given(**rows).replace(",train", ",").replace(",test", ",")) == 2


@pytest.mark.parametrize(("name", "other"), [("sub/a.png", "sub\\a.png"), ("1.png", "1"), ("1.png", "1.PNG")])
def test_names_that_mean_the_same_file_are_the_same_painting(tmp_path, pictures, capsys, name, other):
    copy(pictures, "1.png", "sub/a.png")
    rows = given(train=[(name, 2), ("2.png", 2)], test=[(other, 2)])
    assert run(tmp_path, pictures, rows, "--split-column", "split", "--allow-copies") == 2
    assert f"image '{name}' stands in train and test; a painting may stand in one split" in capsys.readouterr().err


def by_copy(one: Path, other: Path) -> None:
    other.write_bytes(one.read_bytes())


@pytest.mark.parametrize("make", [by_copy, os.symlink, os.link])
@pytest.mark.parametrize("name", ["copy of 1.png", "sub/1.png", "1-copy.jpg"])
def test_a_file_of_the_same_content_in_train_and_test_is_refused_and_named(tmp_path, pictures, capsys, make, name):
    make(pictures / "1.png", pictures / name)
    rows = given(train=[("1.png", 2), ("2.png", 2)], test=[(name, 2), ("3.png", 4)])
    assert run(tmp_path, pictures, rows, "--split-column", "split") == 2
    said = capsys.readouterr().err
    assert "1 pictures stand under several names, 1 of them in several splits and 0 with different scores" in said
    assert f"such as '1.png' (train, score 2) = '{name}' (test, score 2); remove the repeated paintings" in said
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert report(tmp_path) == [("train", "1.png", "copy"), ("test", name, "copy_kept")]


def test_allowed_copies_stay_in_the_strictest_split_and_are_counted(tmp_path, pictures, capsys):
    copy(pictures, "1.png", "a.png")  # train and test
    copy(pictures, "2.png", "b.png")  # train and validation
    copy(pictures, "3.png", "c.png")  # twice in test, with another score
    copy(pictures, "4.png", "d.png")  # twice in train, with the same score
    rows = given(
        train=[("1.png", 1), ("2.png", 2), ("4.png", 4), ("d.png", 4)],
        val=[("b.png", 2), ("5.png", 5)],
        test=[("a.png", 1), ("3.png", 3.67), ("c.png", 9)],
    )
    assert run(tmp_path, pictures, rows, "--split-column", "split", "--allow-copies") == 0
    assert "4 pictures stand under several names, 2 of them in several splits and 1 with" in capsys.readouterr().out
    dataset = Dataset.load(tmp_path / "out")
    assert {split: [row.image for row in dataset.split(split)] for split in dataset.info.splits} == {
        "train": ["4.png", "d.png"],
        "validation": ["b.png", "5.png"],
        "test": ["a.png", "3.png", "c.png"],
    }
    counts = json.loads((tmp_path / "out" / "dataset.json").read_text())["splits"]
    assert [counts[split]["missing"] for split in counts] == [{"copy": 2}, {}, {}]
    assert [counts[split]["copies"] for split in counts] == [
        {"validation": 1, "test": 1, "train": 2},
        {"train": 1},
        {"train": 1, "test": 2},
    ]
    assert [counts[split]["contradictory"] for split in counts] == [0, 0, 2]
    assert sorted(report(tmp_path)) == [
        ("test", "3.png", "copy_kept"),
        ("test", "a.png", "copy_kept"),
        ("test", "c.png", "copy_kept"),
        ("train", "1.png", "copy"),
        ("train", "2.png", "copy"),
        ("train", "4.png", "copy_kept"),
        ("train", "d.png", "copy_kept"),
        ("validation", "b.png", "copy_kept"),
    ]
    assert main(["data", "show", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "1 paintings of test show pictures that the annotations also have in train: a checkpoint that" in shown
    assert "2 paintings of test share their picture with a painting of another score" in shown


def test_copies_of_one_split_with_one_score_are_told_and_stop_nothing(tmp_path, pictures, capsys):
    copy(pictures, "1.png", "a.png")
    assert run(tmp_path, pictures, given(train=[("1.png", 2), ("a.png", 2)]), "--split-column", "split") == 0
    assert "note: 1 pictures stand under several names, 0 of them in several splits" in capsys.readouterr().out


@pytest.mark.parametrize("options", [(), ("--split-column", "split")])
def test_two_scores_of_one_picture_are_refused(tmp_path, pictures, capsys, options):
    copy(pictures, "1.png", "a.png")
    rows = given(train=[("1.png", 3.67), ("a.png", 9), *((f"{number}.png", 5) for number in range(2, 9))])
    assert run(tmp_path, pictures, rows, *options) == 2
    assert "1 with different scores" in capsys.readouterr().err


def test_a_split_that_is_made_has_the_copies_of_a_picture_on_one_side(tmp_path, pictures):
    names = [f"{number}.png" for number in range(10)]
    for name in names:
        for letter in "ab":
            copy(pictures, name, f"{letter}{name}")
    rows = "\n".join(["image,score", *(f"{start}{name},5" for start in ("", "a", "b") for name in names)])
    for seed in range(5):
        assert run(tmp_path, pictures, rows, "--seed", str(seed)) == 0
        dataset = Dataset.load(tmp_path / "out")
        train, test = ({row.sha256 for row in dataset.split(split)} for split in ("train", "test"))
        assert not train & test and len(train | test) == 10
        assert sum(split.n for split in dataset.info.splits.values()) == 30
        assert not dataset.info.splits["test"].copies.get("train")


def test_a_split_that_is_made_of_different_pictures_is_what_it_was(tmp_path, pictures):
    rows = "\n".join(["image,score", *(f"{number}.png,5" for number in range(10))])
    assert run(tmp_path, pictures, rows, "--seed", "3") == 0
    last = sorted(np.random.default_rng(3).permutation(10)[8:])
    assert [row.image for row in Dataset.load(tmp_path / "out").split("test")] == [f"{number}.png" for number in last]


def test_folds_have_the_copies_of_a_picture_together(tmp_path, pictures):
    for number in range(10):
        copy(pictures, f"{number}.png", f"x{number}.png")
    names = [f"{start}{number}.png" for start in ("", "x") for number in range(10)]
    (tmp_path / "vaps_dataset.csv").write_text(
        "\n".join(["File Number,Liking", *(f"{name},5" for name in names)]) + "\n"
    )
    command = ["data", "import", "vaps", "--annotations", str(tmp_path), "--images", str(pictures)]
    assert main([*command, "--out", str(tmp_path / "out"), "--fold", "1"]) == 0
    dataset = Dataset.load(tmp_path / "out")
    folds = json.loads((tmp_path / "out" / "folds.json").read_text())["folds"]
    assert all(folds[str(number)] == folds[f"x{number}"] for number in range(10))
    assert {row.id for row in dataset.split("test")} == {name for name, fold in folds.items() if fold == 1}


def test_official_annotations_import_and_keep_their_test_split(tmp_path, pictures, capsys):
    copy(pictures, "1.png", "a.png")
    rows = {"train": ["1.png", "2.png"], "val": ["3.png"], "test": ["a.png", "4.png"]}
    for split, names in rows.items():
        (tmp_path / f"{split}_set.csv").write_text("image,score\n" + "".join(f"{name},5\n" for name in names))
    command = ["data", "import", "baid", "--annotations", str(tmp_path), "--images", str(pictures)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "1 pictures stand under several names, 1 of them in several splits" in shown
    splits = Dataset.load(tmp_path / "out").info.splits
    assert (splits["train"].n, splits["test"].n, splits["test"].copies) == (1, 2, {"train": 1})


def test_rad_files_with_a_copy_of_a_test_picture_in_training_are_refused(tmp_path, pictures, capsys):
    copy(pictures, "1.png", "a.png")
    for name, images in (("train", ["1.png", "2.png"]), ("test", ["a.png"])):
        (tmp_path / f"{name}.json").write_text(json.dumps([{"image": image, "gt_score": 5} for image in images]))
    command = ["data", "import", "rad", "--annotations", str(tmp_path / "train.json"), "--name", "r"]
    command += ["--test", str(tmp_path / "test.json"), "--images", str(pictures), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "'1.png' (train, score 5) = 'a.png' (test, score 5)" in capsys.readouterr().err
    (tmp_path / "test.json").write_text(json.dumps([{"image": "./1.png", "gt_score": 5}]))
    assert main(command) == 2
    assert "id '1.png' stands in train and test" in capsys.readouterr().err


def test_a_training_split_of_copies_alone_is_named(tmp_path, pictures, capsys):
    copy(pictures, "1.png", "a.png")
    rows = given(train=[("1.png", 2)], test=[("a.png", 2)])
    assert run(tmp_path, pictures, rows, "--split-column", "split", "--allow-copies") == 2
    assert "no painting is left for the train split" in capsys.readouterr().err


def test_pictures_that_one_dataset_trains_on_and_another_tests_with_are_counted(tmp_path):
    def painting(name, sha256):
        return Painting(name, f"{name}.png", sha256, 5.0)

    one = {"train": [painting("a", "01"), painting("b", "02"), painting("c", "")], "test": [painting("d", "03")]}
    other = {"train": [painting("e", "04")], "validation": [painting("f", "02")], "test": [painting("g", "01")]}
    written = [
        write_dataset(
            tmp_path / name, name=name, score_range=(0, 10), splits=rows, image_root="", source="", license=""
        )
        for name, rows in (("one", one), ("other", other))
    ]
    assert list(trained_and_tested(written)) == [
        f"1 pictures of the train split of '{tmp_path}/one' are in the {split} split of '{tmp_path}/other' "
        f"({name}.png): figures measured on them are too good"
        for split, name in (("validation", "b"), ("test", "a"))
    ]
    assert list(trained_and_tested(written[:1])) == []


def test_an_evaluation_warns_of_copies_in_its_test_split(tmp_path, pictures):
    from artquant_plugin.tasks.scoring import manifest

    copy(pictures, "1.png", "a.png")
    rows = given(train=[("1.png", 2), ("2.png", 2)], test=[("a.png", 2)])
    assert run(tmp_path, pictures, rows, "--split-column", "split", "--allow-copies") == 0
    with pytest.warns(ArtQuantWarning, match="1 paintings of test show pictures that the annotations also have in"):
        manifest(str(tmp_path / "out"))


def test_images_that_differ_are_no_copies(tmp_path, pictures):
    rows = {
        "train": [Painting("a", "1.png", "", 1.0)],
        "test": [Painting("b", "2.png", "", 1.0)],
    }
    imported = import_dataset(Annotations("d", (0.0, 10.0), rows, "", ""), pictures, tmp_path / "out")
    assert not any(split.copies for split in imported.dataset.info.splits.values())
