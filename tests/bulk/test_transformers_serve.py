"""A real server with the OpenAI protocol: `transformers serve`, which lists no log-probabilities (5.24)."""

import pytest

from tests.cli.test_cli import fails
from tests.paths import ROOT
from tests.peers.started_server import started_server

pytest.importorskip("fastapi", reason="`transformers serve` needs fastapi; the extra [dev] brings it")
pytest.importorskip("uvicorn", reason="`transformers serve` needs uvicorn; the extra [dev] brings it")


@pytest.fixture(scope="module")
def served(tiny_folder, tmp_path_factory):
    program = "from transformers.cli.transformers import main; main()"
    command = ["-c", program, "serve", str(tiny_folder), "--port", "{port}", "--device", "cpu"]
    environment = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    log = tmp_path_factory.mktemp("served") / "log"
    with started_server(command, ready="/health", log=log, environment=environment) as address:
        yield address


@pytest.mark.slow
def test_it_knows_no_begun_answer_and_lists_no_log_probabilities(served, tiny_folder, paintings, capsys):
    arguments = ("score", str(paintings), "--model", str(tiny_folder), "--endpoint", served)
    begun = fails(capsys, *arguments)
    assert "answers 422" in begun and "continue_final_message" in begun and "pass --prompt word" in begun
    # When this fails, the server has learnt to list them: compare its scores with the checkpoint's, and document it.
    assert "lists no log-probabilities" in fails(capsys, *arguments, "--prompt", "word")
