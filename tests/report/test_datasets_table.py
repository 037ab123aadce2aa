"""The table of all datasets, laid out as Table 1 of the ArtQuant paper."""

import csv
import io
import json
import math

import pytest

from artquant_plugin.cli import main
from artquant_plugin.metrics.agreement import Agreement, Metric
from artquant_plugin.report.datasets_table import ModelResult, datasets_table
from artquant_plugin.report.table_cells import ranks
from artquant_plugin.report.table_formats import as_text
from tests.report.results import write_samples


def agreement(srocc, plcc, n=50):
    return Agreement(n, Metric(srocc, srocc - 0.1, srocc + 0.1), Metric(plcc), Metric(1.0), Metric(1.0))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 0.3, 0.2], [0, 1, 2]),
        ([0.3, 0.3001, 0.2, 0.1], [1, 1, 2, 0]),  # equal as they are printed
        ([-0.5, math.nan, -0.1], [2, 0, 1]),
        ([0.5, math.nan], [0, 0]),  # the best of one says nothing
        ([0.5, 0.5], [1, 1]),
        ([], []),
    ],
)
def test_the_best_and_the_second_best_are_found(values, expected):
    assert ranks(values) == expected


def test_models_are_rows_and_datasets_groups_of_columns():
    table = datasets_table(
        [
            ModelResult("vaps", "ours", agreement(0.62, 0.68)),
            ModelResult("apdd", "ours", agreement(0.87, 0.80)),
            ModelResult("apdd", "gpt-4o", agreement(0.53, 0.90)),
            ModelResult("apdd", "silent", None),
            ModelResult("vaps", "few", agreement(0.99, 0.99, n=9)),
        ]
    )
    assert as_text(table).splitlines() == [
        "SROCC and PLCC on all datasets",
        "        apdd              vaps",
        "model   SROCC    PLCC     SROCC            PLCC",
        "ours    *0.870*  _0.800_  0.620            0.680",
        "few     -        -        0.990 (too few)  0.990 (too few)",
        "gpt-4o  _0.530_  *0.900*  -                -",
        "silent  -        -        -                -",
        "The best figure of a column is bold and the second best underlined.",
        "vaps: each figure is over the paintings that its model scored, 9 to 50.",
        "vaps: figures of fewer than 10 paintings are not ranked.",
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two models on two datasets, and the second model's chain of thought on one; `sorted` ranks perfectly."""
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "none"))
    truths = {f"p{i:02}": float(i % 10) for i in range(40)}
    inverse = {name: 9 - score for name, score in truths.items()}
    for number, task in enumerate(("apdd", "vaps")):
        write_samples(tmp_path / "r" / "sorted", task, truths, truths, task=task, date=f"2026010{number}_000000")
    write_samples(tmp_path / "r" / "other", "apdd", inverse, truths, task="apdd", date="20260101_000000")
    write_samples(tmp_path / "r" / "other", "apdd", truths, truths, task="apdd_cot", date="20260102_000000")
    return str(tmp_path / "r")


def test_results_and_report_print_the_same_table(folder, capsys):
    printed = []
    for form in ("table", "csv", "markdown", "latex"):
        assert main(["results", folder, "--table", "datasets", "--format", form]) == 0
        printed.append(capsys.readouterr().out)
    assert main(["report", folder, "--table", "datasets", "--format", "csv"]) == 0
    assert capsys.readouterr().out == printed[1]
    assert printed[0].splitlines()[1:6] == [
        "             apdd                vaps",
        "model        SROCC     PLCC      SROCC  PLCC",
        "sorted       *1.000*   *1.000*   1.000  1.000",
        "other (cot)  *1.000*   *1.000*   -      -",
        "other        _-1.000_  _-1.000_  -      -",
    ]
    rows = list(csv.DictReader(io.StringIO(printed[1])))
    assert [row["apdd_srocc_rank"] for row in rows] == ["1", "1", "2"]
    assert [row["vaps_srocc"] for row in rows] == ["1.0", "", ""]
    assert r"\multicolumn{2}{c}{apdd} & \multicolumn{2}{c}{vaps}" in printed[3]
    assert r"other & \underline{$-$1.000} & \underline{$-$1.000} & -- & -- \\" in printed[3]
    assert "| other | <ins>-1.000</ins> | <ins>-1.000</ins> | - | - |" in printed[2]
    assert main(["results", folder, "--table", "datasets", "--format", "json", "--task", "apdd"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["rows"][0]["apdd_srocc"] == 1.0 and "vaps_srocc" not in content["rows"][0]


def test_a_report_of_several_datasets_begins_with_it(folder, capsys):
    assert main(["report", folder]) == 0
    assert capsys.readouterr().out.startswith("SROCC and PLCC on all datasets\n")
