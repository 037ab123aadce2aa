import csv
import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.metrics.predictions import (
    JoinedPredictions,
    TableForm,
    Truth,
    join_by_any_name,
    read_predictions,
    read_truth,
)


def join_predictions(path: Path, truth: Truth, form: TableForm | None = None) -> JoinedPredictions:
    return join_by_any_name(read_predictions(path, form), truth)


def csv_file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def truth(tmp_path) -> str:
    return str(csv_file(tmp_path, "truth.csv", "image,score\na.jpg,1\nb.jpg,2\nc.jpg,3\nd.jpg,4\n"))


def test_everything_that_does_not_join_is_listed(truth, tmp_path):
    rows = "image,prediction\nb.jpg,2.5\na.jpg,1.5\nc.jpg,n/a\nx.jpg,1\na.jpg,9\n"
    joined = join_predictions(csv_file(tmp_path, "p.csv", rows), read_truth(truth))
    assert (joined.images, joined.predictions, joined.truths) == (["b.jpg"], [2.5], [2.0])
    assert joined.missing == ["d.jpg"]
    assert joined.unparsable == ["c.jpg ('n/a')"]
    assert joined.duplicates == ["a.jpg"]
    assert joined.unknown == ["x.jpg"]
    assert joined.n_truth == 4


@pytest.mark.parametrize("text", ["nan", "inf", "", "4,5"])
def test_numbers_that_are_none_are_unparsable(text, truth, tmp_path):
    rows = f'image,prediction\na.jpg,1\nb.jpg,"{text}"\n'
    assert join_predictions(csv_file(tmp_path, "p.csv", rows), read_truth(truth)).unparsable == [f"b.jpg ({text!r})"]


def test_other_columns_and_a_byte_order_mark(truth, tmp_path):
    path = csv_file(tmp_path, "p.csv", "\ufefffile,mos\na.jpg,7\n")
    joined = join_predictions(path, read_truth(truth), TableForm("file", "mos"))
    assert joined.predictions == [7.0]


@pytest.mark.parametrize(
    ("name", "text", "column"),
    [
        (
            "saan.csv",
            "image,score,prediction\na.jpg,1,4.5\nb.jpg,2,5.5\n",
            "prediction",
        ),  # SAAN's test.py, with pandas
        ("pyiqa.tsv", "image\tprediction\na.jpg\t4.5\nb.jpg\t5.5\n", "prediction"),  # pyiqa's inference_iqa.py
        ("q-align.json", '{"image": "a.jpg", "score": 4.5}{"image": "b.jpg", "score": 5.5}', "score"),  # no line ends
        ("lines.jsonl", '{"image": "a.jpg", "score": "4.5"}\n{"image": "b.jpg", "score": 5.5}\n', "score"),
        ("list.json", '[{"image": "a.jpg", "score": 4.5},\n {"image": "b.jpg", "score": 5.5}]\n', "score"),
    ],
)
def test_files_as_other_tools_write_them(name, text, column, truth, tmp_path):
    joined = join_predictions(csv_file(tmp_path, name, text), read_truth(truth), TableForm(value=column))
    assert (joined.images, joined.predictions) == (["a.jpg", "b.jpg"], [4.5, 5.5])
    assert joined.missing == ["c.jpg", "d.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"image": "a.jpg"}', "no column 'prediction', only image"),
        ('{"image": "a.jpg", "prediction": 1} {"ima', "p.json:1: not JSON that can be read"),
        ('["a.jpg"]', "p.json:1: str instead of an object"),
        ("", "no image of .* has both"),
    ],
)
def test_wrong_json_is_one_line(text, message, truth, tmp_path):
    with pytest.raises(ArtQuantError, match=message):
        join_predictions(csv_file(tmp_path, "p.json", text), read_truth(truth))


def test_a_null_prediction_is_unparsable(truth, tmp_path):
    text = '{"image": "a.jpg", "prediction": 1}{"image": "b.jpg", "prediction": null}'
    assert join_predictions(csv_file(tmp_path, "p.json", text), read_truth(truth)).unparsable == ["b.jpg ('')"]


def test_the_truth_may_be_a_dataset_and_brings_what_its_import_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path))
    rows = {split: [Painting(f"{split}1", f"{split}1.jpg", "", 5.0)] for split in ("train", "test")}
    write_dataset(
        tmp_path / "baid",
        name="baid",
        score_range=(0, 10),
        splits=rows,
        image_root=".",
        source="",
        license="",
        missing={"test": {"missing": 2}},
    )
    assert read_truth("baid").scores == {"test1.jpg": 5.0}
    assert read_truth("baid:train").scores == {"train1.jpg": 5.0}
    assert read_truth("baid").left_out == {"missing": 2}
    assert read_truth(f"{tmp_path / 'baid'}:train").scores == {"train1.jpg": 5.0}
    with pytest.raises(ArtQuantError, match="'mine/truth.csv' does not exist; name a CSV file, or a dataset"):
        read_truth("mine/truth.csv")
    with pytest.raises(ArtQuantError, match="no split 'dev'; it has train, test"):
        read_truth("baid:dev")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,prediction\nz.jpg,1\n", "no image of .* has both a prediction and a human score .1 predicted, 4"),
        ("img,prediction\na.jpg,1\n", "no column 'image', only img, prediction"),
        ("", "no column at all: it is empty"),
        ("image,prediction\na.jpg\n", "p.csv:2: 1 fields for 2 columns; mend the line"),
    ],
)
def test_a_wrong_file_is_one_line(text, message, truth, tmp_path):
    with pytest.raises(ArtQuantError, match=message):
        join_predictions(csv_file(tmp_path, "p.csv", text), read_truth(truth))


@pytest.mark.parametrize(
    ("text", "message"), [("a.jpg,x", "truth2.csv:2: score 'x' is no number"), ("a.jpg,1\na.jpg,1", "stands twice")]
)
def test_a_wrong_truth_is_one_line(text, message, tmp_path):
    with pytest.raises(ArtQuantError, match=message):
        read_truth(str(csv_file(tmp_path, "truth2.csv", f"image,score\n{text}\n")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,prediction\na.jpg,4,5\n", "p.csv:2: 3 fields for 2 columns; put a field that holds ','"),
        ("image,prediction\na.jpg,4\nb.jpg,4,5\n", "p.csv:3: 3 fields for 2 columns"),
        ("image,prediction,prediction\na.jpg,1,4\n", "p.csv' has 2 columns 'prediction'; rename all but one"),
    ],
)
def test_a_table_that_could_be_read_in_two_ways_gives_no_figure(text, message, truth, tmp_path):
    path = csv_file(tmp_path, "p.csv", text)
    with pytest.raises(ArtQuantError, match=message):
        join_predictions(path, read_truth(truth))
    with pytest.raises(ArtQuantError, match=message):
        read_truth(str(path), TableForm(value="prediction"))


def test_an_underscore_makes_no_number(truth, tmp_path):
    path = csv_file(tmp_path, "p.csv", "image,prediction\na.jpg,1\nb.jpg,1_0\n")
    assert join_predictions(path, read_truth(truth)).unparsable == ["b.jpg ('1_0')"]
    with pytest.raises(ArtQuantError, match="p.csv:3: prediction '1_0' is no number"):
        read_truth(str(path), TableForm(value="prediction"))


def test_semicolons_and_parquet_files_are_read(truth, tmp_path):
    semicolons = csv_file(tmp_path, "s.csv", "image;prediction\na.jpg;4.5\n")
    table = pyarrow.table({"image": ["a.jpg"], "prediction": [4.5]})
    parquet.write_table(table, tmp_path / "p.parquet")
    for path in (semicolons, tmp_path / "p.parquet"):
        assert join_predictions(path, read_truth(truth)).predictions == [4.5]


def test_other_encodings_are_named(truth, tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes("image,prediction\né.jpg,1\n".encode("latin-1"))
    with pytest.raises(ArtQuantError, match="p.csv:2: the line is not UTF-8"):
        join_predictions(path, read_truth(truth))


SCORED = [
    {"path": "/data/pictures/a.jpg", "score": 1.5, "good": 0.4, "entropy": 0.1, "reason": None},
    {"path": "/data/pictures/b.jpg", "score": None, "good": None, "entropy": None, "reason": "it is broken"},
    {"path": "/data/pictures/c.jpg", "score": 2.5, "good": 0.6, "entropy": 0.1, "reason": None},
]


def write_scores(folder: Path, form: str) -> Path:
    """What `artquant score` writes in each of its forms."""
    path = folder / f"scores.{form}"
    if form == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, SCORED[0])
            writer.writeheader()
            writer.writerows(SCORED)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in SCORED))
    elif form == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(SCORED), path)
    else:
        path.mkdir()
        (path / "_run.json").write_text("{}")
        for number, rows in enumerate((SCORED[:2], SCORED[2:])):
            parquet.write_table(pyarrow.Table.from_pylist(rows), path / f"shard-{number:06}.parquet")
    return path


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "folder"])
def test_what_artquant_score_wrote_is_read_without_options(form, truth, tmp_path):
    joined = join_predictions(write_scores(tmp_path, form), read_truth(truth))
    assert (joined.images, joined.predictions, joined.truths) == (["a.jpg", "c.jpg"], [1.5, 2.5], [1.0, 3.0])
    assert joined.failed == ["b.jpg (it is broken)"]
    assert (joined.missing, joined.unparsable, joined.unknown, joined.n_truth) == (["d.jpg"], [], [], 4)


def test_a_table_of_human_scores_is_no_table_of_predictions(truth, tmp_path):
    with pytest.raises(ArtQuantError, match="no column 'prediction', only image, score"):
        read_predictions(Path(truth))


def test_paths_are_joined_by_file_name_only_where_that_joins_more(tmp_path):
    truth = Truth({"x/a.jpg": 1.0, "y/a.jpg": 2.0, "x/b.jpg": 3.0}, {})
    exact = csv_file(tmp_path, "e.csv", "image,prediction\nx/a.jpg,1\ny/a.jpg,2\n")
    joined = join_predictions(exact, truth)
    assert (joined.images, joined.missing, joined.duplicates) == (["x/a.jpg", "y/a.jpg"], ["x/b.jpg"], [])
    paths = csv_file(tmp_path, "p.csv", "image,prediction\nC:\\\\x\\a.jpg,1\nC:\\\\x\\b.jpg,2\n")
    joined = join_predictions(paths, truth)
    # a.jpg names two images of the truth, and so neither of them.
    assert (joined.images, joined.truths, joined.unknown, joined.n_truth) == (["b.jpg"], [3.0], ["a.jpg"], 3)


def test_rows_that_stand_several_times_are_all_left_out(truth, tmp_path):
    rows = "image,prediction\na.jpg,1\na.jpg,\na.jpg,3\nb.jpg,x\nb.jpg,2\nc.jpg,3\n"
    joined = join_predictions(csv_file(tmp_path, "p.csv", rows), read_truth(truth))
    assert (joined.images, joined.duplicates, joined.unparsable) == (["c.jpg"], ["a.jpg", "b.jpg"], [])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "0 predicted, 4 scored.; the table has no rows: see whether the tool that wrote it came to its end"),
        ("a.jpg,n/a\n", "'a.jpg' has 'n/a' instead of a number: check --prediction-column"),
        ("a.jpg,1\na.jpg,2\n", "every image stands in several rows: check --image-column"),
        (
            "z.jpg,1\n",
            "one side names images like 'z.jpg', the other like 'a.jpg': check --image-column, --truth-image",
        ),
    ],
)
def test_why_there_is_not_one_pair(rows, message, truth, tmp_path):
    path = csv_file(tmp_path, "p.csv", f"image,prediction\n{rows}")
    with pytest.raises(ArtQuantError, match=message):
        join_predictions(path, read_truth(truth))


def test_other_encodings_and_delimiters_are_options(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes("image|prediction\né.jpg|1,5\n".encode("cp1252"))
    with pytest.raises(ArtQuantError, match="p.csv:2: .*byte 0xe9.*pass the right --encoding"):
        read_predictions(path, TableForm(delimiter="|"))
    found = read_predictions(path, TableForm(delimiter="|", encoding="cp1252"))
    assert found.unparsable == {"é.jpg": "1,5"}
    path.write_bytes("image;prediction\né.jpg;1,5\n".encode("cp1252"))
    assert read_predictions(path, TableForm(encoding="cp1252")).values == {"é.jpg": 1.5}


@pytest.mark.parametrize("cell", ["NaN", "Infinity", "1e400"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_truth_that_is_no_number_is_named(cell, quote, tmp_path):
    path = csv_file(tmp_path, "t.jsonl", f'{{"image": "a.jpg", "score": {quote}{cell}{quote}}}\n')
    with pytest.raises(ArtQuantError, match="t.jsonl:1: score '.*' is no number; mend the truth"):
        read_truth(str(path))


@pytest.mark.parametrize("spelled", ["{}.jpg", "./{}.jpg", "scans/{}.jpg", "{}"])
def test_names_join_in_whichever_spelling_a_tool_writes_them(tmp_path: Path, spelled: str) -> None:
    rows = "".join(f"{spelled.format(name)},{value}\n" for name, value in (("a", 3), ("b", 5), ("c", 4)))
    predictions = csv_file(tmp_path, "p.csv", "image,prediction\n" + rows)
    truth = csv_file(tmp_path, "t.csv", "image,score\na.jpg,1\nb.jpg,2\nc.jpg,3\n")
    joined = join_predictions(predictions, read_truth(str(truth)))
    assert (joined.predictions, joined.truths, joined.unknown) == ([3, 5, 4], [1, 2, 3], [])
    # The other way round: the truth spells the names so.
    rows = "".join(f"{spelled.format(name)},{value}\n" for name, value in (("a", 1), ("b", 2), ("c", 3)))
    truth = csv_file(tmp_path, "t.csv", "image,score\n" + rows)
    predictions = csv_file(tmp_path, "p.csv", "image,prediction\na.jpg,3\nb.jpg,5\nc.jpg,4\n")
    joined = join_predictions(predictions, read_truth(str(truth)))
    assert (joined.predictions, joined.truths, joined.unknown) == ([3, 5, 4], [1, 2, 3], [])


def test_a_picture_of_another_ending_is_another_picture(tmp_path: Path) -> None:
    predictions = csv_file(tmp_path, "p.csv", "image,prediction\na.jpg,1\nb.png,2\n")
    truth = csv_file(tmp_path, "t.csv", "image,score\na.jpg,1\nb.jpg,2\n")
    joined = join_predictions(predictions, read_truth(str(truth)))
    assert (joined.images, joined.unknown, joined.missing) == (["a.jpg"], ["b.png"], ["b.jpg"])


def test_one_picture_under_two_spellings_has_no_two_human_scores(tmp_path: Path) -> None:
    truth = csv_file(tmp_path, "t.csv", "image,score\na.jpg,1\n./a.jpg,2\n")
    with pytest.raises(ArtQuantError, match=r"t.csv:3: image './a.jpg' stands twice, first at .*t.csv:2"):
        read_truth(str(truth))


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        ('"1,5"', "write decimals with a point"),
        ('"1.000,5"', "write decimals with a point"),
        ("5%", "check --prediction-column"),
    ],
)
def test_predictions_that_are_no_numbers_get_the_remedy_of_their_cause(tmp_path: Path, cell: str, remedy: str) -> None:
    predictions = csv_file(tmp_path, "p.csv", f"image,prediction\na.jpg,{cell}\n")
    truth = csv_file(tmp_path, "t.csv", "image,score\na.jpg,1\n")
    with pytest.raises(ArtQuantError, match=remedy):
        join_predictions(predictions, read_truth(str(truth)))


def test_a_table_in_which_every_row_failed_says_why(tmp_path: Path) -> None:
    predictions = csv_file(tmp_path, "p.csv", "path,score,reason\na.jpg,,no such file\n")
    truth = csv_file(tmp_path, "t.csv", "image,score\na.jpg,1\n")
    with pytest.raises(ArtQuantError, match="the tool gave none a score, such as 'a.jpg': no such file$"):
        join_predictions(predictions, read_truth(str(truth)))


def test_an_image_that_stands_twice_in_a_line_of_json_is_refused(tmp_path):
    rows = '[{"image": "a.jpg", "score": 1}, {"image": "b.jpg", "score": 2}, {"image": "a.jpg", "score": 9}]'
    (tmp_path / "t.json").write_text(rows)
    with pytest.raises(ArtQuantError, match=r"t.json:1 \(entry 3\): image 'a.jpg' stands twice, first at .*t.json:1;"):
        read_truth(str(tmp_path / "t.json"))
