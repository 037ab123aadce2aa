"""`artquant score --engine vllm` against a vLLM of the same interface that computes with transformers."""

import csv
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from artquant_plugin.bulk.vllm_engine import OLDEST, VllmEngine, request_ids
from artquant_plugin.checkpoint import ScoringSpec, load_checkpoint, save_checkpoint
from artquant_plugin.cli import main
from artquant_plugin.prompting.prompter import Prompter
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.backbones.families import family
from tests.cli.test_cli import fails
from tests.paths import ROOT
from tests.tiny import pictures

FAKE = ROOT / "tests" / "peers" / "fake_vllm"
CALLS = "FAKE_VLLM_CALLS"


@pytest.fixture
def vllm(monkeypatch, tmp_path) -> Path:
    """A Python that has the fake vLLM; the file that its calls are written to."""
    calls = tmp_path / "calls.jsonl"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FAKE), str(ROOT)]))
    monkeypatch.setenv(CALLS, str(calls))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return calls


def recorded(calls: Path) -> list[dict]:
    return [json.loads(line) for line in calls.read_text().splitlines()]


def rows(path: Path) -> list[dict]:
    with path.open() as file:
        return list(csv.DictReader(file))


def options(folder, *more: object) -> list[str]:
    return [*map(str, ("--model", folder, "--device", "cpu", *more))]


@pytest.mark.slow(seconds=20)
def test_the_rows_are_those_of_the_local_engine(tiny_folder, paintings, vllm, tmp_path, capsys):
    (paintings / "early" / "2.png").write_text("<html>")
    Image.new("RGB", (300, 20)).save(paintings / "late" / "7.png")  # too long a prompt for the fake
    ours, theirs = tmp_path / "local.csv", tmp_path / "vllm.csv"
    assert main(["score", str(paintings), "--out", str(ours), *options(tiny_folder)]) == 0
    command = ["score", str(paintings), "--out", str(theirs), "--engine", "vllm", *options(tiny_folder)]
    assert main([*command, "--batch-size", "4"]) == 0
    assert "scored 8, failed 2" in capsys.readouterr().out
    local, served = rows(ours), rows(theirs)
    assert list(served[0]) == list(local[0])
    assert [row["path"] for row in served] == [row["path"] for row in local]
    for one, other in zip(local, served, strict=True):
        if other["score"]:
            for name in ("score", "excellent", "bad", "entropy"):
                assert float(other[name]) == pytest.approx(float(one[name]), abs=1e-5)
    assert served[2]["reason"] == local[2]["reason"]
    assert served[7]["reason"] == (
        "vLLM does not score the picture (ValueError: The decoder prompt (length 9000) is longer than the maximum "
        "model length of 4096.); scale it down"
    )
    load, *generated = recorded(vllm)
    assert load["dtype"] == "float32"
    assert load["enforce_eager"] is True
    assert load["limit_mm_per_prompt"] == {"image": 1}
    # The batches of 4, 4 and 2 rows; that with the wide picture is asked for again, picture by picture.
    assert [len(call["sizes"]) for call in generated] == [3, 4, 1, 1, 1, 1, 2]
    assert {call["max_tokens"] for call in generated} == {1}
    assert json.loads((tmp_path / "vllm.csv.run.json").read_text())["options"]["engine"] == "vllm"
    # A finished run is not computed again, and one of another engine is not gone on with.
    vllm.unlink()
    assert main(command) == 0
    assert not vllm.exists()
    assert "engine" in fails(capsys, "score", str(paintings), "--out", str(theirs), *options(tiny_folder))


@pytest.mark.slow(seconds=20)
def test_a_family_of_dynamic_resolution_gets_the_same_prompt_and_scores(vllm, tmp_path):
    save_checkpoint(tmp_path / "model", *family("qwen2_vl"), ScoringSpec())
    files = []
    for index, picture in enumerate([*pictures(2), *pictures(2, seed=1, size=(96, 64))]):
        files.append(tmp_path / f"{index}.png")
        picture.save(files[-1])
    expected = ArtQuantScorer.from_pretrained(str(tmp_path / "model"), device="cpu").score(files)
    found = list(VllmEngine(str(tmp_path / "model"), device="cpu").results(files))
    assert [one["score"] for one in found] == pytest.approx([one.score for one in expected], abs=1e-5)
    assert len({round(one.score, 3) for one in expected}) == 4


def test_the_prompt_has_one_token_in_the_place_of_the_picture(tiny_folder):
    checkpoint = load_checkpoint(str(tiny_folder))
    prompter = Prompter(checkpoint.processor, checkpoint.spec.prompt, checkpoint.spec.scale)
    ids = request_ids(prompter)
    assert ids.count(checkpoint.processor.image_token_id) == 1
    text = checkpoint.processor.tokenizer.decode(ids, skip_special_tokens=True)
    assert text.endswith("The quality of the painting is")


@pytest.fixture
def refused(paintings, capsys):
    def run(folder, message: str, *more: str) -> None:
        assert message in fails(capsys, "score", str(paintings), "--engine", "vllm", *options(folder), *more)

    return run


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
@pytest.mark.parametrize("device", [[], ["--device", "cuda"]])
def test_without_a_gpu_is_one_line(device, tiny_folder, paintings, capsys):
    error = fails(capsys, "score", str(paintings), "--model", str(tiny_folder), "--engine", "vllm", *device)
    assert error == (
        "artquant: error: --engine vllm needs an NVIDIA or AMD GPU, and torch finds none; leave --engine out, or pass "
        "--device cpu with a vLLM that is built for CPUs"
    )


def test_without_vllm_is_one_line_with_how_to_install_it(tiny_folder, refused, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    refused(
        tiny_folder,
        "has no vLLM (ModuleNotFoundError: No module named 'vllm'); install it into an environment of its own, since "
        "it asks for an older transformers: `python3 -m venv vllm && vllm/bin/pip install 'vllm>=0.32,<0.34'`, and",
    )


def test_a_python_that_is_not_there_is_one_line(tiny_folder, refused):
    refused(tiny_folder, "--vllm-python 'no/python' is no Python that runs", "--vllm-python", "no/python")


@pytest.mark.slow(seconds=30)
@pytest.mark.parametrize(
    ("variable", "value", "more", "message"),
    [
        ("VERSION", "0.31.1", [], "vLLM 0.31.1 is outside >=0.32,<0.34, the versions that are known; `"),
        ("VERSION", "0.34.0", [], "vLLM 0.34.0 is outside >=0.32,<0.34"),
        ("DEVICE", "cuda", [], "is built for cuda, and the device is cpu; pass --device cuda, or name another with"),
        ("OTHER_TOKENS", "1", [], "tokens of the prompt and the picture, and the checkpoint's processor other "),
        ("DIES", "1", [], "vLLM ended (CUDA error: an illegal memory access was encountered); run again to go on"),
        ("VERSION", OLDEST, ["--dtype", "bfloat16"], None),
    ],
)
def test_what_vllm_says_or_lacks_is_one_line(
    variable, value, more, message, tiny_folder, paintings, vllm, refused, monkeypatch
):
    monkeypatch.setenv(f"FAKE_VLLM_{variable}", value)
    if message is None:
        assert main(["score", str(paintings), "--engine", "vllm", *options(tiny_folder), *more]) == 0
        assert recorded(vllm)[0]["dtype"] == "bfloat16"
    else:
        refused(tiny_folder, message, *more)


@pytest.mark.slow(seconds=20)
def test_what_vllm_cannot_load_is_one_line(tiny_folder, refused, vllm, tmp_path, capsys):
    save_checkpoint(tmp_path / "owl", *family("mplug_owl2"), ScoringSpec())
    capsys.readouterr()  # transformers shows the progress of saving
    message = "(ValueError: The model type llava has no float16 on this device.); leave --engine out, or pass another"
    refused(tiny_folder, message, "--dtype", "float16")
    message = "vLLM 0.32.0 does not serve MPLUGOwl2ForConditionalGeneration, the architecture of "
    refused(tmp_path / "owl", message)


def test_an_adapter_is_to_be_merged(tmp_path, tiny_folder, refused):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(tiny_folder)})
    )
    ScoringSpec().save(tmp_path / "adapter")
    refused(tmp_path / "adapter", "is an adapter, and --engine vllm loads whole models, since vLLM puts")


def test_options_of_the_local_engine_are_refused(tiny_folder, paintings, refused, capsys):
    for option, value in (("--attn", "eager"), ("--workers", "2"), ("--quantization", "4bit")):
        refused(tiny_folder, "with --engine vllm, which loads and runs the model itself", option, value)
    command = ["score", str(paintings), *options(tiny_folder), "--vllm-python", sys.executable]
    assert "without --engine vllm" in fails(capsys, *command)
    command = ["score", str(paintings), "--model", "m", "--engine", "vllm", "--endpoint", "http://localhost:1/v1"]
    assert "--endpoint and --engine vllm exclude each other; the server runs" in fails(capsys, *command)
