"""Folders of shards: names, sizes, restarts, processes that share the work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from artquant_plugin.bulk.inputs import find_inputs
from artquant_plugin.bulk.shards import Share, score_to_folder, shard_path
from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from tests.bulk.engines import Brightness
from tests.bulk.test_inputs import archive, png
from tests.locks import held_by_another_process
from tests.paths import ROOT


def run(paintings, out, engine=None, size=4, **options):
    engine = engine or Brightness()
    return score_to_folder(find_inputs([str(paintings)]), engine, out, shard_size=size, show=False, **options)


def shards(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("*.parquet"))


def test_shards_hold_the_rows_in_order(paintings, tmp_path):
    out = tmp_path / "out"
    summary = run(paintings, out)
    assert shards(out) == ["shard-000000.parquet", "shard-000001.parquet", "shard-000002.parquet"]
    assert [parquet.read_metadata(path).num_rows for path in sorted(out.glob("*.parquet"))] == [4, 4, 2]
    assert parquet.read_table(out)["score"].to_pylist() == [10.0 * index for index in range(10)]
    assert summary.rows == 10
    assert json.loads((out / "_done.json").read_text()) == {"shards": 3, "rows": 10, "failed": 0}


def test_no_empty_shard_stands_at_the_end(paintings, tmp_path):
    run(paintings, tmp_path / "out", size=5)
    assert len(shards(tmp_path / "out")) == 2


@pytest.mark.parametrize("stop", [0, 3, 4, 7, 9])
def test_a_restart_computes_what_is_missing_and_nothing_twice(paintings, tmp_path, stop):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(paintings, out, Brightness(stop_after=stop))
    engine = Brightness()
    summary = run(paintings, out, engine)
    assert (engine.asked, summary.rows, summary.computed) == (10 - stop, 10, 10 - stop)
    run(paintings, tmp_path / "whole")
    assert parquet.read_table(out).equals(parquet.read_table(tmp_path / "whole"))
    again = Brightness(stop_after=0)
    assert run(paintings, out, again).finished


def test_a_shard_that_is_lost_is_made_again(paintings, tmp_path):
    out = tmp_path / "out"
    run(paintings, out)
    shard_path(out, 1).unlink()
    engine = Brightness()
    assert run(paintings, out, engine).computed == 4
    assert parquet.read_table(shard_path(out, 1))["score"].to_pylist() == [40.0, 50.0, 60.0, 70.0]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"shards": "3", "rows": 10, "failed": 0}'])
def test_a_broken_mark_of_the_end_is_written_anew_and_no_row_is_computed_again(paintings, tmp_path, content):
    out = tmp_path / "out"
    run(paintings, out)
    whole = (out / "_done.json").read_bytes()
    (out / "_done.json").write_text(content)
    engine = Brightness()
    summary = run(paintings, out, engine)
    assert (engine.asked, summary.rows, summary.computed) == (0, 10, 0)
    assert (out / "_done.json").read_bytes() == whole


@pytest.mark.parametrize("world", [2, 3, 5])
def test_processes_share_the_shards_without_talking(paintings, tmp_path, world):
    run(paintings, tmp_path / "one", size=3)
    shared = tmp_path / "shared"
    engines = [Brightness() for _ in range(world)]
    summaries = [run(paintings, shared, e, size=3, share=Share(r, world)) for r, e in enumerate(engines)]
    rows = sum(summary.rows for summary in summaries if not summary.finished)  # a fifth finds four shards made
    assert rows == sum(engine.asked for engine in engines) == 10
    assert shards(shared) == shards(tmp_path / "one")
    assert parquet.read_table(shared).equals(parquet.read_table(tmp_path / "one"))
    assert (shared / "_done.json").read_bytes() == (tmp_path / "one" / "_done.json").read_bytes()


def test_another_number_of_processes_goes_on(paintings, tmp_path):
    out = tmp_path / "out"
    run(paintings, out, size=3, share=Share(1, 2))
    assert not (out / "_done.json").exists()
    engine = Brightness()
    assert run(paintings, out, engine, size=3).rows == 10
    assert engine.asked == 6


def test_input_archives_and_output_shards_are_one_to_one(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for index, count in enumerate((2, 0, 3)):
        archive(folder / f"{index}.tar", {f"{i}.png": png(index * 10 + i) for i in range(count)})
    out = tmp_path / "out"
    summary = run(folder, out, size=1)
    tables = [parquet.read_table(shard_path(out, index)) for index in range(3)]
    assert [table["score"].to_pylist() for table in tables] == [[0.0, 1.0], [], [20.0, 21.0, 22.0]]
    assert summary.rows == 5
    (folder / "3.tar").write_bytes((folder / "0.tar").read_bytes())
    with pytest.raises(ArtQuantError, match="inputs 3 parts -> 4"):
        run(folder, out)


def test_another_shard_size_is_refused(paintings, tmp_path):
    run(paintings, tmp_path / "out")
    with pytest.raises(ArtQuantError, match="options.rows_per_shard 4 -> 5; pass --overwrite"):
        run(paintings, tmp_path / "out", size=5)
    run(paintings, tmp_path / "out", size=5, overwrite=True)
    assert len(shards(tmp_path / "out")) == 2
    with pytest.raises(ArtQuantError, match="--overwrite with 2 processes"):
        run(paintings, tmp_path / "out", overwrite=True, share=Share(0, 2))


def test_rows_of_another_model_are_refused_when_only_the_hidden_work_is_left(paintings, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(paintings, out, Brightness(stop_after=2))
    for path in (*out.glob("_*"), *out.glob("*.parquet")):
        path.unlink()
    with pytest.raises(ArtQuantError, match=r"shard-000000.jsonl' was made from something else: model.name brightnes"):
        run(paintings, out, Brightness(name="other"))
    with pytest.raises(ArtQuantError, match=r"options.rows_per_shard 4 -> 3"):
        run(paintings, out, size=3)
    engine = Brightness()
    assert run(paintings, out, engine).rows == 10
    assert engine.asked == 8


def test_a_link_in_the_place_of_the_hidden_folder_is_refused(paintings, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.jsonl").write_text("{}")
    (tmp_path / "out" / ".work").symlink_to(tmp_path / "mine")
    with pytest.raises(ArtQuantError, match="is a symbolic link"):
        run(paintings, tmp_path / "out", overwrite=True)
    assert os.listdir(tmp_path / "mine") == ["a.jsonl"]


def test_a_second_writer_stops_at_the_shard_that_is_being_made(paintings, tmp_path):
    out = tmp_path / "out"
    with (
        held_by_another_process(out / ".work" / "shard-000001.lock"),
        pytest.raises(ArtQuantError, match="another process is writing"),
    ):
        run(paintings, out)
    assert shards(out) == ["shard-000000.parquet"]


def test_a_folder_with_other_files_is_refused(paintings, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("")
    with pytest.raises(ArtQuantError, match="holds other files"):
        run(paintings, tmp_path / "out")


@pytest.mark.slow
def test_two_real_processes_give_the_rows_of_one(paintings, tiny_folder, tmp_path, capsys):
    arguments = ["score", str(paintings), "--model", str(tiny_folder), "--shard-size", "3", "--device", "cpu", "--out"]
    two, one = f"{tmp_path}/two/", f"{tmp_path}/one/"
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "artquant_plugin.cli"]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *arguments, two],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "rank 0: scored 6, failed 0" in done.stdout and "rank 1: scored 4, failed 0" in done.stdout
    assert main([*arguments, one]) == 0
    assert capsys.readouterr().out.startswith("scored 10, failed 0\n")
    assert shards(Path(two)) == shards(Path(one))
    tables = parquet.read_table(two), parquet.read_table(one)
    assert tables[0]["path"].to_pylist() == tables[1]["path"].to_pylist()
    assert tables[0]["score"].to_pylist() == pytest.approx(tables[1]["score"].to_pylist(), abs=1e-6)
    assert main([*arguments, two]) == 0
    assert "nothing to do" in capsys.readouterr().out
