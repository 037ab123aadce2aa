"""`artquant score` and `artquant describe`, killed before and after each of their file operations, then run again."""

import shutil

import pytest

from artquant_plugin.bulk.inputs import find_inputs
from artquant_plugin.bulk.output_file import score_to_file
from artquant_plugin.bulk.shards import score_to_folder
from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from tests.bulk.engines import Brightness
from tests.kills import kills

pytestmark = pytest.mark.slow


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def renewed(folder, prepare=lambda: None):
    def renew():
        shutil.rmtree(folder)
        folder.mkdir()
        prepare()

    return renew


def contents(folder) -> dict[str, bytes]:
    """The files that a finished run leaves, without locks and without records, which hold seconds."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not name.endswith((".lock", "run.json"))}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_killed_run_into_a_file_gives_the_rows_of_one_that_was_not(form, paintings, work):
    inputs, out = find_inputs([str(paintings)]), work / f"s.{form}"

    def score():
        return score_to_file(inputs, Brightness(), out, show=False)

    score()
    whole = contents(work)
    assert list(whole) == [out.name]
    for operation, side in kills(score, work, renewed(work)):
        assert not out.exists() or out.read_bytes() == whole[out.name], (operation, side)
        score()
        assert contents(work) == whole, (operation, side)
        assert score().finished


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_kill_while_another_models_results_are_replaced_mixes_nothing(form, paintings, work):
    inputs, out = find_inputs([str(paintings)]), work / f"s.{form}"

    def score(name="new", **options):
        return score_to_file(inputs, Brightness(name=name), out, show=False, **options)

    score()
    new = contents(work)
    for operation, side in kills(lambda: score(overwrite=True), work, renewed(work, lambda: score("old"))):
        try:
            score()
        except ArtQuantError as error:
            assert "made from something else: model.name old -> new" in str(error), (operation, side)
            score(overwrite=True)
        assert contents(work) == new, (operation, side)


def test_a_killed_run_into_shards_gives_the_shards_of_one_that_was_not(paintings, work):
    inputs = find_inputs([str(paintings)])

    def score():
        return score_to_folder(inputs, Brightness(), work / "out", shard_size=4, show=False)

    score()
    whole = contents(work)
    assert sorted(whole) == ["out/_done.json", *(f"out/shard-00000{index}.parquet" for index in range(3))]
    for operation, side in kills(score, work, renewed(work)):
        score()
        assert contents(work) == whole, (operation, side)
        assert score().finished


def test_the_old_shards_stay_until_all_new_ones_are_there(paintings, work):
    inputs, out = find_inputs([str(paintings)]), work / "out"

    def score(name, size, **options):
        return score_to_folder(inputs, Brightness(name=name), out, shard_size=size, show=False, **options)

    def prepare():
        score("old", 2)
        (out / "mine.txt").write_text("a file of the user's own")

    renewed(work, prepare)()
    old = contents(work)
    score("new", 4, overwrite=True)
    new = contents(work)
    assert sorted(new) == [
        "out/_done.json",
        "out/mine.txt",
        *(f"out/shard-00000{index}.parquet" for index in range(3)),
    ]
    states = []
    for operation, side in kills(lambda: score("new", 4, overwrite=True), work, renewed(work, prepare)):
        left = {name: content for name, content in contents(work).items() if "/.work/" not in name}
        states.append("old" if left == old else "new" if left == new else "being moved")
        # Either the old result is there, or the new one is whole and any further run finishes its move.
        if states[-1] == "old":
            score("new", 4, overwrite=True)
        else:
            score("new", 4)
        assert contents(work) == new, (operation, side)
        assert score("new", 4).finished
    assert states == sorted(states, key=["old", "being moved", "new"].index)


def test_a_killed_description_is_written_whole_by_the_next_run(paintings, tiny_folder, work):
    options = ("--model", str(tiny_folder), "--device", "cpu", "--max-new-tokens", "4", "--out", str(work / "d.jsonl"))

    def describe():
        assert main(["describe", str(paintings / "early"), *options]) == 0

    describe()
    whole = contents(work)
    for operation, side in kills(describe, work, renewed(work)):
        if (work / "d.jsonl").exists():
            assert (work / "d.jsonl").read_bytes() == whole["d.jsonl"], (operation, side)
            assert main(["describe", str(paintings / "early"), *options]) == 2
        else:
            describe()
        assert contents(work) == whole, (operation, side)
