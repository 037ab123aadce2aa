"""The Batch API: rounds as batches, replies in any order, processes that end at the worst moments."""

import json
import os
import signal

import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.train.rad.status import status_lines
from artquant_plugin.train.rad.store import STORE_FILE, RunStore
from tests.peers import llm_batches
from tests.peers.llm_answers import Fails, Says
from tests.peers.local_llm import LocalLLM
from tests.train.rad.runs import (
    CONSENT,
    LEVELS,
    count,
    dataset,
    exchanges,
    in_turn,
    is_generator,
    levels,
    number,
    rad,
    results,
    script,
)

DISSENT = json.dumps({"consistent": False, "reason": "far too kind"})
BOTH = ("judge.batch=true",)


@pytest.fixture
def data(tmp_path):
    return dataset(tmp_path / "data", 7)


def lines(llm):
    """Requests of each batch's input file, in the order of the batches."""
    return [
        [json.loads(line) for line in llm.files[batch["input_file_id"]].splitlines()] for batch in llm.batches.values()
    ]


def test_rounds_of_refinement_are_further_batches(tmp_path, data):
    with LocalLLM(script(judge=in_turn(DISSENT, CONSENT))) as llm:
        summary = rad(data, tmp_path / "run", llm.url, *BOTH, batch=True)
    assert summary.counts["accepted"] == 7
    found = results(tmp_path / "run")
    assert {one.rounds for one in found} == {2}
    assert found[3].description == dict.fromkeys(LEVELS, "Calm ground. See painting-3-.")
    assert not llm.requests  # nothing went live
    assert [[is_generator(line["body"]) for line in batch] for batch in lines(llm)] == [
        [True] * 7, [False] * 7, [True] * 7, [False] * 7,
    ]  # fmt: skip
    assert len(llm.batch_lines) == len(set(llm.batch_lines)) == 28
    assert not list((tmp_path / "run" / "batches").iterdir())


def test_requests_are_those_of_a_live_run(tmp_path, data):
    with LocalLLM(script()) as llm:
        rad(data, tmp_path / "live", llm.url)
        rad(data, tmp_path / "batch", llm.url, *BOTH, batch=True)
    live = sorted(json.dumps(body, sort_keys=True) for _, body in llm.requests)
    assert live == sorted(json.dumps(line["body"], sort_keys=True) for batch in lines(llm) for line in batch)
    one, other = (
        {(e.position, e.side, e.frame, e.request) for e in exchanges(tmp_path / run)} for run in ("live", "batch")
    )
    assert one == other


def test_a_judge_without_batches_is_asked_live(tmp_path, data):
    with LocalLLM(script(judge=in_turn(DISSENT, CONSENT))) as llm:
        summary = rad(data, tmp_path / "run", llm.url, batch=True)
    assert summary.counts["accepted"] == 7
    assert (count(llm.requests, "generator"), count(llm.requests, "judge")) == (0, 14)
    assert len(llm.batches) == 2


def test_batches_cost_less(tmp_path, data):
    with LocalLLM(script()) as llm:
        prices = [f"{side}.price={{input: 1000, output: 1000000, batch: 0.5}}" for side in ("generator", "judge")]
        assert rad(data, tmp_path / "run", llm.url, *BOTH, *prices, batch=True).cost == 14


def test_files_stay_below_the_providers_limits(tmp_path, data):
    with LocalLLM(script()) as llm:
        rad(data, tmp_path / "lines", llm.url, *BOTH, "batch.lines=3", batch=True)
        assert [len(batch) for batch in lines(llm)] == [3, 3, 1, 3, 3, 1]
        size = max(len(line) for line in llm.files[next(iter(llm.batches.values()))["input_file_id"]].splitlines()) + 1
        llm.batches.clear()
        rad(data, tmp_path / "bytes", llm.url, f"batch.megabytes={2.5 * size / 1e6}", batch=True)
        assert [len(batch) for batch in lines(llm)] == [2, 2, 2, 1]


def test_errors_and_refusals_have_their_reason(tmp_path, data):
    answers = {
        1: Fails(400, code="content_policy_violation", message="filtered"),
        2: Fails(500, message="oh no"),
        3: Says(None, refusal="I will not."),
        4: "nothing",
    }
    with LocalLLM(script(lambda body: answers.get(number(body)) or levels(body))) as llm:
        summary = rad(data, tmp_path / "run", llm.url, *BOTH, "rounds=1", batch=True)
    assert summary.counts["accepted"] == 3
    assert summary.reasons == {"refused": 2, "http_500": 1, "malformed": 1}
    assert results(tmp_path / "run")[2].detail == "oh no"


def test_what_expires_is_sent_again(tmp_path, data):
    with LocalLLM(script()) as llm:
        llm.expire = [3 / 7, 1.0]
        assert rad(data, tmp_path / "run", llm.url, *BOTH, batch=True).counts["accepted"] == 7
    assert [len(batch) for batch in lines(llm)] == [7, 3, 4, 3, 3]  # what is answered is judged meanwhile
    assert len(llm.batch_lines) == len(set(llm.batch_lines)) == 14


def test_batches_that_bring_nothing_end_the_run(tmp_path, data):
    with LocalLLM(script()) as llm:
        llm.expire = [1.0] * 9
        with pytest.raises(ArtQuantError, match="3 batches in a row ended without a reply"):
            rad(data, tmp_path / "run", llm.url, *BOTH, batch=True)
        assert len(llm.batches) == 3


def test_a_batch_that_is_refused_as_a_whole_ends_the_run_and_frees_its_paintings(tmp_path, data):
    with LocalLLM(script()) as llm:
        llm.refuse_batches = "token limit reached"
        with pytest.raises(ArtQuantError, match="refuses a batch for the generator .token limit reached"):
            rad(data, tmp_path / "run", llm.url, *BOTH, batch=True)
        llm.refuse_batches = None
        assert rad(data, tmp_path / "run", llm.url, *BOTH, batch=True).counts["accepted"] == 7


def test_an_endpoint_without_schemas_is_asked_in_words_by_the_next_batch(tmp_path, data):
    with LocalLLM(script(), structured=False) as llm:
        assert rad(data, tmp_path / "run", llm.url, *BOTH, batch=True).counts["accepted"] == 7
    assert ["response_format" in batch[0]["body"] for batch in lines(llm)] == [True, False, False]


class Killed(BaseException):
    """Where a process would have died."""


@pytest.mark.parametrize("moment", ["make_part", "part_sent", "write", "part_done"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_dies_at_any_moment_asks_nothing_twice(tmp_path, data, monkeypatch, moment, when):
    original = getattr(RunStore, moment)

    def die(self, *arguments, **named):
        if when == "after":
            original(self, *arguments, **named)
        raise Killed

    with LocalLLM(script()) as llm:
        monkeypatch.setattr(RunStore, moment, die)
        with pytest.raises(Killed):
            rad(data, tmp_path / "run", llm.url, *BOTH, batch=True)
        monkeypatch.setattr(RunStore, moment, original)
        summary = rad(data, tmp_path / "run", llm.url, *BOTH, batch=True)
    assert summary.counts["accepted"] == 7
    assert len(llm.batch_lines) == len(set(llm.batch_lines)) == 14
    assert len(llm.batches) == 2
    assert not list((tmp_path / "run" / "batches").iterdir())


def test_a_batch_whose_start_was_not_confirmed_is_found_again(tmp_path, data):
    with LocalLLM(script()) as llm:
        rad(data, tmp_path / "others", llm.url, *BOTH, "batch.lines=2", batch=True)  # pages of other runs' batches
        seen = len(llm.batches)
        llm.lose_next_batch = True
        with pytest.raises(ArtQuantError, match="no answer from generator"):
            rad(data, tmp_path / "run", llm.url, *BOTH, batch=True)
        assert len(llm.batches) == seen + 1
        assert rad(data, tmp_path / "run", llm.url, *BOTH, batch=True).counts["accepted"] == 7
    assert len(llm.batches) == seen + 2


def test_a_running_batch_is_picked_up_and_shown(tmp_path, data):
    def interrupt(line):
        if line.startswith("batch "):
            os.kill(os.getpid(), signal.SIGINT)

    with LocalLLM(script()) as llm:
        llm.looks = 10**6
        summary = rad(data, tmp_path / "run", llm.url, *BOTH, batch=True, say=interrupt)
        assert summary.interrupted and summary.left == 7
        assert any(line.startswith("batch batch_") for line in status_lines(tmp_path / "run"))
        live = rad(data, tmp_path / "run", llm.url, *BOTH)
        assert "7 paintings are with the Batch API; run with --batch" in live.lines()[-1]
        assert not llm.requests
        llm.finish_all()
        assert rad(data, tmp_path / "run", llm.url, *BOTH, batch=True).counts["accepted"] == 7
    assert len(llm.batches) == 2


def test_looks_that_fail_are_made_again_and_given_up_in_the_end(tmp_path, data):
    silent = (*BOTH, "generator.max_retries=0", "judge.max_retries=0", "give_up_after=3")
    with LocalLLM(script()) as llm:
        llm.look_faults = [Fails(503), Fails(429)]
        assert rad(data, tmp_path / "run", llm.url, *silent, batch=True).counts["accepted"] == 7
        llm.look_faults = [Fails(503)] * 3
        with pytest.raises(ArtQuantError, match="the Batch API of generator .* answers 503"):
            rad(data, tmp_path / "other", llm.url, *silent, batch=True)
        assert rad(data, tmp_path / "other", llm.url, *silent, batch=True).counts["accepted"] == 7
        assert len(llm.batches) == 4


def test_a_request_file_that_was_removed_is_written_again(tmp_path, data, monkeypatch):
    original = RunStore.make_part

    def die(self, *arguments, **named):
        original(self, *arguments, **named)
        raise Killed

    with LocalLLM(script()) as llm:
        monkeypatch.setattr(RunStore, "make_part", die)
        with pytest.raises(Killed):
            rad(data, tmp_path / "run", llm.url, *BOTH, batch=True)
        monkeypatch.setattr(RunStore, "make_part", original)
        for path in (tmp_path / "run" / "batches").iterdir():
            path.unlink()
        assert rad(data, tmp_path / "run", llm.url, *BOTH, batch=True).counts["accepted"] == 7


def test_a_budget_limits_what_is_under_way(tmp_path, data):
    """A description costs 903 at most and 2 in the end, so that two fit at a time, and all in turn."""
    with LocalLLM(script()) as llm:
        summary = rad(data, tmp_path / "run", llm.url, *BOTH, batch=True, max_cost=2000.0)
        assert (summary.counts["accepted"], summary.cost, summary.over_budget) == (7, 28, False)
        assert max(len(batch) for batch in lines(llm) if is_generator(batch[0]["body"])) == 2
        none = rad(data, tmp_path / "other", llm.url, *BOTH, batch=True, max_cost=800.0)
        assert none.over_budget and none.counts["pending"] == 7


def test_a_line_that_is_cut_off_or_no_record_is_asked_again(tmp_path, data, monkeypatch):
    whole = llm_batches._lines

    def damaged(content):
        monkeypatch.setattr(llm_batches, "_lines", whole)
        first, second, *others = whole(content).splitlines()
        return b"\n".join([first[:40], b"[]", *others]) + b"\n"

    monkeypatch.setattr(llm_batches, "_lines", damaged)
    with LocalLLM(script()) as llm:
        assert rad(data, tmp_path / "run", llm.url, *BOTH, batch=True).counts["accepted"] == 7
    assert [len(batch) for batch in lines(llm) if is_generator(batch[0]["body"])] == [7, 2]


def test_a_file_that_is_read_twice_changes_nothing(tmp_path, data):
    with LocalLLM(script()) as llm:
        rad(data, tmp_path / "run", llm.url, *BOTH, batch=True)
        before = results(tmp_path / "run")
        with RunStore(tmp_path / "run" / STORE_FILE) as store:
            store._connection.execute("UPDATE parts SET status = 'open' WHERE number = 1")
        rad(data, tmp_path / "run", llm.url, *BOTH, batch=True)
    assert results(tmp_path / "run") == before
    assert len(exchanges(tmp_path / "run")) == 14


def test_without_a_batch_api_on_either_side_that_is_said(tmp_path, data):
    with LocalLLM(script()) as llm, pytest.raises(ArtQuantError, match="neither side has a Batch API"):
        rad(data, tmp_path / "run", llm.url, "generator.batch=false", batch=True)
