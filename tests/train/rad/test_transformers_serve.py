"""Pictures through a server that no one here wrote: `transformers serve` with a tiny model of random weights."""

import pytest

from tests.bulk.conftest import tiny_folder  # noqa: F401
from tests.bulk.test_transformers_serve import served  # noqa: F401
from tests.peers.local_llm import LocalLLM
from tests.train.rad.runs import CONSENT, dataset, exchanges, rad, results


@pytest.mark.slow
def test_a_random_model_sees_the_picture_and_what_it_says_is_malformed(tmp_path, served, tiny_folder):  # noqa: F811
    data = dataset(tmp_path / "data", 2)
    with LocalLLM(lambda _: CONSENT) as judge:
        summary = rad(
            data,
            tmp_path / "run",
            judge.url,
            f"generator.base_url={served}",
            f"generator.model={tiny_folder}",
            "generator.parameters={max_tokens: 8}",
            "generator.concurrency=1",
            "rounds=1",
        )
    assert summary.reasons == {"malformed": 2}
    asked = exchanges(tmp_path / "run", "generator")
    assert [one.outcome for one in asked] == ["malformed"] * 2
    assert all(one.completion_tokens == 8 for one in asked)
    # The picture takes part in the prompt: its tokens are counted beside the text's.
    assert all(one.prompt_tokens > 16 for one in asked)
    assert results(tmp_path / "run")[0].description is None
    assert not judge.requests
