"""The best rows of a run: their order, what a finished output gives without computing, the pictures of a sheet."""

import json

import pytest

from artquant_plugin.bulk.inputs import find_inputs
from artquant_plugin.bulk.output_file import read_rows, score_to_file
from artquant_plugin.bulk.ranking import KEPT_FAILURES, Ranking, pictures_named, rank_key
from artquant_plugin.bulk.rows import score_rows
from artquant_plugin.bulk.shards import Share, read_shards, score_to_folder
from artquant_plugin.common.errors import ArtQuantError
from tests.bulk.engines import Brightness


def row(path: str, score: float | None) -> dict:
    return {"path": path, "score": score, "reason": None if score is not None else "broken"}


def test_equal_scores_stand_by_path_and_failures_last():
    rows = [row("c", 1.0), row("x", None), row("b", 2.0), row("a", 1.0), row("z", -3.0), row("d", 0.0), row("w", None)]
    assert [one["path"] for one in sorted(rows, key=rank_key)] == ["b", "a", "c", "d", "z", "w", "x"]


def test_a_ranking_keeps_the_best_of_a_long_stream():
    ranking = Ranking(3)
    for number in range(5000):
        ranking.add(row(f"{number:04d}", float(number * 7919 % 4999)))
    for number in range(KEPT_FAILURES + 5):
        ranking.add(row(f"f{number}", None))
    assert [one["score"] for one in ranking.best()] == [4998.0, 4997.0, 4996.0]
    assert [one["score"] for one in ranking.best(2)] == [4998.0, 4997.0]
    assert (ranking.scored, ranking.failed, len(ranking.failures())) == (5000, KEPT_FAILURES + 5, KEPT_FAILURES)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_file_is_sorted_and_read_back_as_it_was_written(paintings, tmp_path, ending):
    (paintings / "-z.png").write_text("")
    engine, out = Brightness(), tmp_path / f"s.{ending}"
    inputs = find_inputs([str(paintings)])
    expected = sorted(score_rows(Brightness(), inputs.images()), key=rank_key)
    assert not score_to_file(inputs, engine, out, best_first=True).finished
    assert list(read_rows(out, engine.columns)) == expected
    assert expected[0]["score"] == 90.0 and expected[-1]["reason"] is not None


def test_a_finished_file_is_sorted_without_computing_and_stays_so(paintings, tmp_path):
    inputs, out = find_inputs([str(paintings)]), tmp_path / "s.csv"
    score_to_file(inputs, Brightness(), out)
    assert [one["score"] for one in read_rows(out, Brightness.columns)] == [10.0 * index for index in range(10)]
    idle = Brightness(stop_after=0)
    summary = score_to_file(inputs, idle, out, best_first=True)
    assert (summary.finished, summary.resorted, summary.rows, summary.failed) == (True, True, 10, 0)
    assert "whose rows are sorted now" in summary.lines()[1]
    assert [one["score"] for one in read_rows(out, Brightness.columns)][:2] == [90.0, 80.0]
    for best_first in (True, False):
        again = score_to_file(inputs, idle, out, best_first=best_first)
        assert (again.finished, again.resorted) == (True, False)
    assert [one["score"] for one in read_rows(out, Brightness.columns)][:2] == [90.0, 80.0]
    assert json.loads((tmp_path / "s.csv.run.json").read_text())["result"]["rows"] == 10


def test_an_interrupted_run_goes_on_and_is_sorted_at_its_end(paintings, tmp_path):
    inputs, out = find_inputs([str(paintings)]), tmp_path / "s.csv"
    with pytest.raises(KeyboardInterrupt):
        score_to_file(inputs, Brightness(stop_after=4), out, best_first=True)
    rest = Brightness()
    score_to_file(inputs, rest, out, best_first=True)
    assert rest.asked == 6
    assert [one["score"] for one in read_rows(out, rest.columns)] == [10.0 * index for index in range(9, -1, -1)]


def test_a_file_that_somebody_changed_is_one_line(tmp_path):
    (tmp_path / "s.csv").write_text("path,score\na,1\n")
    with pytest.raises(ArtQuantError, match="has no column 'light'.*--overwrite"):
        list(read_rows(tmp_path / "s.csv", Brightness.columns))


def test_shards_are_read_in_order_once_all_are_there(paintings, tmp_path):
    inputs, out = find_inputs([str(paintings)]), tmp_path / "s"
    score_to_folder(inputs, Brightness(), out, shard_size=4, share=Share(0, 2))
    with pytest.raises(ArtQuantError, match="is not complete; run the command again when the other processes have"):
        list(read_shards(out, Brightness.columns))
    score_to_folder(inputs, Brightness(), out, shard_size=4, share=Share(1, 2))
    assert [one["score"] for one in read_shards(out, Brightness.columns)] == [10.0 * index for index in range(10)]


def test_pictures_are_found_by_the_names_of_their_rows(paintings, tmp_path):
    (tmp_path / "t.csv").write_text("image,id\npaintings/early/1.png, spaced \npaintings/early/2.png,b\n")
    from artquant_plugin.bulk.manifests import ImageColumns

    inputs = find_inputs([str(tmp_path / "t.csv")], columns=ImageColumns(name="id"))
    assert list(pictures_named({"spaced", "gone"}, inputs)) == [("spaced", paintings / "early/1.png")]
    inputs = find_inputs([str(paintings), str(paintings / "late/9.png")])
    name = str(paintings / "late/9.png")
    assert list(pictures_named({name}, inputs)) == [(name, paintings / "late/9.png")] * 2
