"""The implementations of attention that a user can name, and where each of them runs."""

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line

ATTENTION = ("sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention")
# Kernels of other owners are compiled code of strangers, which transformers does not load either.
HUB_KERNEL = re.compile(r"kernels-community/[\w.-]+(@[\w./-]+)?(:\w+)?")
_EXAMPLE = "kernels-community/flash-attn2"


@dataclass(frozen=True, slots=True)
class FlashPackage:
    """The package of one version of flash attention.

    Args:
        package: the name by which pip knows it.
        module: the name by which Python imports it.
        remedy: what the user does to install it.
    """

    package: str
    module: str
    remedy: str


FLASH_PACKAGES = {
    "flash_attention_2": FlashPackage(
        "flash-attn",
        "flash_attn",
        "`pip install flash-attn --no-build-isolation`, which compiles it with nvcc",
    ),
    "flash_attention_3": FlashPackage(
        "flash-attn-3",
        "flash_attn_interface",
        "build it from the folder hopper/ of github.com/Dao-AILab/flash-attention; the package index does not have it",
    ),
}


def check_attention(attn: str, *, device: str, dtype: str) -> None:
    """Refuse an implementation of attention that is unknown or cannot run, before a checkpoint is read.

    Args:
        attn: one of `ATTENTION`, or a kernel of the Hub, ``kernels-community/NAME`` with an optional ``@revision``.
        device: the kind of the device that computes: cuda, mps or cpu.
        dtype: the type in which the model computes: float32, bfloat16, float16, or auto, which is not checked here.

    Raises:
        ArtQuantError: the name is unknown, the device or the type is one that the implementation has no code for, or
            its package is not installed.
    """
    is_kernel = HUB_KERNEL.fullmatch(attn) is not None
    if attn not in ATTENTION and not is_kernel:
        names = f"{', '.join(ATTENTION[:-1])} or {ATTENTION[-1]}, or a kernel of the Hub such as {_EXAMPLE}"
        raise ArtQuantError(f"attn {attn!r} is unknown; use {names}")
    if attn not in FLASH_PACKAGES and not is_kernel:
        return
    devices = _devices(attn)
    if device not in devices:
        raise ArtQuantError(
            f"attn {attn!r} runs on {' or '.join(devices)}, and the model computes on {device}; use sdpa, which every "
            "device has"
        )
    _check_package(attn)
    if dtype == "float32":
        raise ArtQuantError(
            f"attn {attn!r} computes in bfloat16 or float16, and dtype is float32; pass dtype=bfloat16, or use sdpa"
        )


def check_loaded_type(attn: str, dtype: str) -> None:
    """Refuse flash attention for a checkpoint whose own type it does not compute in.

    Args:
        attn: the implementation, as `check_attention` let it pass.
        dtype: the type of the loaded weights: float32, bfloat16 or float16.

    Raises:
        ArtQuantError: the weights are float32, and the implementation has no code for these.
    """
    if dtype == "float32" and (attn in FLASH_PACKAGES or HUB_KERNEL.fullmatch(attn)):
        raise ArtQuantError(
            f"attn {attn!r} computes in bfloat16 or float16, and the checkpoint is stored as float32; pass "
            "dtype=bfloat16, or use sdpa"
        )


@contextmanager
def attention_errors_in_one_line(attn: str) -> Iterator[None]:
    """Say what `transformers` raises in a block about the implementation of attention as what it is.

    Args:
        attn: the implementation that the model is loaded with, as `check_attention` let it pass.

    Raises:
        ArtQuantError: the architecture has no such implementation, or a kernel of the Hub cannot be fetched or loaded.
    """
    try:
        yield
    except (ValueError, ImportError) as error:
        reason = one_line(error)
        missing = re.match(r"(\w+) does not support (?:Flash Attention|an attention implementation)", reason)
        if missing:
            raise ArtQuantError(f"attn {attn!r} is not there for {missing[1]}; use sdpa or eager") from error
        if HUB_KERNEL.fullmatch(attn) or (attn in FLASH_PACKAGES and "trying to load from" in reason):
            raise ArtQuantError(
                f"attn {attn!r} cannot be had from the Hub ({reason}); look at its name and the network, or use sdpa"
            ) from error
        raise


def _devices(attn: str) -> tuple[str, ...]:
    """The kinds of devices that an implementation has code for; ROCm's GPUs are cuda to torch."""
    from transformers.modeling_flash_attention_utils import FLASH_ATTN_KERNEL_DEVICES, FLASH_ATTN_KERNEL_FALLBACK

    kernel = FLASH_ATTN_KERNEL_FALLBACK.get(attn, re.split("[@:]", attn)[0])
    devices = FLASH_ATTN_KERNEL_DEVICES.get(kernel, ("cuda",))
    return tuple(dict.fromkeys("cuda" if device == "rocm" else device for device in devices))


def _check_package(attn: str) -> None:
    """Refuse an implementation whose package is not there, and that `transformers` cannot take from the Hub either.

    `transformers` takes flash attention from the Hub where its package is absent and the package kernels is there.
    """
    from transformers.utils.import_utils import KERNELS_MAX_VERSION, KERNELS_MIN_VERSION, is_kernels_available

    if is_kernels_available():
        return
    kernels = f"kernels>={KERNELS_MIN_VERSION},<{KERNELS_MAX_VERSION}"
    if attn not in FLASH_PACKAGES:
        raise ArtQuantError(
            f"attn {attn!r} needs the package {kernels}, which fetches it from the Hub; `pip install '{kernels}'`, or "
            "use sdpa"
        )
    flash = FLASH_PACKAGES[attn]
    if importlib.util.find_spec(flash.module) is None:
        raise ArtQuantError(
            f"attn {attn!r} needs the package {flash.package}, which is not installed; {flash.remedy}, or use sdpa"
        )
