"""Whole studies of tiny models: carried out, killed and resumed, divided into shares, drawn."""

import csv
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artquant_plugin.cli import main
from artquant_plugin.metrics.entropy import binary_entropy, error_rate
from tests.paths import ROOT
from tests.train.runs import same
from tests.train.studies.made import write_paintings, write_studies

pytestmark = [pytest.mark.slow(seconds=60)]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_paintings(tmp_path_factory.mktemp("data") / "small", comments=True)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """A configuration whose studies `labels` and `mat` were carried out without a disturbance."""
    path = write_studies(tmp_path_factory.mktemp("whole"), data)
    assert main(["study", "labels", str(path)]) == 0
    assert main(["study", "mat", str(path)]) == 0
    return path


def times(folder: Path) -> dict[str, int]:
    """When the checkpoints below a folder were written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


def test_a_study_ends_with_tables_a_figure_and_a_page(whole):
    folder = whole.parent / "studies"
    rows = list(csv.DictReader((folder / "labels.csv").open()))
    assert [row["row"] for row in rows] == ["score-based (ArtQuant)", "Gaussian (DeQA)", "one-hot (Q-Align)"]
    assert all(-1 <= float(row["srocc"]) <= 1 and float(row["srocc_sd"]) >= 0 for row in rows)
    assert rows[0]["srocc_difference"] == ""
    for row in rows[1:]:
        assert float(row["srocc_difference"]) == pytest.approx(float(row["srocc"]) - float(rows[0]["srocc"]))
        assert float(row["srocc_difference_low"]) <= float(row["srocc_difference"])
        assert 0 < float(row["srocc_p"]) <= 1
    for name in ("labels.md", "labels.tex", "labels.png", "mat.csv", "mat.png", "index.html", "studies.md"):
        assert (folder / name).stat().st_size
    page = (folder / "index.html").read_text()
    assert "as measured" in page
    assert page.count("data:image/png;base64,") == 1
    assert "The multi-task stage raises SROCC on every dataset" in page


def test_a_finished_run_is_never_repeated(whole, capsys):
    before = times(whole.parent)
    capsys.readouterr()
    assert main(["study", "mat", str(whole)]) == 0
    assert "run 1 of" not in capsys.readouterr().out
    assert times(whole.parent) == before
    assert len(before) == 5 * 2  # base stands in both studies


def test_the_figure_4_studies_end_with_a_line(whole):
    assert main(["study", "sufficiency", str(whole)]) == 0
    assert main(["study", "generation", str(whole)]) == 0
    folder = whole.parent / "studies"
    points = list(csv.DictReader((folder / "generation.csv").open()))
    assert [row["percent"] for row in points] == ["50", "100"]
    assert all(float(row["loss"]) > 0 for row in points)
    (line,) = csv.DictReader((folder / "sufficiency-line.csv").open())
    lengths = [float(row["agreement"]) for row in csv.DictReader((folder / "sufficiency.csv").open())]
    assert float(line["slope"]) == pytest.approx((lengths[1] - lengths[0]) / 50)


def test_entropies_end_with_both_sides_of_the_bounds(whole, capsys):
    counts = ["--set", "entropy.rejected=3", "--set", "entropy.judged=10"]
    assert main(["study", "entropy", str(whole), *counts]) == 0
    assert "run 1 of" not in capsys.readouterr().out  # the runs are those of the other studies
    folder = whole.parent / "studies"
    (row,) = csv.DictReader((folder / "entropy.csv").open())
    found = {name: float(value) for name, value in row.items() if value and name != "dataset"}
    assert found["theorem_2"] == pytest.approx(found["d_given_z"] + found["y_given_d"])
    epsilon = error_rate(3, 10)[1]
    assert found["theorem_3"] == pytest.approx(found["theorem_2"] + epsilon * math.log(5) + binary_entropy(epsilon))
    assert 0 < found["y_given_z"]
    assert 0 < found["per_token"] < found["d_given_z"]
    kept = sorted(folder.rglob("entropy-small.json"))
    assert len(kept) == 2
    before = [path.stat().st_mtime_ns for path in kept]
    assert main(["study", "entropy", str(whole), *counts]) == 0
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert "holds as measured" in (folder / "entropy.md").read_text() + (folder / "studies.md").read_text()


def test_table_2_and_transfer(data, tmp_path):
    train = [str(tmp_path / "train.yaml")]
    datasets = [{"name": "small", "train": train}, {"name": "calm", "train": train, "category": "calm"}]
    changes = {"hierarchy": {"datasets": ["small"], "reference": "comment"}}
    path = write_studies(tmp_path, data, datasets=datasets, **changes)
    assert main(["study", "hierarchy", str(path), "--shard", "2/2"]) == 0
    assert not (tmp_path / "studies" / "hierarchy.csv").exists()
    assert main(["study", "hierarchy", str(path), "--shard", "1/2"]) == 0
    rows = list(csv.DictReader((tmp_path / "studies" / "hierarchy.csv").open()))
    assert [row["row"] for row in rows] == [
        "human comments",
        "perception",
        "perception + cognition",
        "all three levels",
    ]
    assert main(["study", "transfer", str(path)]) == 0
    rows = list(csv.DictReader((tmp_path / "studies" / "transfer.csv").open()))
    pairs = [(row["trained_on"], row["tested_on"], row["paintings"]) for row in rows]
    assert pairs == [
        ("small", "small", "20"),
        ("small", "calm", "10"),
        ("calm", "small", "20"),
        ("calm", "calm", "10"),
    ]


def test_a_killed_study_goes_on_with_the_same_command(whole, data, tmp_path):
    """SIGKILL in the second run, while it trains: the first one stays as it is, all end as they would have."""
    path = write_studies(tmp_path, data)
    command = [sys.executable, "-m", "artquant_plugin.train.studies", "labels", str(path)]
    command += ["--set", "datasets=" + slow_dataset(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    folder = tmp_path / "studies" / "runs" / "small" / "base"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    end = time.monotonic() + 300
    while not (folder / "seed-1" / "model" / "stages" / "run.json").is_file():
        assert process.poll() is None, process.stdout.read().decode()[-3000:]
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "seed-1" / "model" / "training.json").exists()
    first = times(folder / "seed-0")
    assert first
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert times(folder / "seed-0") == first
    undisturbed = whole.parent / "studies" / "runs" / "small"
    for run in ("base/seed-0", "base/seed-1", "labels-onehot/seed-1"):
        assert same(undisturbed / run / "model", tmp_path / "studies" / "runs" / "small" / run / "model")
    assert (tmp_path / "studies" / "labels.md").read_text() == (whole.parent / "studies" / "labels.md").read_text()


def slow_dataset(folder: Path) -> str:
    """The dataset's entry with a checkpoint after every step, as YAML in one line."""
    return f"[{{name: small, train: ['{folder / 'train.yaml'}'], set: [train.save_steps=1]}}]"
