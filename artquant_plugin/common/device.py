"""The device that computes: which one a machine has, what it cannot do, and how much memory it used."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from artquant_plugin.common.errors import ArtQuantError

GIB = 2**30
# Names that torch gives to instructions that multiply matrices of bfloat16: of x86's AVX-512 and AMX, and of ARM.
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def default_device(*, cuda: bool | None = None, mps: bool | None = None) -> str:
    """The device that computes when the user names none.

    Args:
        cuda: whether there is a GPU for CUDA or ROCm; None to ask torch.
        mps: whether there is a GPU for Metal, as Macs have; None to ask torch.

    Returns:
        ``cuda`` where there is such a GPU, else ``mps`` where there is one, else ``cpu``.
    """
    if torch.cuda.is_available() if cuda is None else cuda:
        return "cuda"
    if torch.backends.mps.is_available() if mps is None else mps:
        return "mps"
    return "cpu"


def check_device(device: str, *, cuda: bool | None = None, mps: bool | None = None) -> str:
    """Check a device that the user named.

    Args:
        device: torch's name of a device, such as ``cuda``, ``cuda:1``, ``mps`` or ``cpu``.
        cuda: whether there is a GPU for CUDA or ROCm; None to ask torch.
        mps: whether there is a GPU for Metal, as Macs have; None to ask torch.

    Returns:
        The kind of the device, which is its name without the number: ``cuda``, ``mps``, ``cpu``.

    Raises:
        ArtQuantError: torch knows no such device, or this machine has none.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ArtQuantError(f"device {device!r} is unknown; use cpu, cuda, cuda:1 or mps") from error
    available = {
        "cuda": torch.cuda.is_available() if cuda is None else cuda,
        "mps": torch.backends.mps.is_available() if mps is None else mps,
    }
    if not available.get(kind, True):
        instead = default_device(cuda=cuda, mps=mps)
        raise ArtQuantError(f"device {device!r} is not there, torch finds no GPU of that kind; use {instead}")
    return kind


def cpu_capabilities() -> Mapping[str, Any]:
    """The instruction sets of this machine's CPU, by torch's names for them; empty in releases that cannot tell."""
    return getattr(torch.cpu, "get_capabilities", dict)()


def cpu_computes_bfloat16() -> bool:
    """Whether this machine's CPU has instructions that multiply matrices of bfloat16.

    Without them, torch computes the products in a way that takes five times as long as in float32.
    """
    capabilities = cpu_capabilities()
    return any(capabilities.get(name, False) for name in BFLOAT16_INSTRUCTIONS)


@contextmanager
def subnormals_as_zero(device: torch.device) -> Iterator[None]:
    """Have a CPU take numbers below 1.2e-38 as zero in this thread, and in threads that torch starts in the block.

    A CPU computes slowly with such numbers. The decays of linear attention are full of them, so that a Qwen3.5 of
    random weights takes 1.5 times as long with them; no score depends on them.

    Args:
        device: the device that computes in the block. For another one than a CPU, nothing is done.
    """
    if device.type != "cpu" or _subnormals_are_zero():
        yield
        return
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)  # numpy, which warns where it finds it so, shares the setting


def start_threads(device: str) -> None:
    """Start torch's threads so that they take subnormal numbers as zero, as `subnormals_as_zero` says.

    Threads keep this setting of the thread that starts them. Those that run already are not changed, so this has to
    come before a model is loaded.

    Args:
        device: torch's name of the device that will compute; threads are started for a CPU alone.
    """
    with subnormals_as_zero(torch.device(device)):
        if torch.device(device).type == "cpu":
            torch.ones(2**20).mul(2)  # torch computes with all threads from 32,768 numbers on


def _subnormals_are_zero() -> bool:
    """Whether this thread takes numbers below 1.2e-38 as zero already."""
    return not torch.tensor(torch.finfo(torch.float32).tiny).mul(0.5).item()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, on the CPU or on a GPU."""
    said = ("allocate memory", "MPS backend out of memory")  # by torch on a CPU and on a Mac's GPU
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in said)


def check_compile(device: str) -> None:
    """Refuse `torch.compile` where torch 2.14 offers it as a prototype only.

    Args:
        device: torch's name of the device that the model is on.

    Raises:
        ArtQuantError: the device is a GPU for Metal.
    """
    if torch.device(device).type == "mps":
        raise ArtQuantError(f"compile=True runs on cuda or cpu, not on {device!r}; leave it out, or use cpu")


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished the work that was queued on it; on a CPU this returns at once."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_memory() -> float:
    """The largest memory of this process so far, in GiB; where there is a GPU, of its memory.

    Metal does not record the largest. On Macs with such a GPU, the result is the memory that its driver holds now; the
    driver seldom gives memory back.
    """
    kind = default_device()
    if kind == "cuda":
        return torch.cuda.max_memory_allocated() / GIB
    if kind == "mps":
        return torch.mps.driver_allocated_memory() / GIB
    if sys.platform == "win32":
        import psutil  # a dependency of accelerate; it knows the peak on Windows alone

        return psutil.Process().memory_info().peak_wset / GIB
    import resource  # Windows has no such module

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / GIB  # bytes on Macs, KiB elsewhere
