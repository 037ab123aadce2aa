"""The one reader of tables: formats, places, and what is refused."""

import io
import json
import math
import os
from decimal import Decimal
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import parse_number, read_json_values, read_table

ROWS = [{"image": "a.jpg", "score": 4.5}, {"image": "b.jpg", "score": 5}]


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def parquet_bytes(table):
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "image,score\na.jpg, 4.5\n\nb.jpg,5\n"),
        ("t.csv", "\ufeffscore;image\r\n4.5;a.jpg\r\n5;b.jpg\r\n;\r\n"),  # Excel, with an empty line at the end
        ("t.csv", "sep=;\nimage;score\na.jpg;4.5\nb.jpg;5\n"),
        ("t.txt", "image\tscore\na.jpg\t4.5\nb.jpg\t5"),
        ("t.json", '{"image": "a.jpg", "score": 4.5}{"image": "b.jpg", "score": "5"}'),
        ("t.json", '[{"image": "a.jpg", "score": 4.5},\n {"image": "b.jpg", "score": 5, "more": [{}]}]\n'),
        ("t.jsonl", '{"image": "a.jpg", "score": 4.5}\n\n{"image": "b.jpg", "score": 5}\n'),
        ("t.parquet", parquet_bytes(pyarrow.Table.from_pylist(ROWS))),
    ],
)
def test_every_format_gives_the_same_rows(name, content, tmp_path):
    rows = list(read_table(write(tmp_path, name, content), ("image", "score")))
    assert [row.text("image") for row in rows] == ["a.jpg", "b.jpg"]
    assert [row.number("score", 0, 10, "") for row in rows] == [4.5, 5.0]


def test_rows_name_the_line_at_which_they_begin(tmp_path):
    path = write(tmp_path, "t.csv", 'image,note\na,"one\ntwo"\n\nb,"x"\n')
    assert [row.place for row in read_table(path, ("image",))] == [f"{path}:2", f"{path}:5"]
    path = write(tmp_path, "s.csv", "sep=,\nimage\na\n")
    assert [row.place for row in read_table(path, ("image",))] == [f"{path}:3"]
    path = write(tmp_path, "t.json", '[\n{"image": 1},\n\n{"image":\n2}]')
    assert [place for place, _ in read_json_values(path)] == [f"{path}:2", f"{path}:4"]
    path = write(tmp_path, "t.json", '[{"image": 1}, {"image": 2},\n{"image": 3}]')
    assert [place for place, _ in read_json_values(path)] == [f"{path}:1", f"{path}:1 (entry 2)", f"{path}:2"]
    path = write(tmp_path, "t.parquet", parquet_bytes(pyarrow.Table.from_pylist(ROWS)))
    assert [row.place for row in read_table(path, ("image",))] == [f"{path}, row 1", f"{path}, row 2"]


@pytest.mark.parametrize("before", ["\n", "\r\n \r\n", "sep=,\n\n"])
def test_blank_lines_before_the_header_are_passed_over_and_counted(tmp_path, before):
    path = write(tmp_path, "t.csv", f"{before}image,score\na.jpg,1\n")
    (row,) = read_table(path, ("image", "score"))
    assert (row.values, row.place) == ({"image": "a.jpg", "score": "1"}, f"{path}:{before.count(chr(10)) + 2}")
    (row,) = read_table(write(tmp_path, "n.csv", f"{before}a.jpg,1\n"), ("1", "2"), header=False)
    assert row.values == {"1": "a.jpg", "2": "1"}


def test_only_asked_columns_are_read_and_others_may_stand_twice(tmp_path):
    path = write(tmp_path, "t.csv", "image,x,x,,\na.jpg,1,2,,\n")
    assert [row.values for row in read_table(path, ("image",), optional=("absent",))] == [{"image": "a.jpg"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "image,score\na.jpg,1\nb.jpg,4,5\n", r"t.csv:3: 3 fields for 2 columns; put a field that holds ','"),
        ("t.csv", "image,score\na.jpg,1,\n", "t.csv:2: 3 fields.* in quotes, or remove the ',' behind the last field"),
        ("t.csv", "\n\nimage,score\na,1\nb\n", "t.csv:5: 1 fields for 2 columns; mend the line"),
        ("t.csv", "image|score\na|1\n", r"only image\|score; its fields are set apart by '\|': set them apart by ','"),
        ("t.csv", "# made by x\n\nimage,score\na,1\n", "line 3 has the names of the columns: remove the lines before"),
        ("t.csv", "My list,\nscore, image\n1,a\n", "line 2 has the names of the columns: remove the lines before it"),
        ("t.csv", "image,score\n\na.jpg\n", "t.csv:3: 1 fields for 2 columns; mend the line"),
        ("t.csv", "image,score,score\na,1,2\n", "t.csv' has 2 columns 'score'; rename all but one"),
        ("t.csv", "image,mos\na,1\n", "t.csv' has no column 'score', only image, mos; pass --x"),
        ("t.csv", "", "t.csv' has no column at all: it is empty"),
        ("t.csv", 'image,score\na,1\n"b,2\nc,3\n', "t.csv:3: unexpected end of data; mend the line"),
        ("t.csv", b"image,score\na,1\n\xe9,2\n", r"t.csv:3: the line is not UTF-8 \(byte 0xe9\); save the file as"),
        ("t.csv", b"PK\x03\x04\x14\x00", "t.csv' is a workbook, as Excel writes them.*; save it as CSV"),
        ("t.xlsx", b"PK\x03\x04\x14\x00", "t.xlsx' is no whole workbook of Excel"),
        ("t.csv", parquet_bytes(pyarrow.Table.from_pylist(ROWS)), "is a Parquet file; give it a name that ends with"),
        ("t.parquet", b"", "t.parquet' is no whole Parquet file"),
        ("t.parquet", parquet_bytes(pyarrow.table({"image": ["a"]})), "t.parquet' has no column 'score', only image"),
        (
            "t.parquet",
            parquet_bytes(pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 3, ["image", "score", "score"])),
            "t.parquet' has 2 columns 'score'",
        ),
        ("t.jsonl", '{"image": 1, "score": 1}\n{"image"\n', r"t.jsonl:2: not JSON that can be read \(Expecting ':'"),
        ("t.jsonl", '{"image": 1, "score": 1, "score": 2}\n', "t.jsonl:1: not JSON.*the key 'score' stands twice"),
        ("t.jsonl", "[1]\n", "t.jsonl:1: list instead of an object"),
        ("t.jsonl", '{"image": 1, "score": 1}\n{"image": 1}\n', "t.jsonl:2' has no column 'score', only image; pass"),
        ("t.jsonl", b'{"image": 1, "score": 1}\n"\xff"\n', r"t.jsonl:2: the line is not UTF-8 \(byte 0xff\)"),
        ("t.json", '[\n{"image": 1, "score": 1},\n{"image": tru}]', "t.json:3: not JSON that can be read"),
        ("t.json", '[{"image": 1, "score": 1},', "t.json' ends before its list does"),
        ("t.json", '[{"image": 1, "score": 1}, "b"]', r"t.json:1 \(entry 2\): str instead of an object"),
        ("t.json", "[" * 100_000 + "]", "t.json.*(not JSON|instead of an object)"),
        ("t.json", '{"a":' * 100_000 + "]", "t.json:1: not JSON that can be read"),
    ],
)
def test_a_fault_is_one_line_with_its_place(name, content, message, tmp_path):
    with pytest.raises(ArtQuantError, match=message) as raised:
        list(read_table(write(tmp_path, name, content), ("image", "score"), remedy="pass --x"))
    assert "\n" not in str(raised.value)


def test_an_absent_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ArtQuantError, match=r"gone.csv' does not exist; mend the path"):
        next(read_table(str(tmp_path / "gone.csv"), ()))
    with pytest.raises(ArtQuantError, match="is a folder, not a file"):
        next(read_table(str(tmp_path), ()))


def test_options_of_the_command_are_named_where_they_would_help(tmp_path):
    path = write(tmp_path, "t.csv", "image;score\na.jpg;4,5\n")
    with pytest.raises(ArtQuantError, match="no column 'image', only image;score; .*: pass --delimiter ';'"):
        next(read_table(path, ("image",), delimiter=",", has_options=True))
    path = write(tmp_path, "p.csv", 'image|score\na.jpg|"4.5"\n')
    with pytest.raises(ArtQuantError, match=r"set apart by '\|': pass --delimiter '\|'$"):
        next(read_table(path, ("image",), has_options=True))
    assert [row.values for row in read_table(path, ("image", "score"), delimiter="|")] == [
        {"image": "a.jpg", "score": "4.5"}
    ]
    with pytest.raises(
        ArtQuantError, match=r"pass --delimiter '\|', and write tables of the same command alike, .* ';'"
    ):
        next(read_table(path, ("image",), delimiter=";", has_options=True))
    quoted = write(tmp_path, "q.csv", 'image,score\na.jpg,"4,5"\n')
    (row,) = read_table(quoted, ("image", "score"))
    with pytest.raises(
        ArtQuantError, match="q.csv:2: score '4,5' is no number; write decimals with a point, as in 4.5"
    ):
        row.number("score", 0, 10, "mend the row")
    path = write(tmp_path, "l.csv", "image\né\n".encode("latin-1"))
    with pytest.raises(
        ArtQuantError, match=r"l.csv:2: .*0xe9\); save the file as UTF-8, or pass the right --encoding"
    ):
        list(read_table(path, ("image",), has_options=True))
    assert [row.text("image") for row in read_table(path, ("image",), encoding="latin-1")] == ["é"]
    wide = write(tmp_path, "w.csv", "image\né\n".encode("utf-16"))
    assert [row.text("image") for row in read_table(wide, ("image",), encoding="utf-16")] == ["é"]
    for options, message in (
        ({"encoding": "klingon"}, "encoding 'klingon' is unknown; use one such as utf-8"),
        ({"encoding": "base64"}, "encoding 'base64' is unknown"),  # of Python's codecs, but none of text
        ({"encoding": "rot13"}, "encoding 'rot13' is unknown"),
        ({"encoding": "a\0"}, "encoding .* is unknown"),
        ({"delimiter": ";;"}, "delimiter ';;' is not one character"),
    ):
        with pytest.raises(ArtQuantError, match=message):
            next(read_table(path, ("image",), **options))


@pytest.mark.parametrize(
    "cell",
    [
        "1_0", "0x1", "0b1", "0x1p3", "4,5", "", "nan", "inf", "-Infinity", "1e999", "1e400", "１", "٤", "4٫5", "²",
        "½", "1 0", "1 000", "--1", "1e", "1d3", None, True, [1], {"a": 1}, 10**400, math.nan, math.inf,
        Decimal("NaN"), Decimal("sNaN"), b"1",
    ],
)  # fmt: skip
def test_what_people_do_not_mean_by_a_number_is_none(cell):
    assert parse_number(cell) is None


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1", 1), ("-.5", -0.5), ("+1.", 1), (" 1e-2 ", 0.01), (3, 3), (2.5, 2.5), (Decimal("4.25"), 4.25)],
)
def test_numbers_are_read(cell, value):
    assert parse_number(cell) == value


def test_a_number_outside_its_range_is_named(tmp_path):
    (row,) = read_table(write(tmp_path, "t.jsonl", json.dumps({"score": 11})), ("score",))
    with pytest.raises(ArtQuantError, match=r"t.jsonl:1: score 11 is outside \[0, 10\]; mend it"):
        row.number("score", 0, 10, "mend it")


def test_locations_with_a_scheme_are_read(tmp_path):
    import fsspec

    fsspec.filesystem("memory").pipe_file("/tables/t.csv", b"image\na.jpg\n")
    assert [row.text("image") for row in read_table("memory://tables/t.csv", ("image",))] == ["a.jpg"]


def test_a_comma_is_a_decimal_sign_between_semicolons(tmp_path):
    path = write(tmp_path, "t.csv", 'image;score;n\n"a, b.jpg";4,5;1\nc.jpg;-,25;2\nd.jpg;1,5e-1;3\ne.jpg;7;4\n')
    rows = list(read_table(path, ("image", "score", "n")))
    assert [row.number("score", -1, 10, "") for row in rows] == [4.5, -0.25, 0.15, 7]
    assert rows[0].text("image") == "a, b.jpg"
    assert [row.parsed("image") for row in rows] == [None] * 4
    (row,) = read_table(write(tmp_path, "s.csv", "sep=;\nimage;score\na.jpg;4,5\n"), ("image", "score"))
    assert row.parsed("score") == 4.5


def test_a_comma_is_a_decimal_sign_between_tabs(tmp_path):
    """Excel's "Text (Tab delimited)" has decimal commas where the machine writes numbers so."""
    path = write(tmp_path, "t.tsv", "image\tscore\na, b.jpg\t4,5\nc.jpg\t1.5\n")
    one, two = read_table(path, ("image", "score"))
    assert (one.text("image"), one.parsed("score")) == ("a, b.jpg", 4.5)
    with pytest.raises(ArtQuantError, match="t.tsv:3: score '1.5' has a decimal point, that of .*t.tsv:2 a decimal"):
        two.parsed("score")


@pytest.mark.parametrize(("first", "second"), [("1,5", "1.234"), ("4.5", "1,234")])
def test_commas_and_points_in_one_column_are_refused(first, second, tmp_path):
    path = write(tmp_path, "t.csv", f"image;score\na;{first}\nb;3\nc;{second}\n")
    one, two, three = read_table(path, ("image", "score"))
    assert one.parsed("score") == float(first.replace(",", ".")) and two.parsed("score") == 3
    with pytest.raises(
        ArtQuantError, match=f"t.csv:4: score '{second}' has a decimal .*, that of .*t.csv:2 a decimal"
    ):
        three.parsed("score")


def test_commas_are_no_decimal_signs_elsewhere(tmp_path):
    for text in ('image,score\na,"4,5"\n', "image score\na 4,5\n"):
        (row,) = read_table(write(tmp_path, "c.csv", text), ("image", "score"))
        assert row.parsed("score") is None
    (row,) = read_table(write(tmp_path, "s.csv", "image;score\na;1.234,5\n"), ("image", "score"))
    assert row.parsed("score") is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "t.csv",
            "image,score\na,1\n".encode("utf-16"),
            "t.csv:1: the line is not UTF-8 .it has NUL bytes, as UTF-16",
        ),
        ("t.csv", "image,score\na,1\n".encode("utf-16-le"), "t.csv:1: .*UTF-16 has"),
        ("t.csv", "image,score\na,1\n".encode("utf-32"), "t.csv:1: .*NUL bytes"),
        ("t.csv", b"image,score\n" + b"a.jpg,1\n" * 200 + b"b\0.jpg,2\n", "t.csv:202: the line holds a NUL byte"),
        ("t.csv", b"\x1f\x8b\x08\0abc", "t.csv' is compressed .gzip., not a text table; unpack it"),
        ("t.json", '[{"image": 1}]'.encode("utf-16"), "t.json:1: .*UTF-16 has"),
        ("t.jsonl", '{"image": 1}\n'.encode("utf-16-be"), "t.jsonl:1: .*UTF-16 has"),
        ("t.csv", b"image,score\na.jpg,1\n\x93b\x94.jpg,1\n", r"t.csv:3: the line is not UTF-8 .byte 0x93."),  # cp1252
    ],
)
def test_bytes_that_are_no_text_are_named(name, content, message, tmp_path):
    with pytest.raises(ArtQuantError, match=message):
        list(read_table(write(tmp_path, name, content), ("image",)))


def test_utf_16_without_its_mark_is_one_line(tmp_path):
    path = write(tmp_path, "t.csv", "image\né\n".encode("utf-16-le"))
    with pytest.raises(ArtQuantError, match="t.csv:1: the line is not utf-16"):
        list(read_table(path, ("image",), encoding="utf-16"))
    assert [row.text("image") for row in read_table(path, ("image",), encoding="utf-16-le")] == ["é"]


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(ArtQuantError, match="t.csv' is a pipe or a device, not a file; write it to a file first"):
        next(read_table(str(tmp_path / "t.csv"), ()))


def test_parquet_cells_of_other_types(tmp_path):
    table = pyarrow.table(
        {
            "image": pyarrow.array([b"a.jpg", b"\xff"], pyarrow.binary()),
            "score": pyarrow.array([Decimal("4.25"), None], pyarrow.decimal128(5, 2)),
        }
    )
    first, second = read_table(write(tmp_path, "t.parquet", parquet_bytes(table)), ("image", "score"))
    assert (first.text("image"), first.number("score", 0, 10, "")) == ("a.jpg", 4.25)
    with pytest.raises(ArtQuantError, match="t.parquet, row 2: image holds bytes that are no UTF-8"):
        second.text("image")
    broken = pyarrow.Array.from_buffers(
        pyarrow.string(), 1, [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0"), pyarrow.py_buffer(b"\xff")]
    )
    with pytest.raises(ArtQuantError, match="x.parquet, row 1: text that is no UTF-8"):
        list(read_table(write(tmp_path, "x.parquet", parquet_bytes(pyarrow.table({"image": broken}))), ("image",)))


@pytest.mark.parametrize("cut", [4, 60, 200])
def test_a_damaged_parquet_file_is_one_line(cut, tmp_path):
    content = bytearray(parquet_bytes(pyarrow.table({"image": [f"{i}.jpg" for i in range(500)]})))
    content[cut : cut + 40] = bytes(40)
    with pytest.raises(ArtQuantError, match="t.parquet"):
        list(read_table(write(tmp_path, "t.parquet", bytes(content)), ("image",)))


def test_a_file_that_is_no_text_is_not_called_utf16(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0H\0H\0\0" + bytes(range(1, 200)))
    with pytest.raises(ArtQuantError, match="is no text: it holds NUL bytes; name a table"):
        list(read_table(str(path), ["image"]))
    path.write_bytes("image,score\na.jpg,1\n".encode("utf-16-be"))  # without a mark
    with pytest.raises(ArtQuantError, match="as UTF-16 has"):
        list(read_table(str(path), ["image"]))


def test_an_empty_table_is_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.touch()
    with pytest.raises(ArtQuantError, match="it is empty; write it again, or name another file$"):
        list(read_table(str(path), ["image"]))


@pytest.mark.parametrize("cell", ["1_0", "nan", "abc", "5%"])
def test_what_is_no_number_is_not_mended_by_another_range(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(f"score\n{cell}\n11\n")
    word, number = read_table(str(path), ["score"])
    with pytest.raises(ArtQuantError, match="is no number; mend the score$"):
        word.number("score", 0, 10, "mend the score", range_remedy="pass another --score-range")
    with pytest.raises(ArtQuantError, match=r"is outside \[0, 10\]; pass another --score-range$"):
        number.number("score", 0, 10, "mend the score", range_remedy="pass another --score-range")
