"""The device of the tests that need a GPU; an environment variable has them run on a CPU."""

import os
import sys

import pytest
import torch

from tests.train.runs import write_small

# With `cpu`, the tests take the same way on a CPU, so that a mistake in them does not wait for a GPU.
DEVICE_VARIABLE = "ARTQUANT_TEST_DEVICE"
# Where flash-linear-attention is installed, transformers calls its kernels for Qwen3.5 on every device, and they do
# not run on a CPU, with which these tests compare. test_kernels.py measures the kernels in a process of its own.
sys.modules["fla"] = None  # type: ignore[assignment]


@pytest.fixture(scope="session")
def device() -> str:
    """`cuda`, or what the environment variable names."""
    named = os.environ.get(DEVICE_VARIABLE, "cuda")
    if named == "cuda" and not torch.cuda.is_available():
        pytest.skip(f"torch finds no CUDA device; {DEVICE_VARIABLE}=cpu runs these tests on the CPU")
    return named


@pytest.fixture(scope="session")
def on_gpu(device) -> bool:
    return device != "cpu"


@pytest.fixture
def exact_float32():
    """No TF32: cuDNN's convolutions use it for float32 unless told otherwise, with 10 bits of mantissa."""
    places = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = False
    yield
    for place, allowed in zip(places, before, strict=True):
        place.allow_tf32 = allowed


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A small dataset of 16 paintings for training and 8 for validation."""
    return write_small(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture
def options(on_gpu) -> dict:
    """What a training configuration needs so that a run stays on the CPU where the tests do."""
    return {} if on_gpu else {"use_cpu": True}
