"""Any bytes that a server can send end as a painting's reason, live and in batches; a rerun has nothing left to do."""

import json

import pytest

from artquant_plugin.cli import main
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.train.rad.limits import RepliesUnusable
from artquant_plugin.train.rad.store import RunStore
from tests.peers import llm_batches
from tests.peers.llm_answers import Says, Sends
from tests.peers.llm_forms import NO_ANSWERS, NO_COMPLETIONS, NO_JSON, NO_USAGE, completion
from tests.peers.local_llm import LocalLLM
from tests.train.rad.runs import CONSENT, dataset, exchanges, is_generator, levels, number, rad, results, script

BATCH = {"live": (), "batch": ("judge.batch=true",)}
KEY = "s3cr3t-key-of-mine"


@pytest.fixture
def data(tmp_path):
    return dataset(tmp_path / "data")


def sends(content):
    return Sends(json.dumps(content).encode())


def only(which, answer, side="generator"):
    """A script whose painting `which` gets this answer from one side."""
    usual = script()

    def decide(body):
        return answer if is_generator(body) == (side == "generator") and number(body) == which else usual(body)

    return decide


@pytest.mark.parametrize("way", BATCH)
@pytest.mark.parametrize("side", ["generator", "judge"])
def test_every_reply_that_is_no_completion_fails_its_painting_alone(tmp_path, way, side):
    """All forms in one run, one painting each, among as many that are answered."""
    forms = list(NO_COMPLETIONS.values())
    data, usual = dataset(tmp_path / "data", 2 * len(forms)), script()

    def decide(body):
        odd = is_generator(body) == (side == "generator") and number(body) % 2
        return sends(forms[number(body) // 2]) if odd else usual(body)

    fast = ("generator.max_retries=0", "judge.max_retries=0", "generator.concurrency=2", "judge.concurrency=2")
    with LocalLLM(decide) as llm:
        summary = rad(data, tmp_path / "run", llm.url, *BATCH[way], *fast, batch=way == "batch")
        assert summary.counts["accepted"] == len(forms)
        assert summary.reasons == {"no_completion": len(forms)}
        # A reply that cannot be read may have been paid for: each counts as the dearest that it can be.
        assert {e.cost > 100 for e in exchanges(tmp_path / "run") if e.outcome == "no_completion"} == {True}
        asked = len(llm.requests) + len(llm.batch_lines)
        assert rad(data, tmp_path / "run", llm.url, *BATCH[way], batch=way == "batch").finished == 0
        assert len(llm.requests) + len(llm.batch_lines) == asked
    failed = [result for result in results(tmp_path / "run") if result.state == "failed"]
    assert all(result.detail.startswith("a reply ") for result in failed)


def test_bytes_that_are_no_json_fail_their_painting_alone(tmp_path):
    forms, usual = list(NO_JSON.values()), script()
    data = dataset(tmp_path / "data", 2 * len(forms))
    with LocalLLM(lambda body: Sends(forms[number(body) // 2]) if number(body) % 2 else usual(body)) as llm:
        summary = rad(data, tmp_path / "run", llm.url)
    assert (summary.counts["accepted"], summary.reasons) == (len(forms), {"no_completion": len(forms)})


@pytest.mark.parametrize("way", BATCH)
@pytest.mark.parametrize("side", ["generator", "judge"])
def test_every_text_that_is_no_answer_is_malformed(tmp_path, way, side):
    forms = list(NO_ANSWERS.values())
    data, usual = dataset(tmp_path / "data", 2 * len(forms)), script()

    def decide(body):
        odd = is_generator(body) == (side == "generator") and number(body) % 2
        text = forms[number(body) // 2]
        return sends(completion(choices=[{"message": {"content": text}}])) if odd else usual(body)

    with LocalLLM(decide) as llm:
        summary = rad(
            data, tmp_path / "run", llm.url, *BATCH[way], "rounds=1", "give_up_after=100", batch=way == "batch"
        )
    reason = "malformed" if side == "generator" else "judge_malformed"
    assert (summary.counts["accepted"], summary.reasons) == (len(forms), {reason: len(forms)})
    assert all(e.outcome in ("ok", "malformed") for e in exchanges(tmp_path / "run"))


@pytest.mark.parametrize("way", BATCH)
def test_token_counts_that_cannot_be_never_make_a_run_cheaper(tmp_path, way):
    """Without counts, a request costs its worst case; the limit binds as if the worst had happened."""
    forms = list(NO_USAGE.values())
    data = dataset(tmp_path / "data", len(forms))

    def answer(body):
        text = levels(body) if is_generator(body) else CONSENT
        return sends(completion(choices=[{"message": {"content": text}}], usage=forms[number(body)]))

    options = {"batch": way == "batch"}
    with LocalLLM(answer) as llm:
        limited = rad(data, tmp_path / "run", llm.url, *BATCH[way], max_cost=12_000.0, **options)
        assert limited.over_budget and 6_000 < limited.cost <= 12_000
        assert rad(data, tmp_path / "run", llm.url, *BATCH[way], **options).counts["accepted"] == len(forms)
    assert all(e.cost > 300 for e in exchanges(tmp_path / "run"))


def test_counts_that_can_be_are_taken_as_they_are(tmp_path, data):
    with LocalLLM(script(lambda body: Says(levels(body), usage=(10_000_000, 0)))) as llm:
        rad(data, tmp_path / "run", llm.url, limit=1)
    assert exchanges(tmp_path / "run", "generator")[0].prompt_tokens == 10_000_000


@pytest.mark.parametrize("cap", ["-900", "0", "true", "1.5", "many", "null"])
def test_a_cap_that_is_none_is_no_bound_of_the_cost(tmp_path, data, cap):
    with LocalLLM(script()) as llm, pytest.raises(ArtQuantError, match="--max-cost needs a limit on a reply's tokens"):
        rad(data, tmp_path / "run", llm.url, f"generator.parameters={{max_tokens: {cap}}}", max_cost=10.0)


@pytest.mark.parametrize("url", ["http://[x/v1", "http://h:99999999/v1", "http://h:x/v1", "http:///v1", "http://"])
def test_an_address_that_is_none_is_one_line(data, capsys, url):
    options = ("--set", f"generator.base_url={url}", "--set", "generator.api_key_env=null", "--dry-run")
    assert main(["rad", "generate", "--data", str(data), *options]) == 2
    assert "generator.base_url: " in capsys.readouterr().err


@pytest.mark.parametrize("answer", [b"", b"null", b"[]", b'{"data": 5}', b'{"object": "list", "data": [5]}', b"\xff"])
def test_a_list_of_models_of_any_form_is_an_answer(tmp_path, data, answer):
    with LocalLLM(script()) as llm:
        llm.models = Sends(answer)
        assert rad(data, tmp_path / "run", llm.url).counts["accepted"] == 6


STRANGE = [
    b"null", b"5", b'"text"', b"\xff\xfe", b"[" * 100_000, b"{}", b'{"custom_id": 5}', b'{"custom_id": null}',
    b'{"custom_id": "\xc2\xb2-generator-0-0", "response": {}}', b'{"custom_id": "9999999999999999999-generator-0-0"}',
    b'{"custom_id": "7777-generator-0-0"}', b'{"custom_id": "-1-generator-0-0"}', b'{"custom_id": ["0"]}',
]  # fmt: skip


def test_lines_about_no_request_of_ours_are_passed_over(tmp_path, data, monkeypatch):
    whole, strange = llm_batches._lines, b"\n".join(STRANGE)
    monkeypatch.setattr(llm_batches, "_lines", lambda content: strange + b"\n" + whole(content) + strange)
    with LocalLLM(script()) as llm:
        assert rad(data, tmp_path / "run", llm.url, *BATCH["batch"], batch=True).counts["accepted"] == 6
    assert len(llm.batches) == 2


FIELDS = [
    ("response", 5, None), ("response", "no", None), ("response", [1], None), ("response", {}, None),
    ("response", {"status_code": "200", "body": {}}, None), ("response", {"status_code": True}, None),
    ("response", {"status_code": 2**80}, None), ("response", {"status_code": 200}, "no_completion"),
    ("response", {"status_code": 200, "body": "no"}, "no_completion"),
    ("response", {"status_code": 500, "body": [1]}, None),  # it may be about the schema: asked again in words
    ("error", "no", None), ("error", [1], None), ("error", {"code": {"a": 1}}, None),
    ("error", {"code": "server_error", "message": ["\ud83d"]}, "batch_server_error"),
]  # fmt: skip


def test_a_line_of_any_form_is_a_reason_or_asked_again(tmp_path, monkeypatch):
    """What names neither a reply nor an error was not answered, and is sent again; the second answer is whole."""
    whole = llm_batches._lines

    def damaged(content):
        monkeypatch.setattr(llm_batches, "_lines", whole)
        which = [int(line["custom_id"].split("-")[0]) for line in content]
        empty = {"response": None, "error": None}
        return whole([{**line, **empty, FIELDS[n][0]: FIELDS[n][1]} for n, line in zip(which, content, strict=True)])

    monkeypatch.setattr(llm_batches, "_lines", damaged)
    data = dataset(tmp_path / "data", len(FIELDS))
    with LocalLLM(script()) as llm:
        rad(data, tmp_path / "run", llm.url, *BATCH["batch"], batch=True)
    assert [result.reason for result in results(tmp_path / "run")] == [reason for _, _, reason in FIELDS]


def test_a_line_that_was_paid_for_and_cannot_be_read_is_not_asked_again(tmp_path, data, monkeypatch):
    whole = llm_batches._lines

    def damaged(content):
        monkeypatch.setattr(llm_batches, "_lines", whole)
        first, second, *others = whole(content).splitlines()
        deep = first.replace(b'"error": null', b'"error": ' + b"[" * 100_000 + b"]" * 100_000)
        return b"\n".join([deep, second.replace(b"Calm", b"C\xffm"), *others]) + b"\n"

    monkeypatch.setattr(llm_batches, "_lines", damaged)
    with LocalLLM(script()) as llm:
        summary = rad(data, tmp_path / "run", llm.url, *BATCH["batch"], batch=True)
    assert (summary.counts["accepted"], summary.reasons) == (4, {"no_completion": 2})
    assert len(llm.batch_lines) == 6 + 4


def test_a_line_ends_at_a_line_feed_alone(tmp_path, data, monkeypatch):
    """Unicode has other line ends, which JSON holds as they are and which `str.splitlines` takes for ends of lines."""

    def unescaped(content):
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in content).encode()

    def describes(body):
        found = json.loads(levels(body)) | {"emotion": f"Calm\u2028ground\u0085. See painting-{number(body)}-."}
        return json.dumps(found, ensure_ascii=False)

    monkeypatch.setattr(llm_batches, "_lines", unescaped)
    with LocalLLM(script(describes)) as llm:
        assert rad(data, tmp_path / "run", llm.url, *BATCH["batch"], batch=True).counts["accepted"] == 6
    assert len(llm.batch_lines) == 12


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        *((path, answer) for path in ("files", "batches", "batch") for answer in (b"", b"[]", b"\xff", b'{"id": 5}')),
        ("batch", b'{"id": "b", "status": 5}'),
        ("batch", b'{"id": "b", "status": "completed", "output_file_id": {}}'),
        ("batches", b'{"id": "b/../../x", "status": "completed"}'),
    ],
)
def test_a_batch_api_that_answers_anything_else_ends_the_run_in_one_line(tmp_path, data, monkeypatch, path, answer):
    async def respond(self, request):
        return llm_batches.web.Response(body=answer, content_type="application/json")

    method = {"files": "_upload", "batches": "_create_batch", "batch": "_get_batch"}[path]
    with monkeypatch.context() as patched:
        patched.setattr(llm_batches.BatchApi, method, respond)
        with LocalLLM(script()) as llm, pytest.raises(ArtQuantError, match="the Batch API of generator") as ended:
            rad(data, tmp_path / "run", llm.url, *BATCH["batch"], "give_up_after=2", batch=True)
        assert "\n" not in str(ended.value) and "set generator.batch=false" in str(ended.value)


@pytest.mark.parametrize("way", BATCH)
def test_a_key_in_an_ordinary_reply_gets_nowhere(tmp_path, data, monkeypatch, way, capsys):
    monkeypatch.setenv("MY_KEY", KEY)
    keyed = ("generator.api_key_env=MY_KEY", "judge.api_key_env=MY_KEY")
    escaped = "\\u0073" + KEY[1:]  # the same key, as JSON may write it

    def describes(body):
        return levels(body, f"The key is {KEY}.").replace("Calm", escaped) if number(body) else f"{KEY} is no JSON"

    def judges(_):
        return f'{{"consistent": true, "reason": "you sent {escaped}"}}'

    with LocalLLM(script(describes, judges)) as llm:
        rad(data, tmp_path / "run", llm.url, *BATCH[way], *keyed, batch=way == "batch")
    assert main(["rad", "export", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 0
    assert main(["rad", "report", str(tmp_path / "run"), "--out", str(tmp_path / "report.html")]) == 0
    found = results(tmp_path / "run")
    assert found[1].description["perception"].startswith("The key is [key].")
    assert found[1].judge_reason == "you sent [key]"
    files = [
        path for part in ("run", "out", "report.html") for path in [tmp_path / part, *(tmp_path / part).rglob("*")]
    ]
    assert not [path for path in files if path.is_file() and KEY.encode() in path.read_bytes()]
    assert KEY not in "".join(capsys.readouterr())


@pytest.mark.parametrize("error", [ValueError("odd"), MemoryError(), OverflowError("too large"), KeyboardInterrupt()])
def test_a_writer_that_fails_for_any_reason_ends_the_run_with_a_line(tmp_path, data, monkeypatch, error):
    """Before, whoever waited for the writer's thread waited for ever once it had died."""
    original = RunStore.write

    def fail(self, exchanges, changes):
        if exchanges:
            raise error
        original(self, exchanges, changes)

    monkeypatch.setattr(RunStore, "write", fail)
    with LocalLLM(script()) as llm, pytest.raises(ArtQuantError, match=r"store.sqlite' cannot be written .*run again"):
        rad(data, tmp_path / "run", llm.url)
    monkeypatch.setattr(RunStore, "write", original)
    with LocalLLM(script()) as llm:
        assert rad(data, tmp_path / "run", llm.url).counts["accepted"] == 6


@pytest.mark.parametrize(
    ("generator", "judge", "side"),
    [
        ("It is a fine painting.", CONSENT, "generator"),
        (Says(None, refusal="I will not."), CONSENT, "generator"),
        (levels, "Yes!", "judge"),
        (levels, '{"consistent": "true", "reason": "fits"}', "judge"),
    ],
)
@pytest.mark.parametrize("way", BATCH)
def test_a_side_whose_replies_cannot_be_used_stops_the_run_early(tmp_path, generator, judge, side, way):
    data = dataset(tmp_path / "data", 100)
    answers = script(generator if callable(generator) else lambda _: generator, lambda _: judge)
    small = ("batch.lines=25",) if way == "batch" else ()
    with LocalLLM(answers) as llm:
        with pytest.raises(RepliesUnusable, match=f"replies of the {side} in a row could not be used") as stopped:
            rad(data, tmp_path / "run", llm.url, *BATCH[way], *small, batch=way == "batch")
        asked = len(llm.requests) + len(llm.batch_lines)
    assert f"change {side}.model" in str(stopped.value) and "\n" not in str(stopped.value)
    # Live: 20 replies and what was in flight; in batches: those that were sent before the first one came back.
    assert asked <= (40 if way == "live" else 200)


def test_the_exit_code_says_that_nothing_was_accepted(tmp_path, data, capsys):
    settings = ("api_key_env=null", "max_retries=0")
    options = [f"--set={side}.{setting}" for side in ("generator", "judge") for setting in settings]
    with LocalLLM(script(lambda _: "no")) as llm:
        options += [f"--set={side}.base_url={llm.url}" for side in ("generator", "judge")]
        arguments = ["rad", "generate", "--data", str(data), "--out", str(tmp_path / "run"), *options]
        assert main([*arguments, "--set=rounds=1"]) == 1
        assert "accepted 0, failed 6" in capsys.readouterr().out
        assert main([*arguments, "--set=give_up_after=4", "--out", str(tmp_path / "other")]) == 1
        assert (
            "4 replies of the generator in a row could not be used; the last one was malformed"
            in capsys.readouterr().err
        )
        llm.answer = script()
        assert main([*arguments, "--set=rounds=1", "--retry-failed"]) == 0


def test_refusals_among_usable_replies_stop_no_run(tmp_path):
    data = dataset(tmp_path / "data", 30)
    refusal = Says(None, refusal="I will not.")
    with LocalLLM(script(lambda body: refusal if number(body) else levels(body))) as llm:
        summary = rad(data, tmp_path / "run", llm.url, "rounds=1")
    assert (summary.counts["accepted"], summary.reasons) == (1, {"refused": 29})
