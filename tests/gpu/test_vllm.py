"""The real vLLM gives the local scores, where an environment with it is there."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from artquant_plugin.bulk.vllm_engine import VllmEngine
from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.sections import TinyModel
from artquant_plugin.train.tiny import build_tiny_model
from tests.tiny import pictures, tiny_texts

pytestmark = pytest.mark.gpu

# The Python of the environment that has vLLM; without it, vLLM is looked for in this one.
PYTHON_VARIABLE = "ARTQUANT_TEST_VLLM"
# vLLM's attention has kernels for heads of at least 32 numbers, so that the model is wider than those of other tests.
SIZES = TinyModel(image_size=64, patch_size=16, hidden=256, vision_layers=2, text_layers=2, heads=4)


@pytest.fixture(scope="module")
def python() -> str:
    named = os.environ.get(PYTHON_VARIABLE)
    if named is None and importlib.util.find_spec("vllm") is None:
        pytest.skip(f"vLLM is not installed, and {PYTHON_VARIABLE} names no Python that has it")
    return named or sys.executable


def _rename_as_published(path: Path) -> None:
    """Give a CLIP encoder's weights the names of published checkpoints, which are those that vLLM 0.32 knows."""
    weights = load_file(path)
    weights = {name.replace("vision_tower.", "vision_tower.vision_model."): weights[name] for name in weights}
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.3)])
def test_vllm_gives_the_local_scores(dtype, tolerance, python, device, tmp_path, record_property):
    save_checkpoint(tmp_path / "model", *build_tiny_model(SIZES, tiny_texts(), seed=0), ScoringSpec())
    _rename_as_published(tmp_path / "model" / "model.safetensors")
    files = []
    for index, picture in enumerate(pictures(6)):
        files.append(tmp_path / f"{index}.png")
        picture.save(files[-1])
    scorer = ArtQuantScorer.from_pretrained(str(tmp_path / "model"), dtype=dtype, device=device)
    local = [result.score for result in scorer.score(files)]
    engine = VllmEngine(str(tmp_path / "model"), dtype=dtype, device=device, python=python)
    found = [result["score"] for result in engine.results(files)]
    record_property("vllm_difference", max(abs(one - other) for one, other in zip(found, local, strict=True)))
    assert found == pytest.approx(local, abs=tolerance)
