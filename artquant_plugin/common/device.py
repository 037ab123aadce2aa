"""The device that computes: which one a machine has, what it cannot do, and how much memory it used."""

import sys

import torch

from artquant_plugin.common.errors import ArtQuantError

GIB = 2**30


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
