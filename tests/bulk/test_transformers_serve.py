"""A real server with the OpenAI protocol: `transformers serve`, which lists no log-probabilities (5.24)."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from tests.cli.test_cli import fails
from tests.paths import ROOT

pytest.importorskip("fastapi", reason="`transformers serve` needs fastapi; the extra [dev] brings it")
pytest.importorskip("uvicorn", reason="`transformers serve` needs uvicorn; the extra [dev] brings it")


@pytest.fixture(scope="module")
def served(tiny_folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = "from transformers.cli.transformers import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "serve", str(tiny_folder), "--port", str(port), "--device", "cpu"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, process.stderr.read().decode()[-3000:]
            assert time.monotonic() < deadline, "the server did not start within two minutes"
            with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(f"http://localhost:{port}/health"):
                break
            time.sleep(0.2)
        yield f"http://localhost:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_it_knows_no_begun_answer_and_lists_no_log_probabilities(served, tiny_folder, paintings, capsys):
    arguments = ("score", str(paintings), "--model", str(tiny_folder), "--endpoint", served)
    begun = fails(capsys, *arguments)
    assert "answers 422" in begun and "continue_final_message" in begun and "pass --prompt word" in begun
    # When this fails, the server has learnt to list them: compare its scores with the checkpoint's, and document it.
    assert "lists no log-probabilities" in fails(capsys, *arguments, "--prompt", "word")
