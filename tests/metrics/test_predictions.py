from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.metrics.predictions import join_predictions, read_truth


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
    joined = join_predictions(path, read_truth(truth), image_column="file", prediction_column="mos")
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
    joined = join_predictions(csv_file(tmp_path, name, text), read_truth(truth), prediction_column=column)
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
        ("", "no column 'image', only nothing"),
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
        read_truth(str(path), score_column="prediction")


def test_an_underscore_makes_no_number(truth, tmp_path):
    path = csv_file(tmp_path, "p.csv", "image,prediction\na.jpg,1\nb.jpg,1_0\n")
    assert join_predictions(path, read_truth(truth)).unparsable == ["b.jpg ('1_0')"]
    with pytest.raises(ArtQuantError, match="p.csv:3: prediction '1_0' is no number"):
        read_truth(str(path), score_column="prediction")


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
