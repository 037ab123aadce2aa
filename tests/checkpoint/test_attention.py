"""Implementations of attention by name: what is refused, and with which remedy."""

import importlib.util
import sys

import pytest
from transformers.utils import import_utils

from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
from artquant_plugin.checkpoint.attention import (
    ATTENTION,
    attention_errors_in_one_line,
    check_attention,
    check_loaded_type,
)
from artquant_plugin.checkpoint.load import load_checkpoint
from artquant_plugin.common.errors import ArtQuantError
from tests.backbones.families import family

KERNEL = "kernels-community/flash-attn2"


def refused(attn: str, *, device: str = "cuda", dtype: str = "bfloat16") -> str:
    with pytest.raises(ArtQuantError) as caught:
        check_attention(attn, device=device, dtype=dtype)
    return str(caught.value)


@pytest.fixture
def no_packages(monkeypatch):
    """As on a machine without flash attention and without the package kernels."""
    for module in ("flash_attn", "flash_attn_interface"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(import_utils, "is_kernels_available", lambda: False)


@pytest.fixture
def packages(monkeypatch):
    """As on a machine with both packages of flash attention, and without the package kernels."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: name.startswith("flash") or found(name, *rest)
    )
    monkeypatch.setattr(import_utils, "is_kernels_available", lambda: False)


@pytest.mark.parametrize("attn", ["sdppa", "someone/kernel", "kernels-community/", "kernels-community/a/b", ""])
def test_an_unknown_name_lists_those_that_are_known(attn):
    assert refused(attn) == (
        f"attn {attn!r} is unknown; use sdpa, eager, flash_attention_2, flash_attention_3 or flex_attention, or a "
        "kernel of the Hub such as kernels-community/flash-attn2"
    )


@pytest.mark.parametrize("attn", ["sdpa", "eager", "flex_attention"])
@pytest.mark.parametrize("device", ["cpu", "mps", "cuda"])
def test_what_torch_has_itself_runs_everywhere(attn, device):
    check_attention(attn, device=device, dtype="float32")


@pytest.mark.parametrize("attn", ["flash_attention_3", "kernels-community/flash-attn3@main"])
def test_without_a_gpu_the_device_is_what_is_told(attn, no_packages):
    assert refused(attn, device="cpu", dtype="float32") == (
        f"attn {attn!r} runs on cuda, and the model computes on cpu; use sdpa, which every device has"
    )


def test_a_kernel_for_macs_runs_on_macs(monkeypatch):
    monkeypatch.setattr(import_utils, "is_kernels_available", lambda: True)
    check_attention("kernels-community/metal-flash-sdpa", device="mps", dtype="bfloat16")
    assert "runs on mps, and the model computes on cuda" in refused("kernels-community/metal-flash-sdpa")


@pytest.mark.parametrize(
    ("attn", "message"),
    [
        ("flash_attention_2", "needs the package flash-attn, which is not installed; `pip install flash-attn --no-b"),
        ("flash_attention_3", "needs the package flash-attn-3, which is not installed; build it from the folder hop"),
    ],
)
def test_a_missing_package_is_named_with_how_to_install_it(attn, message, no_packages):
    assert refused(attn).startswith(f"attn {attn!r} {message}")
    assert refused(attn).endswith(", or use sdpa")


def test_a_kernel_of_the_hub_needs_the_version_of_kernels_that_transformers_takes(no_packages):
    wanted = f"kernels>={import_utils.KERNELS_MIN_VERSION},<{import_utils.KERNELS_MAX_VERSION}"
    assert refused(KERNEL) == (
        f"attn {KERNEL!r} needs the package {wanted}, which fetches it from the Hub; `pip install '{wanted}'`, or use "
        "sdpa"
    )


def test_with_the_package_kernels_flash_attention_comes_from_the_hub(no_packages, monkeypatch):
    monkeypatch.setattr(import_utils, "is_kernels_available", lambda: True)
    for attn in ("flash_attention_2", "flash_attention_3", KERNEL, f"{KERNEL}@v1.0:flash_attn_func"):
        check_attention(attn, device="cuda", dtype="auto")


@pytest.mark.parametrize("attn", ["flash_attention_2", "flash_attention_3"])
def test_float32_is_refused(attn, packages):
    for dtype in ("auto", "bfloat16", "float16"):
        check_attention(attn, device="cuda", dtype=dtype)
    assert refused(attn, dtype="float32") == (
        f"attn {attn!r} computes in bfloat16 or float16, and dtype is float32; pass dtype=bfloat16, or use sdpa"
    )
    with pytest.raises(ArtQuantError, match="and the checkpoint is stored as float32; pass dtype=bfloat16, or use s"):
        check_loaded_type(attn, "float32")


def test_other_implementations_take_every_type():
    for attn in ("sdpa", "eager", "flex_attention"):
        check_loaded_type(attn, "float32")
    check_loaded_type(KERNEL, "bfloat16")


@pytest.mark.parametrize(
    ("name", "attn", "kind"),
    [
        ("qwen3_5", "flex_attention", "Qwen3_5ForConditionalGeneration"),
        ("gemma3", "flash_attention_2", "Gemma3ForConditionalGeneration"),
    ],
)
def test_an_architecture_without_the_implementation_is_one_line(name, attn, kind, tmp_path):
    save_checkpoint(tmp_path, *family(name), ScoringSpec())
    with pytest.raises(ArtQuantError) as caught:
        load_checkpoint(str(tmp_path), attn=attn, moved_later=True)  # the device of this machine is no matter here
    assert str(caught.value) == f"attn {attn!r} is not there for {kind}; use sdpa or eager"


def test_what_transformers_says_of_a_kernel_is_one_line():
    with (
        pytest.raises(
            ArtQuantError, match=r"attn '.*flash-attn2' cannot be had from the Hub \(An error .*\); look at"
        ),
        attention_errors_in_one_line(KERNEL),
    ):
        raise ValueError(f"An error occurred while trying to load from '{KERNEL}': no such build.")
    with pytest.raises(ValueError, match="^head_dim$"), attention_errors_in_one_line("sdpa"):
        raise ValueError("head_dim")


def test_every_name_is_one_that_transformers_knows():
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    assert set(ATTENTION) <= {"eager", *ALL_ATTENTION_FUNCTIONS.valid_keys()}
