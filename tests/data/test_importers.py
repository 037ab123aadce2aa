"""Readers of the authors' files: made-up files in the same formats, and the real ones where they are at hand."""

import csv
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.importers.any_table import AnnotationColumns, read_csv
from artquant_plugin.data.importers.apdd import ATTRIBUTES, FILES, read_apdd
from artquant_plugin.data.importers.baid import read_baid
from artquant_plugin.data.importers.vaps import read_vaps
from tests.paths import shared

SPLIT_HEADER = "filename,Artistic Categories,Score," + ",".join(ATTRIBUTES)
BIG_HEADER = "filename,Artistic Categories,Total aesthetic score," + ",".join(ATTRIBUTES) + ",Language Comment"


def apdd_row(name: str, score: str, attributes: str = "7", comment: str | None = None) -> str:
    cells = [name, "oil painting - landscape", score, *[attributes] * len(ATTRIBUTES)]
    return ",".join(cells if comment is None else [*cells, f'"{comment}"'])


def write_apdd(folder: Path, big: bool = True) -> Path:
    for split, name, score in (("train", "a.jpg", "7.15"), ("valid", "b.png", "3"), ("test", "c.jpg", "5.5")):
        lines = [SPLIT_HEADER, apdd_row(name, score, "" if split == "test" else "7")]
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if big:
        rows = [
            apdd_row("a.jpg", "71.5", "7", "构图 is fine"),
            apdd_row("b.png", "30", "7", ""),
            apdd_row("c.jpg", "55"),
        ]
        rows[2] += ",second\n"
        (folder / "APDDv2-10023.csv").write_bytes("\r\n".join([BIG_HEADER, *rows]).encode("gbk"))
    return folder


def test_apdd_joins_comments_to_the_published_split(tmp_path):
    annotations = read_apdd(write_apdd(tmp_path))
    assert {split: [p.image for p in rows] for split, rows in annotations.splits.items()} == {
        "train": ["a.jpg"],
        "validation": ["b.png"],
        "test": ["c.jpg"],
    }
    first, second, third = (rows[0] for rows in annotations.splits.values())
    assert (first.score, first.category, first.comment) == (7.15, "oil painting - landscape", "构图 is fine")
    assert first.attributes == dict.fromkeys(ATTRIBUTES, 7.0)
    assert second.comment is None
    assert third.comment == "second"
    assert third.attributes == dict.fromkeys(ATTRIBUTES)
    assert annotations.split_method is None


def test_apdd_without_the_big_file_says_that_comments_are_missing(tmp_path):
    annotations = read_apdd(write_apdd(tmp_path, big=False))
    assert "without comments" in annotations.notes[0]


def test_apdds_big_file_alone_is_brought_to_ten_points_and_split_by_seed(tmp_path):
    annotations = read_apdd(write_apdd(tmp_path) / "APDDv2-10023.csv", seed=5)
    scores = sorted(row.score for rows in annotations.splits.values() for row in rows)
    assert scores == [3.0, 5.5, 7.15]
    assert annotations.split_seed == 5
    assert "not the authors' split" in annotations.split_method


def test_apdd_files_of_different_releases_are_refused(tmp_path):
    write_apdd(tmp_path)
    lines = [SPLIT_HEADER, apdd_row("a.jpg", "7.3")]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    with pytest.raises(ArtQuantError, match=r"train.csv:2: score 7.3 of 'a.jpg' is not a tenth"):
        read_apdd(tmp_path)


def test_a_big_file_that_is_not_gbk_is_named_with_its_first_bad_byte(tmp_path):
    write_apdd(tmp_path)
    (tmp_path / "APDDv2-10023.csv").write_bytes(BIG_HEADER.encode() + b"\n\xff\xff")
    with pytest.raises(ArtQuantError, match="is not gbk .byte 0xff"):
        read_apdd(tmp_path)


def write_baid(folder: Path, rows: str = "x.jpg,4.5\n") -> Path:
    for name in ("train_set.csv", "val_set.csv", "test_set.csv"):
        (folder / name).write_text("image,score\n" + rows.replace("x", name[:2]))
    return folder


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("x.jpg,11\n", r"train_set.csv:2: score 11 is outside \[0, 10\]"),
        ("x.jpg,nan\n", "score 'nan' is no number"),
        ("x.jpg,\n", "score '' is no number"),
        ("x.jpg,1_0\n", "score '1_0' is no number"),
        ('x.jpg,"4,5"\n', "score '4,5' is no number; write decimals with a point, as in 4.5"),
        ("x.jpg,4,5\n", "3 fields for 2 columns; put a field that holds ','"),
        ("x.jpg\n", "1 fields for 2 columns"),
        ("", "has no rows"),
    ],
)
def test_faulty_rows_are_named_by_file_and_line(rows, message, tmp_path):
    with pytest.raises(ArtQuantError, match=message):
        read_baid(write_baid(tmp_path, rows))


def test_a_wrong_column_lists_those_that_are_there(tmp_path):
    write_baid(tmp_path)
    (tmp_path / "val_set.csv").write_text("img,mos\na.jpg,1\n")
    with pytest.raises(ArtQuantError, match="has no column 'image', only img, mos"):
        read_baid(tmp_path)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ArtQuantError, match="train_set.csv' does not exist"):
        read_baid(tmp_path)
    with pytest.raises(ArtQuantError, match="is no folder; name the one that holds train_set.csv"):
        read_baid(tmp_path / "nothing")


def test_a_painting_that_stands_twice_is_named_with_both_lines(tmp_path):
    write_baid(tmp_path)
    (tmp_path / "test_set.csv").write_text("image,score\nnew.jpg,1\ntr.jpg,2\n")
    with pytest.raises(ArtQuantError) as raised:
        read_baid(tmp_path)
    assert str(raised.value) == (
        f"{tmp_path}/test_set.csv:3: image 'tr.jpg' stands already at {tmp_path}/train_set.csv:2 (1 such rows); a "
        "painting may stand in one split, once: remove the repeated rows"
    )
    path = table(tmp_path, "image,score\na.jpg,1\nb.jpg,1\na.jpg,2\nb.jpg,2\n")
    with pytest.raises(ArtQuantError, match=r"t.csv:4: image 'a.jpg' stands already at .*t.csv:2 .2 such rows"):
        read_csv(path, AnnotationColumns("image", "score"), name="d", score_range=(0, 10))
    (write_vaps(tmp_path) / "vaps_dataset.csv").open("a").write("007.jpg,3\n")
    with pytest.raises(ArtQuantError, match=r"vaps_dataset.csv:52: File Number '007.jpg' stands already"):
        read_vaps(tmp_path)


def test_apdds_two_kinds_of_files_are_searched_for_repeated_paintings(tmp_path):
    write_apdd(tmp_path)
    with (tmp_path / "APDDv2-10023.csv").open("ab") as file:
        file.write((apdd_row("a.jpg", "71.5", "7", "other") + "\r\n").encode("gbk"))
    with pytest.raises(ArtQuantError, match=r"APDDv2-10023.csv:5: filename 'a.jpg' stands already"):
        read_apdd(tmp_path)
    write_apdd(tmp_path, big=False)
    (tmp_path / "valid.csv").write_text("\n".join([SPLIT_HEADER, apdd_row("a.jpg", "7.15")]))
    with pytest.raises(ArtQuantError, match=r"valid.csv:2: filename 'a.jpg' stands already at .*train.csv:2"):
        read_apdd(tmp_path)


def write_vaps(folder: Path, count: int = 50) -> Path:
    lines = ["File Number,Liking", *[f"{index:03d}.jpg,{1 + 9 * index / count:.3f}" for index in range(count)]]
    (folder / "vaps_dataset.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_vaps_is_split_by_seed_and_not_by_the_order_of_its_rows(tmp_path):
    first = read_vaps(write_vaps(tmp_path), seed=1)
    assert {split: len(rows) for split, rows in first.splits.items()} == {"train": 40, "test": 10}
    lines = (tmp_path / "vaps_dataset.csv").read_text().splitlines()
    (tmp_path / "vaps_dataset.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    again, other = read_vaps(tmp_path, seed=1), read_vaps(tmp_path, seed=2)
    assert {p.id for p in again.splits["test"]} == {p.id for p in first.splits["test"]}
    assert {p.id for p in other.splits["test"]} != {p.id for p in first.splits["test"]}
    assert again.folds == first.folds


def test_vaps_folds_part_the_paintings_evenly(tmp_path):
    write_vaps(tmp_path)
    tests = [{p.id for p in read_vaps(tmp_path, fold=fold).splits["test"]} for fold in range(5)]
    assert [len(test) for test in tests] == [10] * 5
    assert len(set.union(*tests)) == 50
    with pytest.raises(ArtQuantError, match="fold 5 is not one of 0 to 4"):
        read_vaps(tmp_path, fold=5)


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "t.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_any_table_with_its_own_columns_and_splits(tmp_path):
    path = table(tmp_path, "\ufeffpic;mos;set;kind\ne/a.jpg;12;val;oil\nb.jpg;-3;Train;\n")
    columns = AnnotationColumns("pic", "mos", split="set", category="kind")
    annotations = read_csv(path, columns, name="mine", score_range=(-5, 20), delimiter=";")
    assert list(annotations.splits) == ["train", "validation"]
    painting = annotations.splits["validation"][0]
    assert (painting.id, painting.image, painting.score, painting.category) == ("e/a.jpg", "e/a.jpg", 12.0, "oil")
    assert annotations.splits["train"][0].category is None


def test_a_tabulator_may_be_written_as_people_type_it(tmp_path):
    path = table(tmp_path, "image\tscore\tset\na.jpg\t1\ttest\n")
    annotations = read_csv(
        path, AnnotationColumns("image", "score", "set"), name="d", score_range=(0, 10), delimiter="\\t"
    )
    assert annotations.splits["test"][0].image == "a.jpg"


WITHOUT_HEADER = (
    "00.jpg,4.5\n01.jpg,2\n",
    "00.jpg 0.7\n01.jpg  0.5\n",
    "00.jpg\t4\n01.jpg\t5\n",
    "00;0,5\n01;1\n",
    "7,0.5\n8,1\n",
)


@pytest.mark.parametrize("text", WITHOUT_HEADER)
@pytest.mark.parametrize("as_columns", [False, True])
def test_a_table_without_a_header_line_is_recognised_also_by_columns_named_after_its_first_row(
    text, as_columns, tmp_path
):
    path = table(tmp_path, text)
    first = text.partition("\n")[0]
    columns = AnnotationColumns("image", "score")
    if as_columns:
        columns = AnnotationColumns(*(cell for cell in re.split("[ ;\t]|,(?!5$)", first) if cell))
    with pytest.raises(ArtQuantError) as raised:
        read_csv(path, columns, name="d", score_range=(0, 10))
    shown = " ".join(first.split())
    assert f"t.csv' has no header line: it begins with the row '{shown}'; pass --no-header" in str(raised.value)
    assert "or put a line with the names of its columns before the first one, such as 'image" in str(raised.value)


@pytest.mark.parametrize("text", WITHOUT_HEADER)
def test_a_table_without_a_header_line_is_read_with_its_first_row(text, tmp_path):
    columns = AnnotationColumns("1", "2")
    options = {"name": "d", "score_range": (0, 10), "test_fraction": 0.5, "header": False}
    found = read_csv(table(tmp_path, text), columns, **options)
    names = sorted(painting.image for rows in found.splits.values() for painting in rows)
    assert names == sorted(re.split("[ ;\t,]", line)[0] for line in text.split("\n")[:-1])


def test_the_message_about_a_missing_header_line_tells_the_columns_where_it_can(tmp_path):
    for text, told in (
        ("x,00.jpg,4.5\n", "pass --no-header --image-column N --score-column M, the numbers of its columns from 1"),
        ("4.5,00.jpg\n", "pass --no-header --image-column 2 --score-column 1, or put a line"),
        ("1 953619 0 1 5 17\n", "pass --no-header --image-column N --score-column M"),  # AVA.txt
    ):
        with pytest.raises(ArtQuantError, match=told):
            read_csv(table(tmp_path, text), AnnotationColumns("image", "score"), name="d", score_range=(0, 10))


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("0,1\na.jpg,5\nb.jpg,6\n", ("0", "1")),  # how pandas names columns that have no names
        ("1,2\na.jpg,5\nb.jpg,6\n", ("1", "2")),
        ("image,2019,2020\na.jpg,5,6\nb.jpg,6,6\n", ("image", "2019")),
        ("image score\na.jpg   5\nb.jpg 6\n", ("image", "score")),
        ("image;score\na.jpg;5\nb.jpg;6\n", ("image", "score")),
        ("a.jpg,score\nx,5\ny,6\n", ("a.jpg", "score")),
    ],
)
def test_a_header_line_of_unusual_names_is_one(text, columns, tmp_path):
    options = {"name": "d", "score_range": (0, 10), "test_fraction": 0.5}
    found = read_csv(table(tmp_path, text), AnnotationColumns(*columns), **options)
    assert sorted(painting.score for rows in found.splits.values() for painting in rows) == [5, 6]


def test_all_faulty_rows_of_a_table_are_told_at_once(tmp_path):
    path = table(tmp_path, "image,score\na.jpg,x\nb.jpg,11\nc.jpg,5\n,4\nd.jpg,1_0\n")
    with pytest.raises(ArtQuantError) as raised:
        read_csv(path, AnnotationColumns("image", "score"), name="d", score_range=(0, 10))
    assert str(raised.value) == (
        f"{path}:2: score 'x' is no number; {path}:3: score 11 is outside [0, 10]; {path}:5: image is empty and 1 "
        "more (4 faulty rows in all); write a number, or mend the table or pass another --score-range, or write the "
        "image's name or remove the row"
    )
    path = table(tmp_path, "image,score,split\na.jpg,x,train\nb.jpg,3,tset\n./a.jpg,5,test\n")
    with pytest.raises(ArtQuantError) as raised:
        read_csv(path, AnnotationColumns("image", "score", "split"), name="d", score_range=(0, 10))
    assert str(raised.value) == (
        f"{path}:4: image './a.jpg' stands already at {path}:2 as 'a.jpg' (1 such rows); a painting may stand in one "
        f"split, once: remove the repeated rows; also {path}:2: score 'x' is no number; write a number; also {path}:3"
        ": split 'tset' is not one of train, training, val, valid, validation, dev, test, testing; mend it"
    )
    write_baid(tmp_path)
    (tmp_path / "train_set.csv").write_text("image,score\nx.jpg,11\ny.jpg,-1\n")
    with pytest.raises(
        ArtQuantError, match=r"train_set.csv:3: score -1 is outside .0, 10. .2 faulty rows in all.; mend"
    ):
        read_baid(tmp_path)


def test_a_table_without_splits_gets_a_seeded_one(tmp_path):
    path = table(tmp_path, "image,score\n" + "".join(f"{index}.jpg,1\n" for index in range(10)))
    annotations = read_csv(
        path, AnnotationColumns("image", "score"), name="mine", score_range=(0, 1), test_fraction=0.3
    )
    assert [len(rows) for rows in annotations.splits.values()] == [7, 3]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("image,score\na.jpg,1\n", {"score_range": (5, 5)}, "score range 5 5 is empty"),
        ("image,score\na.jpg,1\n", {"test_fraction": 1.5}, "test fraction 1.5"),
        ("image,score\na.jpg,1\n", {"encoding": "klingon"}, "encoding 'klingon' is unknown"),
        (
            "image,score\na.jpg,99\n",
            {},
            r"score 99 is outside \[0, 10\]; mend the table or pass another --score-range",
        ),
        (
            "image,score\na.jpg,1\n",
            {"score_range": (0, float("inf"))},
            "score range 0 inf has an end that is not finite",
        ),
        ("image,score\na.jpg,1\n", {"delimiter": ";;"}, "delimiter ';;' is not one character"),
        ("image,score\na.jpg,1\n", {"delimiter": ""}, "delimiter '' is not one character"),
        ("image,score\na.jpg,1\n", {"name": "../d"}, "dataset name '../d' is no plain name"),
        ("image,score\na.jpg,1\n", {"name": ""}, "dataset name '' is no plain name"),
        ("image,score,score\na.jpg,1,2\n", {}, "has 2 columns 'score'"),
        ("image,score\na.jpg,1\nb.jpg,1\n", {}, "2 rows leave no painting for the test split; raise --test-fraction"),
        (
            "image;score\na.jpg;1\n",
            {"delimiter": ","},
            "no column 'image', only image;score; .*: pass --delimiter ';'",
        ),
        ("image,mos\na.jpg,9\n", {}, "no column 'score', only image, mos; pass the right --image-column"),
    ],
)
def test_a_wrong_table_or_option_is_one_line(text, options, message, tmp_path):
    with pytest.raises(ArtQuantError, match=message) as raised:
        read_csv(
            table(tmp_path, text),
            AnnotationColumns("image", "score"),
            **{"name": "d", "score_range": (0, 10)} | options,
        )
    assert "\n" not in str(raised.value)


def test_a_latin_table_read_as_utf8_names_the_byte(tmp_path):
    path = table(tmp_path, "image,score\nCafé.jpg,1\n", "latin-1")
    with pytest.raises(
        ArtQuantError, match=r"t.csv:2: the line is not UTF-8 .byte 0xe9.; .*, or pass the right --encoding"
    ):
        read_csv(path, AnnotationColumns("image", "score"), name="d", score_range=(0, 10))


def test_a_split_word_that_nobody_knows_is_an_error(tmp_path):
    path = table(tmp_path, "image,score,set\na.jpg,1,holdout\n")
    with pytest.raises(ArtQuantError, match="split 'holdout' is not one of train"):
        read_csv(path, AnnotationColumns("image", "score", split="set"), name="d", score_range=(0, 10))


def test_the_real_baid_files():
    splits = read_baid(shared("data/baid")).splits
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 50737, "validation": 3200, "test": 6400}
    means = {split: float(np.mean([row.score for row in rows])) for split, rows in splits.items()}
    assert means == pytest.approx({"train": 4.571, "validation": 4.077, "test": 4.717}, abs=5e-4)


def test_the_real_apdd_files():
    splits = read_apdd(shared("data/apddv2")).splits
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 8019, "validation": 1002, "test": 1002}
    comments = {split: sum(row.comment is not None for row in rows) for split, rows in splits.items()}
    assert sum(comments.values()) == 4906
    assert comments["test"] == 487


def test_the_real_apdd_attributes_and_their_gaps():
    folder = shared("data/apddv2")
    for split, rows in read_apdd(folder).splits.items():
        with (folder / FILES[split]).open(newline="") as file:
            published = {row["filename"]: row for row in csv.DictReader(file)}
        assert [list(row.attributes) for row in rows] == [list(ATTRIBUTES)] * len(rows)
        for row in rows:
            for name, value in row.attributes.items():
                text = published[row.image][name].strip()
                assert value == (float(text) if text else None), (row.image, name)
        gaps = Counter(name for row in rows for name, value in row.attributes.items() if value is None)
        if split == "test":
            assert gaps == {
                "Theme and logic": 207,
                "Creativity": 622,
                "Space and perspective": 380,
                "The sense of order": 207,
                "Light and shadow": 380,
                "Color": 382,
                "Mood": 329,
            }


def test_the_real_vaps_file():
    splits = read_vaps(shared("data/vaps")).splits
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 799, "test": 200}
