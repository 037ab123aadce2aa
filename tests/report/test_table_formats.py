import csv
import io
import json

import pytest

from artquant_plugin.report.table_formats import FORMATS, Table, as_csv, as_latex, as_markdown, as_text, latex_text

TABLE = Table(
    name="pairs-x",
    title="x: 50 % & more",
    header=("model", "SROCC A - B"),
    rows=[("a_b|c", "+0.100"), ('=cmd(), "q"', "-0.200")],
    notes=("A note.",),
)


def test_text_is_aligned():
    assert as_text(TABLE).splitlines() == [
        "x: 50 % & more",
        "model        SROCC A - B",
        "a_b|c        +0.100",
        '=cmd(), "q"  -0.200',
        "A note.",
    ]


def test_markdown_escapes_bars():
    lines = as_markdown(TABLE).splitlines()
    assert lines[0] == "**x: 50 % & more**"
    assert lines[2:5] == ["| model | SROCC A - B |", "| --- | --- |", "| a_b\\|c | +0.100 |"]
    assert lines[-1] == "A note."


def test_csv_is_read_back_and_names_are_no_formulas():
    rows = list(csv.reader(io.StringIO(as_csv(TABLE))))
    assert rows == [["model", "SROCC A - B"], ["a_b|c", "+0.100"], ['\'=cmd(), "q"', "-0.200"]]


def test_latex_takes_no_name_for_a_command():
    assert latex_text(r"50 % & \input{a_b} ~^ #1 $x$ <") == (
        r"50 \% \& \textbackslash{}input\{a\_b\} \textasciitilde{}\textasciicircum{} \#1 \$x\$ \textless{}"
    )
    text = as_latex(TABLE)
    assert r"\begin{tabular}{lr}" in text
    assert r"a\_b|c & +0.100 \\" in text
    assert r"\caption{x: 50 \% \& more}" in text


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_has_every_cell(form):
    text = FORMATS[form](TABLE)
    assert "+0.100" in text and "cmd()" in text
    if form == "json":
        assert json.loads(text)["rows"][0] == {"model": "a_b|c", "SROCC A - B": "+0.100"}


def test_a_models_name_in_a_csv_header_is_no_formula():
    table = Table(name="x", title="x", header=("category", "=cmd(): SROCC"), rows=[])
    assert list(csv.reader(io.StringIO(as_csv(table)))) == [["category", "'=cmd(): SROCC"]]
