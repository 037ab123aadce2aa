"""The same shards from a Ray cluster of two workers on this machine."""

import os
import subprocess
import sys

import pytest
from pyarrow import parquet

from artquant_plugin.cli import main
from tests.paths import ROOT

pytest.importorskip("ray", reason="Ray is not installed; the extras [ray] and [dev] bring it")


def on_ray(arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "artquant_plugin.cli", *arguments, "--engine", "ray", "--actors", "2"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_ray_writes_the_files_of_the_local_engine(paintings, tiny_folder, tmp_path):
    (paintings / "early" / "2.png").write_text("<html>")
    arguments = ["score", str(paintings), "--model", str(tiny_folder), "--shard-size", "3", "--device", "cpu", "--out"]
    ray, local = tmp_path / "ray", tmp_path / "local"
    assert on_ray([*arguments, f"{ray}/"]).startswith("scored 9, failed 1\n10 images in ")
    assert main([*arguments, f"{local}/"]) == 0
    assert sorted(path.name for path in ray.iterdir()) == sorted(path.name for path in local.iterdir())
    for path in sorted(ray.glob("*.parquet")):
        ours, theirs = parquet.read_table(path), parquet.read_table(local / path.name)
        assert ours.drop(["score", "entropy"]).column_names == theirs.drop(["score", "entropy"]).column_names
        assert ours.select(["path", "reason"]).equals(theirs.select(["path", "reason"]))
        for name in ("score", "excellent", "bad", "entropy"):
            assert ours[name].to_pylist() == pytest.approx(theirs[name].to_pylist(), abs=1e-6)
    assert (ray / "_done.json").read_bytes() == (local / "_done.json").read_bytes()
    # What one engine left undone, the other completes.
    (ray / "shard-000001.parquet").unlink()
    assert "7 of them by earlier runs" in on_ray([*arguments, f"{ray}/"])
    assert main([*arguments, f"{ray}/"]) == 0


@pytest.mark.slow
def test_an_error_on_the_cluster_is_one_line(paintings, tiny_folder, tmp_path):
    (paintings / "m.jsonl").write_text('{"image": "early/1.png"}\n{"picture": "early/2.png"}\n')
    arguments = ["score", str(paintings / "m.jsonl"), "--model", str(tiny_folder), "--out", f"{tmp_path}/out/"]
    done = subprocess.run(
        [sys.executable, "-m", "artquant_plugin.cli", *arguments, "--engine", "ray", "--device", "cpu"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "m.jsonl:2' has no column 'image', only picture" in done.stderr.strip().splitlines()[-1]
