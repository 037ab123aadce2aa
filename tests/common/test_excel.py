"""Workbooks of Excel as tables: one sheet, the types of its cells, and what is refused."""

import sys
import zipfile
from pathlib import Path

import openpyxl
import pytest

from artquant_plugin.common import excel
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import read_table, table_columns


def write(path: Path, *sheets: list[list[object]]) -> str:
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for number, rows in enumerate(sheets, start=1):
        sheet = workbook.create_sheet(f"S{number}")
        for row in rows:
            sheet.append(row)
    workbook.save(path)
    return str(path)


def test_the_rows_of_the_only_sheet_with_content(tmp_path: Path) -> None:
    rows = [["image", "mos", "notes"], [" a.jpg ", 4.5], [None, None], ["b.jpg", "3.5", "x"], ["c.jpg", "4,5 cm"]]
    location = write(tmp_path / "t.xlsx", [], rows, [])
    found = list(read_table(location, ["image", "mos"]))
    assert [row.place for row in found] == [f"{location}:2", f"{location}:4", f"{location}:5"]
    assert [row.values for row in found] == [
        {"image": "a.jpg", "mos": 4.5},
        {"image": "b.jpg", "mos": "3.5"},
        {"image": "c.jpg", "mos": "4,5 cm"},
    ]
    assert [row.parsed("mos") for row in found] == [4.5, 3.5, None]
    assert table_columns(location) == ["image", "mos", "notes"]


def test_a_comma_is_a_decimal_sign_in_the_texts_of_a_sheet(tmp_path: Path) -> None:
    """Excel keeps 4,5 as a text where it was typed or imported on a machine that writes numbers with a point."""
    location = write(tmp_path / "t.xlsx", [["image", "mos"], ["a.jpg", "4,5"], ["b.jpg", 3.25], ["c.jpg", "1.5"]])
    one, two, three = read_table(location, ["image", "mos"])
    assert (one.number("mos", 0, 10, ""), two.number("mos", 0, 10, "")) == (4.5, 3.25)
    with pytest.raises(ArtQuantError, match="t.xlsx:4: mos '1.5' has a decimal point, that of .*t.xlsx:2 a decimal"):
        three.parsed("mos")


def test_a_sheet_without_a_header_line(tmp_path: Path) -> None:
    location = write(tmp_path / "t.xlsx", [["a.jpg", 4.5], ["b.jpg", 3]])
    with pytest.raises(ArtQuantError, match="has no header line.*pass --no-header 1 2"):
        list(read_table(location, ["image", "score"], header_option="--no-header {image} {score}"))
    assert [row.values for row in read_table(location, ["1", "2"], header=False)] == [
        {"1": "a.jpg", "2": 4.5},
        {"1": "b.jpg", "2": 3},
    ]


def test_what_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = [["image", "score"], ["a.jpg", 1]]
    two = write(tmp_path / "two.xlsx", table, table)
    with pytest.raises(ArtQuantError, match="has 2 sheets that hold something, 'S1', 'S2'; save the one"):
        list(read_table(two, ["image"]))
    with pytest.raises(ArtQuantError, match="2 columns 'score'; rename all but one"):
        list(read_table(write(tmp_path / "twice.xlsx", [["image", "score", "score"], ["a", 1, 2]]), ["score"]))
    with pytest.raises(ArtQuantError, match="long.xlsx:2: 3 cells for 2 columns"):
        list(read_table(write(tmp_path / "long.xlsx", [["image", "score"], ["a", 1, 2]]), ["score"]))
    with pytest.raises(ArtQuantError, match="no column at all: it is empty"):
        list(read_table(write(tmp_path / "empty.xlsx", []), ["score"]))
    whole = Path(two).read_bytes()
    for name, content in (("cut", whole[:900]), ("text", b"image,score\n"), ("nothing", b"")):
        (tmp_path / f"{name}.xlsx").write_bytes(content)
        with pytest.raises(ArtQuantError, match=f"{name}.xlsx' is no whole workbook of Excel"):
            list(read_table(str(tmp_path / f"{name}.xlsx"), ["score"]))
    with zipfile.ZipFile(tmp_path / "other.xlsx", "w") as archive:
        archive.writestr("a.txt", "no workbook")
    with pytest.raises(ArtQuantError, match="other.xlsx' is no whole workbook of Excel"):
        list(read_table(str(tmp_path / "other.xlsx"), ["score"]))
    monkeypatch.setattr(excel, "UNPACKED_LIMIT", 1000)
    with pytest.raises(ArtQuantError, match="two.xlsx' unpacks to .* bytes, more than 1,000; save it as CSV"):
        list(read_table(two, ["image"]))
    monkeypatch.setitem(sys.modules, "openpyxl", None)  # as where it is not installed
    with pytest.raises(ArtQuantError, match=r"pip install 'artquant-plugin\[excel\]'"):
        list(read_table(two, ["image"]))
