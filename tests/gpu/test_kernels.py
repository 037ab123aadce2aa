"""Other ways through the model's attention, and through torch's compiler, give the same scores on a GPU."""

import importlib.util
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch

from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
from artquant_plugin.checkpoint.attention import ATTENTION
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.backbones.families import family
from tests.paths import ROOT
from tests.tiny import pictures, tiny_llava

pytestmark = pytest.mark.gpu

PACKAGES = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model, processor = tiny_llava()
    save_checkpoint(folder, model, processor, ScoringSpec())
    return folder


def scores(folder, device: str, **options) -> list[float]:
    scorer = ArtQuantScorer.from_pretrained(str(folder), device=device, batch_size=4, workers=0, **options)
    return [result.score for result in scorer.score(pictures(6))]


@pytest.mark.parametrize("attn", [name for name in ATTENTION if name != "sdpa"])
def test_every_attention_gives_the_same_scores(attn, saved, device, on_gpu):
    package = PACKAGES.get(attn)
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"the package {package} is not installed")
    if attn == "flex_attention" and not on_gpu:
        pytest.skip("flex_attention is compiled, which takes minutes on a CPU")
    dtype, tolerance = ("float32", 1e-3) if package is None else ("bfloat16", 0.1)
    expected = scores(saved, device, dtype=dtype)
    assert scores(saved, device, dtype=dtype, attn=attn) == pytest.approx(expected, abs=tolerance)


def test_a_compiled_model_gives_the_same_scores(saved, device):
    expected = scores(saved, device)
    assert scores(saved, device, compile=True) == pytest.approx(expected, abs=1e-3)
    torch._dynamo.reset()


SCORE = """
import json, sys
from artquant_plugin.backbones.linear_attention import missing_packages
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.tiny import pictures

folder, device, dtype = sys.argv[1:]
scorer = ArtQuantScorer.from_pretrained(folder, device=device, dtype=dtype, batch_size=4, workers=0)
missing = [package.package for package in missing_packages(scorer.checkpoint.model)]
print(json.dumps([[result.score for result in scorer.score(pictures(6))], missing]))
"""


@pytest.mark.timeout(600)  # a process of its own imports everything again
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fast_linear_attention_gives_the_scores_of_the_reference(dtype, device, on_gpu, tmp_path, record_property):
    """transformers decides for flash-linear-attention when it is imported, and says so where it does without."""
    try:
        version("flash-linear-attention")
    except PackageNotFoundError:
        if on_gpu:
            pytest.skip("the package flash-linear-attention is not installed")
    model, processor = family("qwen3_5")
    save_checkpoint(tmp_path, model, processor, ScoringSpec())
    expected = scores(tmp_path, device, dtype=dtype)
    done = subprocess.run(
        [sys.executable, "-c", SCORE, str(tmp_path), device, dtype],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    # On a CPU transformers' reference is called directly, so that it does not say that it is slow.
    assert "`chunk_gated_delta_rule` is falling back" not in done.stderr
    found, missing = json.loads(done.stdout.splitlines()[-1])
    assert ("flash-linear-attention" in missing) is not on_gpu
    record_property("kernel_difference", max(abs(one - other) for one, other in zip(found, expected, strict=True)))
    # The kernels multiply float32 numbers with the mantissa of TF32.
    assert found == pytest.approx(expected, abs=0.05 if dtype == "float32" else 0.3)
