"""The choice of device, asked with what a machine has, and what Metal's GPUs are refused."""

import pytest
import torch

from artquant_plugin.common import device as device_module
from artquant_plugin.common.device import (
    check_compile,
    check_device,
    cpu_computes_bfloat16,
    default_device,
    peak_memory,
    subnormals_as_zero,
)
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.scoring.batching import AUTO_START, BatchSize


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, False, "cuda"), (True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_cuda_is_chosen_before_mps_and_mps_before_the_cpu(cuda, mps, chosen):
    assert default_device(cuda=cuda, mps=mps) == chosen


def test_a_device_that_is_there_gives_its_kind():
    assert check_device("cuda:1", cuda=True, mps=False) == "cuda"
    assert check_device("mps", cuda=False, mps=True) == "mps"
    assert check_device("cpu", cuda=False, mps=False) == "cpu"


@pytest.mark.parametrize(
    ("device", "cuda", "mps", "message"),
    [
        ("cuda", False, True, "device 'cuda' is not there, torch finds no GPU of that kind; use mps"),
        ("mps", True, False, "device 'mps' is not there, torch finds no GPU of that kind; use cuda"),
        ("mps", False, False, "device 'mps' is not there, torch finds no GPU of that kind; use cpu"),
        ("gpu", False, False, "device 'gpu' is unknown; use cpu, cuda, cuda:1 or mps"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(device, cuda, mps, message):
    with pytest.raises(ArtQuantError) as raised:
        check_device(device, cuda=cuda, mps=mps)
    assert str(raised.value) == message


def test_compile_is_refused_on_mps_alone():
    check_compile("cpu")
    check_compile("cuda:1")
    with pytest.raises(ArtQuantError, match="runs on cuda or cpu, not on 'mps'; leave it out"):
        check_compile("mps")


@pytest.mark.parametrize(("device", "after"), [("cuda", 2 * AUTO_START), ("mps", AUTO_START), ("cpu", AUTO_START)])
def test_a_batch_grows_where_memory_that_runs_out_is_an_error_that_is_caught(device, after):
    size = BatchSize("auto", device=device)
    size.fitted(AUTO_START)
    assert size.current == after


def test_the_largest_memory_does_not_shrink():
    before = peak_memory()
    data = bytearray(64 * 2**20)
    data[::4096] = b"x" * len(data[::4096])
    during = peak_memory()
    del data
    assert 0 < before <= during <= peak_memory()


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"amx_tile": True, "amx_bf16": True}, True),
        ({"neon": True, "bf16": False}, False),
        ({"neon": True, "bf16": True}, True),
        ({}, False),  # an older torch does not tell
    ],
)
def test_a_cpu_computes_bfloat16_where_it_has_instructions_for_it(capabilities, expected, monkeypatch):
    monkeypatch.setattr(device_module, "cpu_capabilities", lambda: capabilities)
    assert cpu_computes_bfloat16() is expected


def test_subnormal_numbers_are_zero_in_the_block_alone():
    small = torch.tensor([1e-39])
    with subnormals_as_zero(torch.device("cpu")):
        with subnormals_as_zero(torch.device("cpu")):
            assert small.mul(1.0).item() == 0
        assert small.mul(1.0).item() == 0  # the inner block leaves the setting that it found
    assert small.mul(1.0).item() > 0
    with subnormals_as_zero(torch.device("cuda")):
        assert small.mul(1.0).item() > 0
