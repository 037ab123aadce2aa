"""`artquant compare` and `artquant report` as users meet them."""

import csv
import io
import json
import re

import numpy as np
import pytest

from artquant_plugin.cli import main
from tests.paths import shared
from tests.report.results import write_csv, write_samples

N = 80


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    truths = {f"p{i:02}": round(float(t), 3) for i, t in enumerate(rng.uniform(2, 8, N))}
    for model, noise in (("good", 0.3), ("poor", 3.0)):
        predictions = {name: float(np.clip(t + noise * rng.normal(), 0, 10)) for name, t in truths.items()}
        write_samples(tmp_path / "results" / model, "baid", predictions, truths)
    write_csv(tmp_path / "SAAN.csv", [(f"{name}.jpg", 5.0 + 0.1 * t) for name, t in list(truths.items())[3:]])
    return tmp_path


def test_compare_says_which_is_better_and_how_sure_that_is(results, capsys):
    assert main(["compare", "results/good", "poor model=results/poor", "--task", "baid"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "baid: A = good, B = poor model"
    assert lines[1] == "images  80 scored by both"
    assert (
        re.fullmatch(
            r"SROCC   A 0\.9\d{3}  B 0\.\d{4}  A - B \+0\.\d{4} \[\+0\.\d{4}, \+0\.\d{4}\]  p <0\.001  different",
            lines[2],
        )
        or "p 0.001  different" in lines[2]
    )
    assert lines[4] == "        paired bootstrap, 2,000 resamples, 95 % intervals"
    assert lines[5].startswith("check   PLCC: Steiger's Z ")


def test_compare_takes_a_prediction_file_and_counts_what_it_lacks(results, capsys):
    assert main(["compare", "results/good", "SAAN.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["images  77 scored by both", "        3 scored by good alone, left out"]


def test_compare_corrects_over_all_pairs(results, capsys):
    assert main(["compare", "results", "SAAN.csv", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["model_a"], row["model_b"]) for row in rows] == [("good", "poor"), ("good", "SAAN"), ("poor", "SAAN")]
    assert main(["compare", "results", "SAAN.csv"]) == 0
    assert "p (Holm, 3 pairs)" in capsys.readouterr().out


def test_comparisons_are_the_same_every_time(results, capsys):
    outputs = []
    for arguments in (["results/good", "results/poor"], ["results/good", "results/poor", "--seed", "0"]):
        assert main(["compare", *arguments]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]


def test_a_real_peer_against_itself_on_baid(capsys, tmp_path, monkeypatch):
    """SAAN's predictions, and the same with noise, against BAID's real test split."""
    saan, truth = shared("data/baid/saan_test_predictions.csv"), shared("data/baid/test_set.csv")
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path))
    rng = np.random.default_rng(0)
    rows = list(csv.DictReader(saan.open()))
    noisy = write_csv(
        tmp_path / "n.csv", [(row["image"], float(row["prediction"]) + rng.normal(0, 0.5)) for row in rows]
    )
    arguments = [f"SAAN={saan}", f"noisy={noisy}", "--task", "baid", "--truth", str(truth)]
    assert main(["compare", *arguments]) == 0
    text = capsys.readouterr().out
    assert "images  6,399 scored by both" in text
    assert "SROCC   A 0.4722" in text and "PLCC    A 0.4670" in text
    assert text.count("  different") == 2


def test_report_prints_tables_in_every_format(results, capsys):
    assert main(["report", "results", "SAAN.csv"]) == 0
    text = capsys.readouterr().out
    assert "baid: measured and published results" in text
    assert re.search(r"^SAAN +77 +3 \(3 not predicted\) .* 0\.473 \* +0\.467 \*$", text, re.MULTILINE)
    assert re.search(r"^ArtQuant +- .* 0\.543 +0\.589$", text, re.MULTILINE)
    assert main(["report", "results", "--format", "latex"]) == 0
    assert r"\begin{tabular}" in capsys.readouterr().out
    assert main(["report", "results", "--format", "csv"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[0][0] == "model" and rows[1][0] == "good"
    assert main(["report", "results", "--format", "markdown"]) == 0
    assert "| model |" in capsys.readouterr().out


def test_json_of_a_report_is_one_list_and_a_table_can_be_chosen(results, capsys):
    assert main(["report", "results", "--format", "json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert [table["name"] for table in tables] == ["leaderboard-baid", "pairs-baid", "bands-baid", "datasets"]
    first = tables[0]["rows"][0]
    assert first["srocc_low"] < first["srocc"] < first["srocc_high"]
    assert first["srocc"] != round(first["srocc"], 6)
    assert main(["report", "results", "--format", "csv", "--table", "pairs"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert (len(rows), rows[0]["model_a"], rows[0]["images"]) == (1, "good", "80")
    assert float(rows[0]["srocc_low"]) < float(rows[0]["srocc"]) < float(rows[0]["srocc_high"])


def test_columns_of_every_command_can_be_chosen(results, capsys):
    assert main(["report", "results", "--columns", "plcc,published_plcc,scored", "--table", "leaderboard"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split("  ")[0] == "model"
    assert re.search(r"^model +PLCC \[95 % interval\] +published PLCC +scored$", lines[1])
    assert re.search(r"^ArtQuant +- +0\.589 +-$", "\n".join(lines), re.MULTILINE)
    assert main(["compare", "results", "--columns", "srocc", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "model_a,model_b,srocc,srocc_low,srocc_high"
    assert main(["results", "results", "--columns", "model,srocc"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "task  model  SROCC [95 % interval]"


def test_report_writes_a_page(results, capsys):
    assert main(["report", "results", "SAAN.csv", "--out", "site", "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("baid: 3 models, 80 paintings, 0 pictures")
    assert lines[-1] == "site/index.html"
    assert (results / "site" / "baid.html").is_file()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["compare", "results/good"], "there is one model on baid, 'good'; name another one"),
        (["compare", "results/good", "nowhere"], "'nowhere' does not exist"),
        (["compare", "results/good", "results/poor", "--task", "vaps"], "holds no run of 'vaps'"),
        (
            ["compare", "results/good", "results/poor", "--resamples", "10"],
            "--resamples 10 is too few for the tests; pass 2000 or more",
        ),
        (
            ["compare", "results/good", "results/poor", "--seed", "-1"],
            "--seed -1 is negative; pass a whole number from 0",
        ),
        (["compare", "results/good", "SAAN.csv", "--image-column", "file"], "no column 'file'"),
        (["compare"], "the following arguments are required"),
        (["report", "results", "--format", "pdf"], "invalid choice: 'pdf'"),
        (["report", "results", "--table", "categories"], "no table 'categories' of these results; there are"),
        (
            ["report", "results", "--columns", "sroc"],
            "there is no column 'sroc'; did you mean 'srocc'? --columns takes",
        ),
        (["compare", "results", "--columns", "srocc,"], "'srocc,' is no list of names with commas between them"),
        (["results", "results", "--columns", "x"], "there is no column 'x'; --columns takes task, model, prompt, n, "),
        (["results", "results", "--task", "bait"], "no run of 'bait'; did you mean 'baid'? There are runs of baid"),
        (["report", "results", "--out", "SAAN.csv"], "'SAAN.csv' is a file; name a folder"),
        (["report", "results", "--out", "results"], "holds other things"),
        (["report", "results", "--workers", "0"], "'0' is not a whole number from 1"),
    ],
)
def test_wrong_usage_is_one_line_with_exit_code_2(args, message, results, capsys):
    try:
        code = main(args)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


def test_three_paintings_show_no_difference(results, capsys):
    truths = {name: float(place) for place, name in enumerate("abc")}
    for model, sign in (("up", 1), ("down", -1)):
        write_samples(results / "few" / model, "baid", {name: 5 + sign * t for name, t in truths.items()}, truths)
    assert main(["compare", "few"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "SROCC   A -1.0000  B 1.0000  A - B -2.0000  (too few)"
    assert lines[4] == "        3 images are too few for intervals and tests, which take 10 or more"
    for form in ("table", "markdown", "csv", "latex", "json"):
        assert main(["report", "few", "--format", form]) == 0
        printed = capsys.readouterr().out
        assert "0.002" not in printed
        assert ("(too few)" in printed) == (form not in ("csv", "json"))
    assert main(["report", "few", "--format", "json", "--table", "leaderboard"]) == 0
    (board,) = json.loads(capsys.readouterr().out)
    assert [(row["srocc"], row["srocc_low"]) for row in board["rows"][:2]] == [(1.0, None), (-1.0, None)]


def test_an_outlier_is_named_by_compare(results, capsys):
    write_csv(results / "out.csv", [("p05", 1e9), *((f"p{i:02}", 5 + i / 99) for i in range(N) if i != 5)])
    assert main(["compare", "results/good", "out.csv"]) == 0
    assert "out: PLCC and its interval rest on 'p05', whose prediction 1e+09 has 99 %" in capsys.readouterr().out


def test_a_dataset_in_rounding_errors_alone_is_no_traceback(results, capsys):
    write_csv(results / "near.csv", [(f"p{i:02}", 5 + i % 3 * 2.0**-50) for i in range(N)])
    assert main(["report", "near.csv", "results/good", "--out", "site", "--workers", "1"]) == 0
    assert "differ in their last digits alone" in (results / "site" / "baid.html").read_text()
