"""What benchmarks share: making pictures, and measuring the machine's peak and the process's memory."""

import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def paintings(folder: Path, count: int, side: int) -> list[Path]:
    """Write JPEG files of smooth colours with grain, in four aspect ratios by turns.

    Args:
        folder: the folder of the files, which is made when absent.
        count: the number of files to write.
        side: the longer side of each picture, in pixels.

    Returns:
        The files' paths.
    """
    folder.mkdir(exist_ok=True)

    def write(index: int) -> Path:
        rng = np.random.default_rng(index)
        size = [(side, side * 3 // 4), (side * 3 // 4, side), (side, side), (side, side * 9 // 16)][index % 4]
        coarse = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        pixels = np.asarray(coarse, dtype=np.int16) + rng.integers(-12, 12, (size[1], size[0], 3), dtype=np.int16)
        file = folder / f"{index:06}.jpg"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, quality=90)
        return file

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(write, range(count)))


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of the fastest of several matrix products on a device in a type."""
    size, repeats = (8192, 20) if device.type == "cuda" else (2048, 8)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        left @ right
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def memory(device: torch.device) -> int:
    """The largest memory of this process so far, in bytes; of a GPU's memory where the device is one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished its queued work; on a CPU this returns at once."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
