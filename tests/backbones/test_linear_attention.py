"""Fast kernels of linear attention: on a GPU alone, and said once where they are missing."""

import json
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch

from artquant_plugin.backbones.linear_attention import (
    _warn_once,
    missing_packages,
    use_kernels_by_device,
    warn_of_missing_packages,
)
from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
from tests.backbones.families import family
from tests.paths import ROOT
from tests.tiny import tiny_llava

# A package with the functions that transformers looks for, which end as Triton's kernels end on a CPU.
FLA = """
def chunk_gated_delta_rule(query, key, value, g, beta, **options):
    raise ValueError(f"Pointer argument (at 0) cannot be accessed from Triton ({query.device.type} tensor?)")


fused_recurrent_gated_delta_rule = chunk_gated_delta_rule
"""
SCORE = """
import json, sys
from artquant_plugin.backbones.linear_attention import missing_packages
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.tiny import pictures

scorer = ArtQuantScorer.from_pretrained(sys.argv[1], device="cpu", batch_size=4, workers=0)
missing = [package.package for package in missing_packages(scorer.checkpoint.model)]
print(json.dumps([[result.score for result in scorer.score(pictures(4))], missing]))
"""


def score(folder, *paths) -> tuple[list[float], list[str]]:
    """Scores in a process of its own, as transformers looks for packages when it is imported."""
    path = os.pathsep.join(map(str, (ROOT, *paths)))
    done = subprocess.run(
        [sys.executable, "-c", SCORE, str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "falling back" not in done.stderr  # what could be installed would not help on a CPU
    scores, missing = json.loads(done.stdout.splitlines()[-1])
    return scores, missing


@pytest.mark.slow(seconds=20)
def test_a_cpu_scores_the_same_where_the_kernels_of_gpus_are_installed(tmp_path):
    checkpoint = tmp_path / "model"
    save_checkpoint(checkpoint, *family("qwen3_5"), ScoringSpec())
    operators = tmp_path / "packages" / "fla" / "ops"
    operators.mkdir(parents=True)
    (operators.parent / "__init__.py").write_text("")
    (operators / "__init__.py").write_text("")
    (operators / "gated_delta_rule.py").write_text(FLA)
    expected, missing = score(checkpoint)
    assert missing == ["flash-linear-attention", "causal-conv1d"]
    found, missing = score(checkpoint, tmp_path / "packages")
    assert missing == ["causal-conv1d"]
    assert found == expected
    assert len(set(found)) == 4


def test_kernels_are_called_for_tensors_on_a_gpu_alone(monkeypatch):
    model, _ = family("qwen3_5")
    module = sys.modules[type(model).__module__]

    def reference(tensor, factor):
        return "reference", tensor.device.type, factor

    def kernel(tensor, factor):
        return "kernel", tensor.device.type, factor

    kernel.__wrapped__ = reference
    monkeypatch.setattr(module, "torch_chunk_gated_delta_rule", kernel)
    use_kernels_by_device(model)
    use_kernels_by_device(model)  # which changes nothing
    on_gpu = SimpleNamespace(device=torch.device("cuda:1"))
    assert module.torch_chunk_gated_delta_rule(on_gpu, factor=2) == ("kernel", "cuda", 2)
    assert module.torch_chunk_gated_delta_rule(torch.zeros(1), 3) == ("reference", "cpu", 3)


def warned(model) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_missing_packages(model)
    return [str(warning.message) for warning in caught]


def test_a_missing_package_is_said_once_and_on_a_gpu_alone(monkeypatch):
    for module in ("fla", "causal_conv1d"):
        monkeypatch.setitem(sys.modules, module, None)
    _warn_once.cache_clear()
    model, _ = family("qwen3_5")
    on_gpu = SimpleNamespace(modules=model.modules, device=torch.device("cuda"))
    assert warned(model) == []
    first, second = warned(on_gpu)
    assert first.startswith("flash-linear-attention is not installed: Qwen3.5's linear attention runs through")
    assert first.endswith("; install it with `pip install 'artquant-plugin[kernels]'`")
    assert second.startswith("causal-conv1d is not installed: ")
    assert warned(on_gpu) == []


def test_a_model_without_linear_attention_misses_nothing():
    assert missing_packages(tiny_llava()[0]) == []
