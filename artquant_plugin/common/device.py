"""Which device computes, and what a kind of device cannot do."""

import sys

import torch

from artquant_plugin.common.errors import ArtQuantError

GIB = 2**30


def default_device(*, cuda: bool | None = None, mps: bool | None = None) -> str:
    """The device that computes when nobody names one.

    Args:
        cuda: whether there is a GPU for CUDA or ROCm; None to ask torch.
        mps: whether there is a GPU for Metal, as Macs have; None to ask torch.

    Returns:
        ``cuda`` where such a GPU is, else ``mps`` where one is, else ``cpu``.
    """
    if torch.cuda.is_available() if cuda is None else cuda:
        return "cuda"
    if torch.backends.mps.is_available() if mps is None else mps:
        return "mps"
    return "cpu"


def check_device(device: str, *, cuda: bool | None = None, mps: bool | None = None) -> str:
    """The kind of a device that a user named.

    Args:
        device: ``cuda``, ``cuda:1``, ``mps``, ``cpu``.
        cuda: as in `default_device`.
        mps: as in `default_device`.

    Returns:
        The name without the number: ``cuda``, ``mps``, ``cpu``.

    Raises:
        ArtQuantError: torch knows no such device, or this machine has none.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ArtQuantError(f"device {device!r} is unknown; use cpu, cuda, cuda:1 or mps") from error
    there = {
        "cuda": torch.cuda.is_available() if cuda is None else cuda,
        "mps": torch.backends.mps.is_available() if mps is None else mps,
    }
    if not there.get(kind, True):
        instead = default_device(cuda=cuda, mps=mps)
        raise ArtQuantError(f"device {device!r} is not there, torch finds no GPU of that kind; use {instead}")
    return kind


def check_compile(device: str) -> None:
    """Refuse `torch.compile` where torch 2.14 offers it as a prototype only.

    Args:
        device: as in `check_device`.

    Raises:
        ArtQuantError: it is a GPU for Metal.
    """
    if torch.device(device).type == "mps":
        raise ArtQuantError(f"compile=True runs on cuda or cpu, not on {device!r}; leave it out, or use cpu")


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given; on a CPU nothing is waited for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_memory() -> float:
    """Memory of this process in GiB: of its GPU where there is one.

    Returns:
        The largest so far. Metal tells no largest, so on Macs with such a GPU it is what its driver holds now, which
        keeps what it has once taken.
    """
    kind = default_device()
    if kind == "cuda":
        return torch.cuda.max_memory_allocated() / GIB
    if kind == "mps":
        return torch.mps.driver_allocated_memory() / GIB
    if sys.platform == "win32":
        import psutil  # of accelerate; elsewhere it tells no largest

        return psutil.Process().memory_info().peak_wset / GIB
    import resource  # Windows has no such module

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest * (1 if sys.platform == "darwin" else 1024) / GIB
