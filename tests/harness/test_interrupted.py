"""Ctrl-C while lmms-eval runs the model: it ends with one line, and leaves neither processes nor halves of results."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
from tests.report.results import write_paintings
from tests.tiny import tiny_llava

pytestmark = [pytest.mark.slow(seconds=200), pytest.mark.timeout(600)]
COUNT = 1500


class Evaluation:
    """lmms-eval in a session of its own, which a terminal's Ctrl-C reaches as a whole."""

    def __init__(self, folder: Path, out: str, *options: str) -> None:
        self.log = folder / f"{out}.log"
        self.out = folder / out
        command = [str(Path(sys.executable).parent / "lmms-eval"), "--model", "artquant", "--tasks", "baid"]
        command += ["--model_args", f"pretrained={folder / 'model'},workers=2", "--device", "cpu", "--batch_size", "4"]
        command += ["--log_samples", "--output_path", str(self.out), *options]
        environment = os.environ | {"ARTQUANT_DATA": str(folder / "data"), "HF_HOME": str(folder / "hf")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def interrupt_when(self, pattern: str) -> None:
        while not re.search(pattern, self.text):
            assert self.process.poll() is None, self.text[-3000:]
            time.sleep(0.01)
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        code = self.process.wait()
        time.sleep(0.2)
        with pytest.raises(ProcessLookupError):  # the session is empty: no worker is left
            os.killpg(self.process.pid, 0)
        return code

    def scores(self) -> list[str]:
        (samples,) = self.out.rglob("*_samples_baid.jsonl")
        return re.findall(r'"prediction": ([-.0-9e]+)', samples.read_text())


@pytest.mark.skipif(sys.platform == "win32", reason="sessions of processes are POSIX")
def test_an_interrupted_evaluation_ends_with_one_line_and_can_be_run_again(tmp_path):
    save_checkpoint(tmp_path / "model", *tiny_llava(), ScoringSpec())
    write_paintings(tmp_path / "data" / "baid", COUNT)
    cache = ("--use_cache", str(tmp_path / "cache"))
    for out, pattern in (
        ("preparing", rf"ArtQuant: +0%\|[^\r\n]*\| 0/{COUNT} "),
        ("running", rf"ArtQuant: +\d+%\|[^\r\n]*\| [1-9]\d*/{COUNT} "),
    ):
        stopped = Evaluation(tmp_path, out, *cache)
        stopped.interrupt_when(pattern)
        assert stopped.end() == 130, stopped.text[-3000:]
        assert "Traceback" not in stopped.text, stopped.text[-5000:]
        assert stopped.text.count("artquant: interrupted\n") == 1
        assert not list(stopped.out.rglob("*.json*"))
    again = Evaluation(tmp_path, "again", *cache)
    assert again.end() == 0, again.text[-3000:]
    undisturbed = Evaluation(tmp_path, "undisturbed")
    assert undisturbed.end() == 0
    assert len(again.scores()) == COUNT and again.scores() == undisturbed.scores()
