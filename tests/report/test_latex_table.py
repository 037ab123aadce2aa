"""The width of LaTeX tables, measured with the metrics of LaTeX's own type, and with LaTeX where it is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import matplotlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artquant_plugin.metrics.agreement import Agreement, Metric
from artquant_plugin.metrics.pairwise_comparisons import Comparison, Difference
from artquant_plugin.report.board_tables import comparisons_table
from artquant_plugin.report.datasets_table import ModelResult, datasets_table
from artquant_plugin.report.latex_table import PAGE_WIDTH, SEPARATION, as_latex, text_width
from artquant_plugin.report.results_table import ResultRow, results_table
from artquant_plugin.report.table_cells import choose_columns

TEXT_WIDTHS = {"10pt": 345.0, "11pt": 360.0, "12pt": 390.0}  # of the class article, by the size of its type
SIZES = {"": 10, r"\small": 9, r"\footnotesize": 8}  # points, where the document has 10
# Thousandths of the type's size that a figure takes in cmr10, cmr9 and cmr8 (the fonts' own tables of widths).
FIGURE = {"": 500, r"\small": 513.9, r"\footnotesize": 531.3}

AGREEMENT = Agreement(6400, *[Metric(0.8667268, 0.8380123, 0.8898765)] * 4)
NAMES = [
    "demo",
    "gpt-4o-2024-08-06",
    "Qwen/Qwen2.5-VL-7B-Instruct",
    "runs/apdd_human_comments_seed_17/checkpoint-123456 (cot)",
    "a" * 90,
]
TASKS = ["apdd", "artquant_demo_levels"]


def results(count=None):
    return results_table([ResultRow(task, name, {}, 0, AGREEMENT) for task in TASKS for name in NAMES[:count]])


def datasets(count):
    names = ["apdd", "baid", "vaps", "my_paintings_of_the_nineteenth_century", *(f"more{i}" for i in range(9))]
    return datasets_table([ModelResult(name, model, AGREEMENT) for name in names[:count] for model in NAMES[:4]])


def pairs():
    own = Difference(0.8, 0.7, -0.1078, -0.1229, -0.0921, 0.0004, 0.0004)
    comparison = Comparison(NAMES[2], NAMES[3], 6399, 1, 0, own, own, -12.51, 0.0001, (-0.1, -0.2), 2000)
    return comparisons_table("baid", [comparison])


def blocks(latex):
    """For each tabular its specification and the lines of cells between its rules."""
    for spec, body in re.findall(r"\\begin\{tabular\}\{@\{\}(.*?)@\{\}\}\n(.*?)\\end\{tabular\}", latex, re.DOTALL):
        yield re.findall(r"l|r|p\{[\d.]+pt\}", spec), [line for line in body.splitlines() if line.endswith(r"\\")]


def plain(cell):
    cell = cell.strip().removeprefix("{}")
    for before, after in ((r"\allowbreak{}", ""), (r"\_", "_"), (r"\%", "%"), ("$-$", "−"), ("--", "–")):
        cell = cell.replace(before, after)
    cell = cell.replace(r"\textless{}", "<")
    return re.sub(r"\\(?:textbf|underline|raggedright) ?\{?|\\par|[{}]", "", cell)


def width(latex):
    """The widest tabular in points in a document of 10 pt, with a factor for what is bold or set in smaller type."""
    size = next((line for line in latex.splitlines() if line in SIZES), "")
    scale = SIZES[size] / 10 * FIGURE[size] / FIGURE[""]
    widest = 0.0
    for columns, lines in blocks(latex):
        total = 2 * SEPARATION * (len(columns) - 1)
        rows = [re.split(r" & ", line.removesuffix(r" \\")) for line in lines]
        rows = [row for row in rows if len(row) == len(columns) and not any("multicolumn" in cell for cell in row)]
        for place, shape in enumerate(columns):
            if shape.startswith("p"):
                total += float(shape[2:-3])
                continue
            total += (
                max(text_width(plain(row[place])) * (1.15 if "textbf" in row[place] else 1) for row in rows) * scale
            )
        widest = max(widest, total)
    return widest


def test_letters_are_as_wide_as_in_computer_modern():
    metrics = Path(matplotlib.get_data_path(), "fonts", "afm", "cmr10.afm").read_text()
    widths = {int(code): float(found) for code, found in re.findall(r"^C (\d+) ; WX ([\d.]+)", metrics, re.MULTILINE)}
    for sign in map(chr, range(33, 127)):
        if sign not in r'"<>\_{|}^~`':  # which stand elsewhere in TeX's order of letters
            assert text_width(sign) * 100 == pytest.approx(widths[ord(sign)], abs=0.6), sign


@pytest.mark.parametrize(
    "table",
    [results(1), results(3), results(), datasets(1), datasets(3), datasets(4), datasets(13), pairs()],
    ids=["one", "three", "long-names", "1", "3", "4", "13", "pairs"],
)
def test_tables_fit_a_page(table):
    latex = as_latex(table)
    assert 0 < width(latex) <= PAGE_WIDTH + 0.5
    (every,) = choose_columns([table], [column.name for column in table.columns])
    assert 0 < width(as_latex(every)) <= PAGE_WIDTH + 0.5
    assert "resizebox" not in latex


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("abcdeWm0123-_/. ", min_size=1, max_size=60).filter(str.strip), min_size=1, max_size=4))
def test_tables_fit_a_page_whatever_the_models_are_called(names):
    found = [ModelResult(name, model, AGREEMENT) for name in ("apdd", "baid") for model in dict.fromkeys(names)]
    assert width(as_latex(datasets_table(found))) <= PAGE_WIDTH + 0.5


def test_a_page_of_larger_type_has_room_for_the_larger_table():
    # Letters grow at most in proportion to the type, and the space between columns stays.
    for size, text in TEXT_WIDTHS.items():
        assert PAGE_WIDTH * int(size[:2]) / 10 * (11.75 / 12 if size == "12pt" else 1) <= text


def test_many_datasets_continue_below_with_the_models_repeated():
    found = list(blocks(as_latex(datasets(13))))
    assert len(found) > 1
    columns = [len(spec) - 1 for spec, _ in found]
    assert sum(columns) == 26 and all(count % 2 == 0 for count in columns)  # SROCC and PLCC stay together
    for _, lines in found:
        assert len(lines) == 2 + 4


def test_long_names_may_be_broken_and_short_ones_are_not():
    latex = as_latex(results())
    assert (
        r"{\raggedright Qwen/\allowbreak{}Qwen2.5-\allowbreak{}VL-\allowbreak{}7B-\allowbreak{}Instruct\par}" in latex
    )
    assert re.search(r"& demo & ", latex)


@pytest.mark.skipif(not (shutil.which("pdflatex") or shutil.which("tectonic")), reason="no LaTeX is installed")
@pytest.mark.parametrize("size", TEXT_WIDTHS)
def test_latex_finds_no_overfull_box(size, tmp_path):
    tables = [as_latex(table) for table in (results(4), datasets(3), datasets(13), pairs())]
    head = rf"\documentclass[{size}]{{article}}\usepackage{{booktabs}}\begin{{document}}"
    (tmp_path / "t.tex").write_text("\n".join([head, *tables, r"\end{document}"]))
    program = ["pdflatex", "-interaction=nonstopmode"] if shutil.which("pdflatex") else ["tectonic", "--keep-logs"]
    done = subprocess.run([*program, "t.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in (tmp_path / "t.log").read_text()
