"""The command line as users meet it: help, output, and errors of one line with exit code 2."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from artquant_plugin.cli import build_parser, main
from artquant_plugin.data.dataset import Painting, write_dataset
from tests.paths import shared


def commands(parser, path=()):
    """Every command and sub-command."""
    yield path
    for action in parser._actions:
        if isinstance(action.choices, dict):  # of an option they are a tuple of values
            for name, sub in action.choices.items():
                yield from commands(sub, (*path, name))


@pytest.mark.parametrize("path", list(commands(build_parser())), ids=" ".join)
def test_every_command_has_help(path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*path, "--help"])
    assert stopped.value.code == 0
    assert "usage: artquant" in capsys.readouterr().out


def fails(capsys, *args: str) -> str:
    try:
        code = main(args)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("artquant")
    assert "error: " in error
    assert "\n" not in error
    return error


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "the following arguments are required"),
        (("paint",), "invalid choice: 'paint'"),
        (("data", "demo", "--seed", "-1"), "'-1' is not a whole number"),
        (("data", "demo", "--workers", "0"), "'0' is not a whole number from 1"),
        (("data", "import", "baid", "--annotations", "x", "--images", "y"), "'x' is no folder"),
        (("data", "show", "nothing"), "dataset 'nothing' is not in"),
        (("train", "nothing.yaml"), "no configuration 'nothing.yaml'"),
        (("train", "demo.yaml", "--set", "train.lr=1"), "unknown key 'train.lr'"),
        (("metrics", "nothing.csv", "--truth", "baid"), "dataset 'baid' is not in"),
        (("metrics", "nothing.csv", "--truth", "t.csv", "--resamples", "-1"), "must not be negative"),
        (("metrics", "nothing.csv", "--truth", "truth.csv"), "'truth.csv' does not exist; name a CSV file"),
        (("results", "nowhere"), "'nowhere' does not exist; name the folder"),
    ],
)
def test_errors_are_one_line_with_exit_code_2(args, message, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_dataset(  # of the demo's configuration, whose data is looked for before its other keys are read
        tmp_path / "artquant_demo",
        name="artquant_demo",
        score_range=(0, 10),
        splits={"train": [Painting("a", "a.png", "", 5.0)]},
        image_root=".",
        source="",
        license="",
    )
    assert message in fails(capsys, *args)


@pytest.mark.parametrize(
    "args",
    [
        ("data", "demo", "--out", "file/demo", "--train", "1", "--validation", "1", "--test", "1"),
        ("metrics", "p.csv", "--truth", "p.csv", "--prediction-column", "score", "--plot", "file/plot.png"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line(args, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "p.csv").write_text("image,score\na,1\nb,2\n")
    error = fails(capsys, *args)
    assert "'file" in error
    assert error.endswith("; mend the path")


def test_an_error_of_three_hundred_digits_is_printed_short(capsys, tmp_path):
    (tmp_path / "p.csv").write_text("image,score\na,1e300\nb,3e300\nc,2e300\n")
    (tmp_path / "t.csv").write_text("image,score\na,1\nb,2\nc,3\n")
    files = str(tmp_path / "p.csv"), "--truth", str(tmp_path / "t.csv")
    assert main(["metrics", *files, "--prediction-column", "score", "--resamples", "0"]) == 0
    assert "MAE    2.0000e+300" in capsys.readouterr().out


@pytest.fixture
def table(tmp_path) -> Path:
    (tmp_path / "pictures").mkdir()
    for index, name in enumerate("abcdefghij"):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / "pictures" / f"{name}.png")
    path = tmp_path / "scores.csv"
    path.write_text("image,score\n" + "".join(f"{name}.png,{i}\n" for i, name in enumerate("abcdefghij")))
    return path


def import_table(table: Path, *options: str) -> int:
    images = str(table.parent / "pictures")
    options = ("--name", "mine", "--score-range", "0", "10", *options)
    return main(["data", "import", "csv", "--annotations", str(table), "--images", images, *options])


def test_import_prints_the_splits_and_show_repeats_them(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "home"))
    assert import_table(table) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^train +8 ", printed, re.MULTILINE)
    assert re.search(r"^test +2 ", printed, re.MULTILINE)
    assert main(["data", "show", "mine"]) == 0
    shown = capsys.readouterr().out
    assert shown in printed


def test_import_of_missing_images_needs_the_users_word(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "home"))
    (tmp_path / "pictures" / "a.png").unlink()
    assert import_table(table) == 2
    assert "pass --allow-missing" in capsys.readouterr().err
    assert import_table(table, "--allow-missing") == 0
    assert "1 missing" in capsys.readouterr().out


@pytest.fixture
def predictions(tmp_path) -> tuple[str, str]:
    (tmp_path / "p.csv").write_text("image,prediction\na,1\nb,3\nc,2\nx,1\n")
    (tmp_path / "t.csv").write_text("image,score\na,1\nb,2\nc,3\nd,4\n")
    return str(tmp_path / "p.csv"), str(tmp_path / "t.csv")


def test_metrics_print_counts_names_and_values(predictions, capsys):
    assert main(["metrics", predictions[0], "--truth", predictions[1], "--resamples", "0"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "n      3 of 4",
        "       1 without prediction: d",
        "       1 no human score: x",
        "SROCC  0.5000  (too few)",
        "PLCC   0.5000  (too few)",
        "MAE    0.6667  (too few)",
        "RMSE   0.8165  (too few)",
        "note   3 pairs are too few for intervals and tests, which take 10 or more",
    ]


def test_metrics_as_json_hold_every_name_and_no_nan(predictions, capsys, tmp_path):
    plot = tmp_path / "plot.png"
    arguments = ["metrics", predictions[0], "--truth", predictions[1], "--resamples", "0", "--json"]
    assert main([*arguments, "--plot", str(plot)]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["srocc"] == {"value": pytest.approx(0.5), "low": None, "high": None}
    assert (content["n"], content["n_truth"], content["missing"], content["unknown"]) == (3, 4, ["d"], ["x"])
    assert plot.is_file()


def test_warnings_are_one_line_each(predictions, capsys, tmp_path):
    (tmp_path / "p.csv").write_text("image,prediction\na,5\nb,5\nc,5\n")
    assert main(["metrics", predictions[0], "--truth", predictions[1]]) == 0
    captured = capsys.readouterr()
    assert "SROCC  nan" in captured.out
    assert captured.err.splitlines() == [
        "artquant: warning: SROCC is NaN: all 3 predictions equal 5",
        "artquant: warning: PLCC is NaN: all 3 predictions equal 5",
    ]


def test_metrics_of_a_real_peer_on_baid(capsys):
    predictions, truth = shared("data/baid/saan_test_predictions.csv"), shared("data/baid/test_set.csv")
    assert main(["metrics", str(predictions), "--truth", str(truth)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "n      6,399 of 6,400"
    assert "108747.jpg" in lines[1]
    assert lines[2].startswith("SROCC  0.4722  [")
    assert lines[3].startswith("PLCC   0.4670  [")


def write_run(folder: Path, task: str = "baid") -> Path:
    folder.mkdir()
    lines = [
        {"scored": {"id": name, "prediction": p, "reason": None if p else "empty", "truth": t}, "missing": 2}
        for name, p, t in (("a", 1.0, 1.0), ("b", 2.0, 3.0), ("c", 4.0, 2.0), ("d", None, 2.0))
    ]
    (folder / f"20260101_000000_samples_{task}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_results_as_table_markdown_and_json(tmp_path, capsys):
    folder = str(write_run(tmp_path / "model"))
    plot = tmp_path / "scatter.png"
    assert main(["results", folder, "--resamples", "50", "--plot", str(plot)]) == 0
    assert "1 (1 empty)" in capsys.readouterr().out
    assert plot.is_file()
    assert main(["results", folder, "--format", "markdown"]) == 0
    assert capsys.readouterr().out.startswith("| task |")
    assert main(["results", folder, "--format", "json", "--resamples", "0"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["task"], row["failed_reasons"], row["missing"], row["scored"]) == ("baid", {"empty": 1}, 2, 3)
    assert row["srocc_low"] is None


def test_every_run_has_a_plot_of_its_own(tmp_path, capsys):
    for task, model in (("baid", "model"), ("baid", "other"), ("vaps", "third one")):
        write_run(tmp_path / model, task)
    plot = tmp_path / "plots" / "p.png"
    assert main(["results", str(tmp_path), "--plot", str(plot)]) == 0
    names = ["p-baid-model.png", "p-baid-other.png", "p-vaps-third-one.png"]
    assert capsys.readouterr().out.splitlines()[-3:] == [f"plot: {plot.with_name(name)}" for name in names]
    assert sorted(path.name for path in plot.parent.iterdir()) == names
    assert main(["results", str(tmp_path), "--plot", str(plot), "--task", "vaps", "--format", "csv"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2 and captured.err == f"plot: {plot}\n"
    assert plot.is_file()
    with Image.open(plot) as image:
        assert image.format == "PNG"


def test_a_plot_without_any_score_is_refused(tmp_path, capsys):
    (tmp_path / "d_samples_baid.jsonl").write_text(
        json.dumps({"scored": {"id": "a", "prediction": None, "reason": "empty", "truth": 1.0}, "missing": 0}) + "\n"
    )
    assert "--plot has nothing to draw" in fails(capsys, "results", str(tmp_path), "--plot", str(tmp_path / "p.png"))
    assert main(["results", str(tmp_path), "--table", "datasets"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == [tmp_path.name, "-", "-"]
