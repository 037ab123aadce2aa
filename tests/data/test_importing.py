import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import Painting
from artquant_plugin.data.importers.importing import MANY_FILES, Annotations, import_dataset, seeded_split
from tests.paths import shared


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, colour in (("a", "red"), ("b", "lime"), ("c", "blue")):
        Image.new("RGB", (8, 8), colour).save(folder / f"{name}.png")
    return folder


def annotated(*names: str, test: tuple[str, ...] = ()) -> Annotations:
    rows = {
        split: [Painting(id=Path(name).stem, image=name, sha256="", score=5.0) for name in chosen]
        for split, chosen in (("train", names), ("test", test))
    }
    return Annotations("d", (0.0, 10.0), rows, "made up", "CC0")


def cut_short() -> bytes:
    """The first half of a JPEG."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "JPEG")
    return buffer.getvalue()[: buffer.tell() // 2]


def test_images_are_hashed_and_stay_where_they_are(images, tmp_path):
    imported = import_dataset(annotated("a.png", "b.png", test=("c.png",)), images, tmp_path / "out")
    painting = imported.dataset.split("test")[0]
    assert painting.sha256 == sha256_file(images / "c.png")
    assert imported.dataset.image_path(painting) == images / "c.png"
    assert imported.notes == ()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dataset.json", "test.jsonl", "train.jsonl"]


def test_unusable_images_stop_the_import_and_are_reported_with_reasons(images, tmp_path):
    (images / "broken.jpg").write_bytes(cut_short())
    (images / "page.jpg").write_text("<html>")
    names = ("a.png", "broken.jpg", "page.jpg", "gone.jpg", "../z.png")
    out = tmp_path / "out"
    with pytest.raises(ArtQuantError, match=r"4 of 6 images cannot be used .*complete the .* or pass --allow-missing"):
        import_dataset(annotated(*names, test=("c.png",)), images, out)
    with (out / "import-report.csv").open(newline="") as file:
        report = {row["image"]: (row["split"], row["reason"]) for row in csv.DictReader(file)}
    assert report == {
        "broken.jpg": ("train", "broken"),
        "page.jpg": ("train", "not_an_image"),
        "gone.jpg": ("train", "missing"),
        "../z.png": ("train", "outside_folder"),
    }
    assert not (out / "dataset.json").exists()


def test_allow_missing_keeps_the_counts_per_split(images, tmp_path):
    annotations = annotated("a.png", "gone.png", test=("c.png", "lost.png", "../x.png"))
    imported = import_dataset(annotations, images, tmp_path / "out", allow_missing=True)
    splits = json.loads((tmp_path / "out/dataset.json").read_text())["splits"]
    assert splits["train"]["missing"] == {"missing": 1}
    assert splits["test"]["missing"] == {"missing": 1, "outside_folder": 1}
    assert (splits["train"]["n"], splits["test"]["n"]) == (1, 1)
    assert "3 of 5 images cannot be used (2 missing, 1 outside_folder)" in imported.notes[0]


def test_a_complete_import_removes_the_report_of_before(images, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ArtQuantError):
        import_dataset(annotated("a.png", "gone.png"), images, out)
    import_dataset(annotated("a.png"), images, out)
    assert not (out / "import-report.csv").exists()


def test_many_images_are_checked_in_processes_with_the_same_result(images, tmp_path):
    names = [f"{index}.png" for index in range(MANY_FILES + 1)]
    for name in names[:-1]:
        (images / name).write_bytes((images / "a.png").read_bytes())
    imported = import_dataset(annotated(*names), images, tmp_path / "out", allow_missing=True, workers=2)
    assert [painting.image for painting in imported.dataset.split("train")] == names[:-1]
    assert imported.dataset.info.splits["train"].missing == {"missing": 1}


@pytest.mark.parametrize("count", [2, MANY_FILES])
def test_a_disk_that_fails_stops_the_import_and_leaves_no_painting_out(count, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    names = [f"{index}.png" for index in range(count)]
    for name in names[1:]:
        Image.new("RGB", (4, 4)).save(folder / name)
    (folder / names[0]).symlink_to("/proc/self/mem")  # reading it fails with EIO
    with pytest.raises(MachineError, match="0.png' cannot be read: Input/output error; look for errors of the disk"):
        import_dataset(annotated(*names), folder, tmp_path / "out", allow_missing=True)
    assert not (tmp_path / "out").exists()


def test_nothing_usable_is_an_error_even_when_missing_is_allowed(images, tmp_path):
    with pytest.raises(ArtQuantError, match="has no paintings"):
        import_dataset(annotated("gone.png"), images, tmp_path / "out", allow_missing=True)


def test_a_split_of_which_nothing_can_be_used_is_an_error_even_when_missing_is_allowed(images, tmp_path):
    annotations = annotated("a.png", "b.png", test=("gone.png", "../x.png"))
    with pytest.raises(ArtQuantError, match=r"the test split has no paintings: none of its 2 images can be used \(1 "):
        import_dataset(annotations, images, tmp_path / "out", allow_missing=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["import-report.csv"]


def test_an_address_in_the_place_of_a_path_is_told_as_what_it_is(images, tmp_path):
    with pytest.raises(ArtQuantError, match="download the image, and write the path of its file, or pass --allow"):
        import_dataset(annotated("a.png", "https://host.org/b.png"), images, tmp_path / "out")
    report = (tmp_path / "out/import-report.csv").read_text()
    assert "'https://host.org/b.png' is an address, and addresses in tables are not fetched" in report


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        (annotated("a.png", "a.png"), "id 'a' stands in train and train; a painting may .*1 within a split"),
        (annotated("a.png", test=("a.png",)), "id 'a' stands in train and test; a painting may .*1 across splits"),
        (annotated("a.png", "x/a.png", "x/a.png"), "id 'a' stands in train and train and train"),
    ],
)
def test_repeated_rows_and_overlapping_splits_are_refused_before_images_are_read(annotations, message, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(ArtQuantError, match=message):
        import_dataset(annotations, tmp_path / "none", tmp_path / "out", allow_missing=True)


def test_an_absent_image_folder_is_named(tmp_path):
    with pytest.raises(ArtQuantError, match="nowhere' does not exist; mend --images"):
        import_dataset(annotated("a.png"), tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(ArtQuantError, match="file' is a file; mend --images"):
        import_dataset(annotated("a.png"), tmp_path / "file", tmp_path / "out")


def test_scores_outside_the_default_levels_are_reported_with_the_remedy(images, tmp_path):
    annotations = annotated("a.png", "b.png")
    rows = [replace(annotations.splits["train"][0], score=0.5), annotations.splits["train"][1]]
    imported = import_dataset(replace(annotations, splits={"train": rows}), images, tmp_path / "out")
    assert "1 of 2 scores (from 0.5 to 5) are outside the default levels' range" in imported.notes[0]
    assert "levels.values" in imported.notes[0]


def test_a_seeded_split_depends_on_names_alone():
    names = [f"p{index}" for index in range(10)]
    parts = seeded_split(names, {"train": 0.7, "test": 0.3}, seed=4)
    again = seeded_split(names[::-1], {"train": 0.7, "test": 0.3}, seed=4)
    assert (len(parts["train"]), len(parts["test"])) == (7, 3)
    assert {names[index] for index in parts["test"]} == {names[::-1][index] for index in again["test"]}


def test_three_real_paintings_of_baid(tmp_path):
    from artquant_plugin.data.importers.baid import read_baid

    annotations = read_baid(shared("data/baid"))
    wanted = {"15418.jpg", "49509.jpg", "61963.jpg"}
    annotations = replace(
        annotations,
        splits={split: [row for row in rows if row.image in wanted] for split, rows in annotations.splits.items()},
    )
    imported = import_dataset(annotations, shared("data/paintings"), tmp_path / "out")
    assert sum(split.n for split in imported.dataset.info.splits.values()) == 3


def test_names_in_the_report_are_no_formulas_and_may_hold_anything_that_json_can(images, tmp_path):
    names = ("=cmd|' /C calc'!A0.png", "\ud800.png", "@SUM(1).png", "a.png")
    imported = import_dataset(annotated(*names), images, tmp_path / "out", allow_missing=True)
    with (tmp_path / "out" / "import-report.csv").open(newline="", encoding="utf-8") as file:
        reported = [row["image"] for row in csv.DictReader(file)]
    assert reported == ["'=cmd|' /C calc'!A0.png", "\\ud800.png", "'@SUM(1).png"]
    assert [painting.image for painting in imported.dataset.split("train")] == ["a.png"]


def test_half_of_a_surrogate_pair_in_a_text_is_one_line(images, tmp_path):
    annotations = annotated("a.png")
    rows = [replace(annotations.splits["train"][0], comment="\ud83d")]
    with pytest.raises(ArtQuantError, match="holds half of a surrogate pair") as raised:
        import_dataset(replace(annotations, splits={"train": rows}), images, tmp_path / "out")
    str(raised.value).encode()
    assert not (tmp_path / "out" / "dataset.json").exists()
