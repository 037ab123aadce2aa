"""RAD's judge through a server that no one here wrote: llama.cpp with a real language model of 135 million weights."""

import importlib.util
from collections.abc import Iterator

import pytest

from artquant_plugin.common.openai_client import EndpointDown
from tests.cli.test_cli import fails
from tests.peers.local_llm import LocalLLM
from tests.peers.started_server import started_server
from tests.real_model import real_model
from tests.tiny import pictures
from tests.train.rad.runs import dataset, exchanges, levels, rad, results

pytestmark = [pytest.mark.slow(seconds=60), pytest.mark.xdist_group("llama_cpp")]


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[str]:
    """The address of llama.cpp's server with SmolLM2, which lists log-probabilities."""
    if importlib.util.find_spec("llama_cpp") is None:
        pytest.skip("the server is not installed; pip install 'llama-cpp-python[server]==0.3.36' compiles it")
    model = real_model().language_model_file()
    command = ["-m", "llama_cpp.server", "--model", str(model), "--port", "{port}", "--n_ctx", "4096"]
    command += ["--n_threads", "1", "--logits_all", "True"]
    log = tmp_path_factory.mktemp("served") / "log"
    with started_server(command, ready="/v1/models", log=log) as address:
        yield address


TEXT = "The colours are in harmony and the light fills the picture."


def test_a_small_model_judges_and_what_it_copies_is_no_verdict(served, tmp_path):
    """It knows no JSON schema and gives JSON without one; a reply that cannot be used is asked for in other words."""
    data = dataset(tmp_path / "data", 2)
    with LocalLLM(lambda body: levels(body, TEXT)) as generator:
        summary = rad(
            data,
            tmp_path / "run",
            generator.url,
            f"judge.base_url={served}",
            "judge.model=smollm2",
            "judge.structured=auto",
            "judge.parameters={max_tokens: 60, temperature: 0}",
            "judge.concurrency=1",
            "rounds=1",
        )
    assert summary.finished == 2 and summary.left == 0
    asked = exchanges(tmp_path / "run", "judge")
    assert all('"response_format": {"type": "json_object"}' in one.frame for one in asked)
    assert all(one.prompt_tokens > 200 and one.completion_tokens for one in asked)  # it has read the whole request
    outcomes = {one.outcome for one in asked}
    assert outcomes <= {"ok", "malformed"}
    for one in asked:
        if one.outcome == "ok":
            assert not any(part in one.reply for part in (TEXT, "what fits, or what to change"))
    for result in results(tmp_path / "run"):
        own = [one for one in asked if one.position == int(result.id.removeprefix("p"))]
        assert (result.reason == "judge_malformed") == (own[-1].outcome == "malformed")
        assert len({one.request for one in own}) == len(own) <= 2


def test_it_sees_no_pictures_and_the_error_names_that(served, tmp_path):
    data = dataset(tmp_path / "data", 2)
    with pytest.raises(EndpointDown, match="pictures"):
        rad(data, tmp_path / "run", served, "generator.model=smollm2", "judge.model=other", "rounds=1")


def test_a_score_through_it_is_refused_with_the_reason(served, tmp_path, capsys):
    (tmp_path / "paintings").mkdir()
    pictures(1)[0].save(tmp_path / "paintings" / "one.png")
    arguments = ("score", str(tmp_path / "paintings"), "--model", "smollm2", "--scoring", "artquant")
    assert "pictures" in fails(capsys, *arguments, "--endpoint", served)
