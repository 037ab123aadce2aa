"""Paintings of an imported dataset get the descriptions of RAD's label files."""

import json
from pathlib import Path

import pytest

from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.importers.importing import Annotations
from artquant_plugin.data.importers.rad import add_descriptions
from artquant_plugin.data.paintings import Painting
from tests.tiny import pictures
from tests.train.rad.test_label_files import described, score

LEVELS = {"perception": "warm reds.", "cognition": "a harbour.", "emotion": "calm."}
TEXT = "Perception: warm reds.\nCognition: a harbour.\nEmotion: calm."


def annotations(*images: str) -> Annotations:
    rows = [Painting(image, image, "", 5.0) for image in images]
    return Annotations("mine", (0.0, 10.0), {"train": rows[:-1], "test": rows[-1:]}, "", "")


def file(folder: Path, *records: dict) -> Path:
    path = folder / "d.json"
    path.write_text(json.dumps(records))
    return path


def test_descriptions_join_by_name_and_scores_are_passed_over(tmp_path):
    records = [
        described("a.jpg", TEXT),
        described("a.jpg", "Once more."),
        described("./e/b.jpg", "Restless."),
        described("z.jpg", TEXT),
        score("a.jpg", 70),
    ]
    found = add_descriptions(annotations("a.jpg", "b.jpg", "c.jpg"), [file(tmp_path, *records)])
    paintings = {painting.image: painting for rows in found.splits.values() for painting in rows}
    assert {image: painting.description for image, painting in paintings.items()} == {
        "a.jpg": LEVELS,
        "b.jpg": {"text": "Restless."},  # the one file of this name, in another folder there
        "c.jpg": None,
    }
    assert {painting.score for painting in paintings.values()} == {5.0}
    assert [len(rows) for rows in found.splits.values()] == [2, 1]
    assert found.notes == (
        "descriptions: 2 of 3 paintings have one, 1 with three levels, 1 as a whole text",
        "1 descriptions of other pictures left out, 'z.jpg' the first",
        "1 further descriptions of pictures that have one left out",
    )


def test_a_file_name_that_stands_in_two_folders_joins_by_its_whole_name_alone(tmp_path):
    records = file(tmp_path, described("1.jpg", TEXT), described("y/1.jpg", "Y."), described("q/2.jpg", "Q."))
    found = add_descriptions(annotations("x/1.jpg", "y/1.jpg", "p/2.jpg", "r/2.jpg"), [records])
    texts = [painting.description for rows in found.splits.values() for painting in rows]
    assert texts == [None, {"text": "Y."}, None, None]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([score("a.jpg", 5.0)], r"d.json': no description record .task_type 'description'.; name the files that"),
        (
            [described("z.jpg", TEXT)],
            r"none of the 1 descriptions is of a painting of 'mine': .* 'z.jpg', .* 'a.jpg'",
        ),
        ([described("a.jpg", " ")], r"d.json:\d+: description of 'a.jpg' has no answer.* \(1 faulty records in all\)"),
    ],
)
def test_files_that_give_no_painting_a_description_are_refused(records, message, tmp_path):
    with pytest.raises(ArtQuantError, match=message):
        add_descriptions(annotations("a.jpg", "b.jpg"), [file(tmp_path, *records)])


def test_the_command_writes_them_with_the_datasets_own_splits(tmp_path, capsys):
    names = {"train_set": "a.jpg", "val_set": "b.jpg", "test_set": "c.jpg"}
    for (table, name), image in zip(names.items(), pictures(3), strict=True):
        image.save(tmp_path / name)
        (tmp_path / f"{table}.csv").write_text(f"image,score\n{name},4.5\n")
    records = file(tmp_path, *(described(name, TEXT) for name in names.values()))
    words = ["--annotations", tmp_path, "--images", tmp_path, "--descriptions", records, "--out", tmp_path / "baid"]
    assert main(["data", "import", "baid", *map(str, words)]) == 0
    assert "note: descriptions: 3 of 3 paintings have one, 3 with three levels, 0" in capsys.readouterr().out
    dataset = Dataset.load(tmp_path / "baid")
    for split, name in zip(("train", "validation", "test"), names.values(), strict=True):
        assert [(row.image, row.description) for row in dataset.split(split)] == [(name, LEVELS)]
