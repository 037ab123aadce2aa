import csv
import io
import json
import math
import re
from dataclasses import replace

import pytest

from artquant_plugin.cli.table_options import FORMATS as CHOICES
from artquant_plugin.report.latex_table import as_latex, latex_text
from artquant_plugin.report.table_cells import BEST, P_VALUE, SECOND, Column, Count, Figure, Table, choose_columns
from artquant_plugin.report.table_formats import FORMATS, as_csv, as_json, as_markdown, as_text, in_format

MODEL = Column("model", "model", words=True, label=True)
TABLE = Table(
    name="pairs-x",
    title="x: 50 % & more",
    columns=(MODEL, Column("srocc", "SROCC A - B", form="+.3f")),
    rows=[("a_b|c", Figure(0.1)), ('=cmd(), "q"', Figure(-0.2))],
    notes=("A note.",),
)
TYPED = Table(
    name="typed",
    title="",
    columns=(
        MODEL,
        Column("failed", "failed", reasons=True),
        Column("srocc", "SROCC", group="baid", bounds="shown", ranked=True),
        Column("p", "p", form=P_VALUE),
        Column("zou", "Zou", form="+.2f", bounds="only"),
    ),
    rows=[
        ("m", Count({"empty": 2, "refusal": 1}), Figure(1 / 3, 0.25, 0.5, rank=BEST), Figure(0.0001), None),
        ("k", Count({}), Figure(0.2, mark="(too few)", rank=SECOND), Figure(math.nan), Figure(math.nan, -0.125, 0.25)),
        ("-1+1", Count({}), None, None, None),
    ],
    caption="What it shows",
)


def test_text_is_aligned():
    assert as_text(TABLE).splitlines() == [
        "x: 50 % & more",
        "model        SROCC A - B",
        "a_b|c        +0.100",
        '=cmd(), "q"  -0.200',
        "A note.",
    ]


def test_text_has_groups_reasons_ranks_and_intervals():
    assert as_text(TYPED).splitlines() == [
        "                               baid",
        "model  failed                  SROCC                   p       Zou",
        "m      3 (2 empty, 1 refusal)  *0.333 [0.250, 0.500]*  <0.001  -",
        "k      0                       _0.200 (too few)_       -       [-0.12, +0.25]",
        "-1+1   0                       -                       -       -",
    ]


def test_markdown_escapes_bars():
    lines = as_markdown(TABLE).splitlines()
    assert lines[0] == "**x: 50 % & more**"
    assert lines[2:5] == ["| model | SROCC A - B |", "| --- | --- |", "| a_b\\|c | +0.100 |"]
    assert lines[-1] == "A note."


def test_markdown_marks_the_best_and_the_second_best():
    lines = as_markdown(TYPED).splitlines()
    assert lines[0] == "| model | failed | baid: SROCC | p | Zou |"
    assert "| **0.333 [0.250, 0.500]** |" in lines[2] and "| <ins>0.200 (too few)</ins> |" in lines[3]


def test_csv_is_read_back_and_names_are_no_formulas():
    rows = list(csv.reader(io.StringIO(as_csv(TABLE))))
    assert rows == [["model", "srocc"], ["a_b|c", "0.1"], ['\'=cmd(), "q"', "-0.2"]]


def test_csv_and_json_have_full_precision_and_the_ends_of_intervals():
    keys = "model failed failed_reasons baid_srocc baid_srocc_low baid_srocc_high baid_srocc_rank p zou_low zou_high"
    first, second, third = csv.DictReader(io.StringIO(as_csv(TYPED)))
    assert list(first) == keys.split()
    assert float(first["baid_srocc"]) == 1 / 3 and float(first["p"]) == 0.0001
    assert (first["failed"], first["failed_reasons"], first["baid_srocc_rank"]) == ("3", "2 empty, 1 refusal", "1")
    assert (second["baid_srocc_low"], second["p"], second["zou_low"]) == ("", "", "-0.125")
    assert third["model"] == "'-1+1"  # a name, and no formula
    content = json.loads(as_json(TYPED))
    assert (content["name"], content["title"], content["notes"]) == ("typed", "What it shows", [])
    assert content["rows"][0] == {
        "model": "m",
        "failed": 3,
        "failed_reasons": {"empty": 2, "refusal": 1},
        "baid_srocc": 1 / 3,
        "baid_srocc_low": 0.25,
        "baid_srocc_high": 0.5,
        "baid_srocc_rank": 1,
        "p": 0.0001,
        "zou_low": None,
        "zou_high": None,
    }
    assert content["rows"][1]["p"] is None


def test_several_tables_are_one_json_list():
    assert [table["name"] for table in json.loads(in_format([TABLE, TYPED], "json"))] == ["pairs-x", "typed"]
    assert in_format([TABLE, TABLE], "csv") == as_csv(TABLE) + "\n\n" + as_csv(TABLE)


def test_columns_are_chosen_by_name_with_and_without_their_group():
    first = [Column("srocc", "SROCC", group=name, narrow=False) for name in ("baid", "vaps")]
    other = [Column("plcc", "PLCC", group=name) for name in ("baid", "vaps")]
    columns = (MODEL, first[0], other[0], first[1], other[1])
    table = Table("t", "t", columns, [("m", *map(Figure, (0.1, 0.2, 0.3, 0.4))), ("k", *[None] * 3, Figure(0.5))])
    for wanted, keys in (
        (["srocc"], ["model", "baid_srocc", "vaps_srocc"]),
        (["plcc", "srocc"], ["model", "baid_plcc", "baid_srocc", "vaps_plcc", "vaps_srocc"]),
        (["vaps_plcc", "model"], ["vaps_plcc", "model"]),
    ):
        (chosen,) = choose_columns([table], wanted)
        assert [column.key for column in chosen.columns] == keys
        assert all(column.narrow for column in chosen.columns)
    (chosen,) = choose_columns([table, TABLE], ["baid_plcc"])
    assert chosen.rows == [("m", Figure(0.2))]  # 'k' has nothing there


def test_notes_of_a_column_go_with_it():
    table = replace(TABLE, columns=(MODEL, replace(TABLE.columns[1], notes=("Of SROCC.",)), Column("n", "n")))
    table = replace(table, rows=[("a", Figure(0.1), 3)])
    assert as_text(table).splitlines()[-2:] == ["A note.", "Of SROCC."]
    (chosen,) = choose_columns([table], ["n"])
    assert as_text(chosen).splitlines()[-2:] == ["a      3", "A note."]


def test_latex_takes_no_name_for_a_command():
    assert latex_text(r"50 % & \input{a_b} ~^ #1 $x$ <") == (
        r"50 \% \& \textbackslash{}input\{a\_b\} \textasciitilde{}\textasciicircum{} \#1 \$x\$ \textless{}"
    )
    text = as_latex(TABLE)
    assert r"\begin{tabular}{@{}lr@{}}" in text
    assert r"a\_b|c & +0.100 \\" in text
    assert r"\caption{x: 50 \% \& more}" in text


def test_latex_marks_the_best_figure_and_sets_a_minus():
    text = as_latex(TYPED)
    assert r"\multicolumn{1}{c}{baid}" in text and r"\cmidrule(lr){3-3}" in text
    assert r"m & 3 & \textbf{0.333 [0.250, 0.500]} & \textless{}0.001 & -- \\" in text
    assert r"k & 0 & \underline{0.200 (too few)} & -- & [$-$0.12, +0.25] \\" in text
    assert r"\caption{What it shows}" in text


def test_the_commands_offer_the_formats_that_are_there():
    assert tuple(FORMATS) == CHOICES


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_has_every_cell(form):
    text = FORMATS[form](TABLE)
    assert ("0.1" if form in ("csv", "json") else "+0.100") in text and "cmd()" in text
    if form == "json":
        assert json.loads(text)["rows"][0] == {"model": "a_b|c", "srocc": 0.1}


def test_a_models_name_in_a_csv_header_is_no_formula():
    columns = (Column("category", "category", words=True, label=True), Column("srocc", "SROCC", group="=cmd()"))
    table = Table(name="x", title="x", columns=columns, rows=[])
    assert list(csv.reader(io.StringIO(as_csv(table)))) == [["category", "'=cmd()_srocc"]]


HOSTILE = "\x1b[2J\u202e\x9b31m<img src=x onerror=alert(1)>![a](http://x/p.png)\\\\input{/etc/passwd}\ud83d"


@pytest.mark.parametrize("form", FORMATS)
def test_a_hostile_name_controls_nothing_and_can_be_printed(form):
    columns = (
        Column(HOSTILE, HOSTILE, words=True, label=True, notes=(HOSTILE,)),
        Column("n", HOSTILE, group=HOSTILE),
    )
    rows = [(HOSTILE, 1), (HOSTILE, Count({HOSTILE: 2}))]
    table = Table(name=f"pairs-{HOSTILE}", title=HOSTILE, columns=columns, rows=rows, notes=(HOSTILE,))
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
    columns = (Column("model", "[model", words=True, label=True), Column("n", "n"))
    table = Table(name="x", title="x", columns=columns, rows=[("[2pt]", 1), ("*", 2)])
    lines = as_latex(table).splitlines()
    assert [line for line in lines if "&" in line] == [r"{}[model & n \\", r"{}[2pt] & 1 \\", r"{}* & 2 \\"]
