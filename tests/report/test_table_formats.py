import csv
import io
import json
import re

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


HOSTILE = "\x1b[2J\u202e\x9b31m<img src=x onerror=alert(1)>![a](http://x/p.png)\\\\input{/etc/passwd}\ud83d"


@pytest.mark.parametrize("form", FORMATS)
def test_a_hostile_name_controls_nothing_and_can_be_printed(form):
    table = Table(
        name=f"pairs-{HOSTILE}", title=HOSTILE, header=(HOSTILE, "n"), rows=[(HOSTILE, "1")], notes=(HOSTILE,)
    )
    text = FORMATS[form](table)
    text.encode()
    assert not set(text) & set("\x1b\x9b\u202e")
    if form == "json":
        assert json.loads(text)["title"] == HOSTILE
    if form == "markdown":
        assert "<img" not in text and "](http" not in text
    if form == "latex":
        assert "\\input" not in text and "\\label{tab:pairs-" in text
        assert re.search(r"\\label\{tab:[\w:.-]+\}", text)


def test_a_row_of_latex_is_no_argument_of_the_command_before_it():
    table = Table(name="x", title="x", header=("[model", "n"), rows=[("[2pt]", "1"), ("*", "2")])
    lines = as_latex(table).splitlines()
    assert [line for line in lines if "&" in line] == [r"{}[model & n \\", r"{}[2pt] & 1 \\", r"{}* & 2 \\"]
