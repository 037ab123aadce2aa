"""Runs that are killed, interrupted, changed, or started twice; processes are real and die of real signals."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.run_record import only_writer
from artquant_plugin.train.rad.record import RECORD_FILE
from artquant_plugin.train.rad.run import LOCK_FILE
from artquant_plugin.train.rad.status import status_lines
from artquant_plugin.train.rad.store import STORE_FILE, RunStore
from tests.paths import ROOT
from tests.peers.llm_answers import Fails, Says
from tests.peers.local_llm import LocalLLM
from tests.train.rad.runs import CONSENT, count, dataset, exchanges, levels, number, rad, results, script

ENV = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start(data, run, url, *overrides):
    program = (
        "import sys; from pathlib import Path; from tests.train.rad.runs import rad; "
        "batch = 'judge.batch=true' in sys.argv; "
        "s = rad(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:], say=print, batch=batch); print(s.lines()); "
        "sys.exit(130 if s.interrupted else 0)"
    )
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program, str(data), str(run), url, *overrides],
        env=ENV,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_run_asks_no_accepted_painting_again_and_loses_none(tmp_path):
    data = dataset(tmp_path / "data", 60)
    overrides = ("generator.concurrency=4", "judge.concurrency=4")
    with LocalLLM(script(), delay=0.02) as llm:
        for kill in (1, 2, 3):
            process = start(data, tmp_path / "run", llm.url, *overrides)
            wait_for(lambda kill=kill: len(llm.requests) > 25 * kill)
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            accepted = {index for index, one in enumerate(results(tmp_path / "run")) if one.state == "accepted"}
            drafted = {e.position for e in exchanges(tmp_path / "run", "generator")}
            assert accepted
            wait_for(lambda: not llm.in_flight)
            seen = len(llm.requests)
            process = start(data, tmp_path / "run", llm.url, *overrides) if kill == 3 else None
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    after = llm.requests[seen:]
    assert not {number(body) for _, body in after} & accepted
    assert count(after, "generator") == 60 - len(drafted)  # a description that was paid for is judged, not made again
    found = results(tmp_path / "run")
    assert [one.state for one in found] == ["accepted"] * 60
    assert len({one.id for one in found}) == 60


def test_a_killed_run_picks_its_batch_up(tmp_path):
    data = dataset(tmp_path / "data")
    with LocalLLM(script()) as llm:
        llm.looks = 10**6
        process = start(data, tmp_path / "run", llm.url, "judge.batch=true")
        wait_for(lambda: any(batch["status"] == "in_progress" for batch in llm.batches.values()))
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        llm.finish_all()
        summary = rad(data, tmp_path / "run", llm.url, "judge.batch=true", batch=True)
        assert summary.counts["accepted"] == 6
        assert len(llm.batches) == 2 and len(llm.batch_lines) == len(set(llm.batch_lines)) == 12


def test_a_finished_run_needs_neither_key_nor_endpoint(tmp_path):
    data = dataset(tmp_path / "data")
    with LocalLLM(script()) as llm:
        rad(data, tmp_path / "run", llm.url)
        url = llm.url
    summary = rad(data, tmp_path / "run", url, "generator.api_key_env=NO_SUCH_KEY")
    assert "nothing to do" in summary.lines()[-1]


def test_ctrl_c_finishes_what_is_in_flight(tmp_path):
    data = dataset(tmp_path / "data", 60)
    with LocalLLM(script(), delay=0.3) as llm:
        process = start(data, tmp_path / "run", llm.url, "generator.concurrency=4", "judge.concurrency=4")
        wait_for(lambda: len(llm.requests) > 12)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "finishing what is in flight" in output and "run again to go on" in output
    assert len(exchanges(tmp_path / "run")) == len(llm.requests)


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    data = dataset(tmp_path / "data")
    with LocalLLM(script(), delay=120) as llm:
        process = start(data, tmp_path / "run", llm.url)
        wait_for(lambda: llm.in_flight)
        process.send_signal(signal.SIGINT)
        while "finishing what is in flight" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode
    assert {one.state for one in results(tmp_path / "run")} == {"pending"}


@pytest.mark.slow
def test_a_second_process_stops(tmp_path):
    data = dataset(tmp_path / "data")
    with LocalLLM(script(), delay=1) as llm:
        process = start(data, tmp_path / "run", llm.url)
        wait_for(lambda: llm.in_flight)
        with pytest.raises(ArtQuantError, match="another process is writing"):
            rad(data, tmp_path / "run", llm.url)
        lines = status_lines(tmp_path / "run")
        assert lines[-1] == "running"
        process.communicate(timeout=60)
    assert status_lines(tmp_path / "run")[-1] == "finished"


def test_the_status_of_a_run_with_a_limit_counts_what_was_asked_for(tmp_path):
    data, run = dataset(tmp_path / "data", 40), tmp_path / "run"
    with LocalLLM(script()) as llm:
        rad(data, run, llm.url, limit=3)
    assert status_lines(run)[-1] == "finished what was asked for; 37 other paintings are not described"
    with RunStore(run / STORE_FILE) as store, only_writer(run / LOCK_FILE, run):
        assert status_lines(run)[-1] == "running; 0 paintings are left of what was asked for"
        store.keep_chosen(["train"], 5)
        assert status_lines(run)[-1] == "running; 2 paintings are left of what was asked for"
        store.keep_chosen(None, None)
        assert status_lines(run)[-1] == "running"


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("generator.model=other", "models.generator gpt-4o-2024-11-20 -> other"),
        ("generator.parameters.temperature=0.1", "parameters.generator.parameters.temperature 0.7 -> 0.1"),
        ("judge.mode=blind", "parameters.judge_mode consistency -> blind"),
        ("rounds=5", "parameters.rounds 3 -> 5"),
        ("images.longest_side=512", "parameters.images.longest_side 1024 -> 512"),
    ],
)
def test_a_run_that_was_made_from_something_else_names_what_changed(tmp_path, override, named):
    data = dataset(tmp_path / "data")
    with LocalLLM(script()) as llm:
        rad(data, tmp_path / "run", llm.url, limit=1)
        with pytest.raises(ArtQuantError, match="was made from something else") as caught:
            rad(data, tmp_path / "run", llm.url, override)
    assert named in str(caught.value) and "\n" not in str(caught.value)


def test_data_and_prompts_belong_to_the_fingerprint_and_addresses_do_not(tmp_path):
    data = dataset(tmp_path / "data")
    with LocalLLM(script()) as llm:
        rad(data, tmp_path / "run", llm.url, limit=1)
        rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
        rows[5]["score"] = 1.0
        changed = "".join(json.dumps(row) + "\n" for row in rows)
        original = (data / "train.jsonl").read_text()
        (data / "train.jsonl").write_text(changed)
        with pytest.raises(ArtQuantError, match="data.sha256"):
            rad(data, tmp_path / "run", llm.url)
        (data / "train.jsonl").write_text(original)
        shipped = (ROOT / "configs" / "rad" / "prompts.yaml").read_text()
        (tmp_path / "mine.yaml").write_text(shipped.replace("You are a critic", "You are a painter"))
        with pytest.raises(ArtQuantError, match="prompts.generator.system"):
            rad(data, tmp_path / "run", llm.url, f"prompts={tmp_path / 'mine.yaml'}")
    with LocalLLM(script()) as elsewhere:
        assert rad(data, tmp_path / "run", elsewhere.url, "generator.concurrency=2").counts["accepted"] == 6


def test_a_run_in_which_nothing_was_asked_is_made_anew(tmp_path):
    data = dataset(tmp_path / "data")
    with LocalLLM(lambda _: Fails(404, message="no such model")) as llm, pytest.raises(ArtQuantError):
        rad(data, tmp_path / "run", llm.url, "generator.model=tpyo")
    with LocalLLM(script()) as llm:
        assert rad(data, tmp_path / "run", llm.url).counts["accepted"] == 6
    assert json.loads((tmp_path / "run" / RECORD_FILE).read_text())["models"]["generator"] == "gpt-4o-2024-11-20"


def test_failed_paintings_are_asked_again_when_that_is_wanted(tmp_path):
    data = dataset(tmp_path / "data")
    with LocalLLM(script(lambda body: "no" if number(body) == 2 else levels(body))) as llm:
        assert rad(data, tmp_path / "run", llm.url).reasons == {"malformed": 1}
        assert rad(data, tmp_path / "run", llm.url).reasons == {"malformed": 1}
        llm.answer = script()
        seen = len(llm.requests)
        assert rad(data, tmp_path / "run", llm.url, retry_failed=True).counts["accepted"] == 6
        assert {number(body) for _, body in llm.requests[seen:]} == {2}


def test_limits_and_splits_choose_and_the_rest_stays_pending(tmp_path):
    data = dataset(tmp_path / "data", 6, test=2)
    with LocalLLM(script()) as llm:
        assert rad(data, tmp_path / "run", llm.url, limit=2).counts["accepted"] == 2
        assert rad(data, tmp_path / "run", llm.url, limit=2).finished == 0
        summary = rad(data, tmp_path / "run", llm.url, splits=["test"])
        assert (summary.counts["accepted"], summary.counts["pending"]) == (4, 2)
    assert [one.state for one in results(tmp_path / "run")] == ["accepted"] * 2 + ["pending"] * 2 + ["accepted"] * 2


def test_no_file_of_the_run_holds_the_key(tmp_path, monkeypatch):
    secret = "sk-verysecretkey123"
    monkeypatch.setenv("MY_KEY", secret)
    data = dataset(tmp_path / "data")
    keyed = ("generator.api_key_env=MY_KEY", "judge.api_key_env=MY_KEY")
    with LocalLLM(script(lambda body: Fails(418, message=f"{secret}!")), key=secret) as llm:
        with pytest.raises(ArtQuantError) as caught:
            rad(data, tmp_path / "run", llm.url, *keyed)
        assert secret not in str(caught.value) and "[key]!" in str(caught.value)
        llm.answer = script()
        rad(data, tmp_path / "run", llm.url, *keyed)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {STORE_FILE, RECORD_FILE, LOCK_FILE} <= {path.name for path in files}
    assert not any(secret.encode() in path.read_bytes() for path in files)


def test_a_refused_key_is_known_before_anything_is_sent_and_not_repeated(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-wrong-key-77")
    data = dataset(tmp_path / "data")
    with (
        LocalLLM(script(), key="another") as llm,
        pytest.raises(ArtQuantError, match=r"refuses the key in \$MY_KEY") as e,
    ):
        rad(data, tmp_path / "run", llm.url, "generator.api_key_env=MY_KEY")
    assert "sk-wrong" not in str(e.value) and not llm.requests


def test_a_store_that_cannot_be_written_ends_the_run_in_one_line(tmp_path):
    data = dataset(tmp_path / "data")
    with LocalLLM(script()) as llm:
        rad(data, tmp_path / "run", llm.url, limit=1)
        with RunStore(tmp_path / "run" / STORE_FILE) as store:
            full = "CREATE TRIGGER full BEFORE INSERT ON exchanges BEGIN SELECT RAISE(FAIL, 'disk is full'); END"
            store._connection.execute(full)
        with pytest.raises(ArtQuantError, match="cannot be written .disk is full.; make room"):
            rad(data, tmp_path / "run", llm.url)
        with RunStore(tmp_path / "run" / STORE_FILE) as store:
            store._connection.execute("DROP TRIGGER full")
        assert rad(data, tmp_path / "run", llm.url).counts["accepted"] == 6


def test_a_key_that_may_not_list_models_may_still_ask(tmp_path):
    data = dataset(tmp_path / "data")
    with LocalLLM(script()) as llm:
        llm.models = Fails(403, message="missing scope")
        assert rad(data, tmp_path / "run", llm.url).counts["accepted"] == 6


def test_exchanges_are_kept_apart_with_their_counts(tmp_path):
    data = dataset(tmp_path / "data")
    with LocalLLM(
        script(lambda body: Says(levels(body), usage=(1000, 20)), lambda _: Says(CONSENT, usage=(3000, 4)))
    ) as llm:
        rad(data, tmp_path / "run", llm.url)
    made = exchanges(tmp_path / "run", "generator")
    assert [(e.side, e.prompt_tokens, e.completion_tokens, e.outcome) for e in made] == [
        ("generator", 1000, 20, "ok")
    ] * 6
    frame = json.loads(made[0].frame)
    assert frame["model"] == "gpt-4o-2024-11-20" and frame["messages"][0]["role"] == "system"
    assert "Viewers' rating" in made[0].request and json.loads(made[0].reply)["perception"].startswith("Calm ground.")
    with RunStore(tmp_path / "run" / STORE_FILE, readonly=True) as store:
        usage = store.usage()["judge", "ok"]
    assert (usage.requests, usage.prompt_tokens, usage.completion_tokens, usage.cost) == (6, 18_000, 24, 42)


@pytest.mark.parametrize("ending", ["", "-wal"])
def test_a_link_in_the_place_of_the_stores_files_is_refused(ending, tmp_path):
    (tmp_path / "precious").write_bytes(b"")
    (tmp_path / f"store.sqlite{ending}").symlink_to(tmp_path / "precious")
    with pytest.raises(ArtQuantError, match="is a symbolic link to .*; remove the link"):
        RunStore(tmp_path / "store.sqlite")
    assert (tmp_path / "precious").read_bytes() == b""
