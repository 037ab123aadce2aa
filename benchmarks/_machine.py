"""What benchmarks share: pictures to work on, this machine's peak, this process's memory."""

import resource
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def paintings(folder: Path, count: int, side: int) -> list[Path]:
    """JPEG files of smooth colours and grain, in four formats."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    files = []
    for index in range(count):
        size = [(side, side * 3 // 4), (side * 3 // 4, side), (side, side), (side, side * 9 // 16)][index % 4]
        coarse = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        pixels = np.asarray(coarse, dtype=np.int16) + rng.integers(-12, 12, (size[1], size[0], 3), dtype=np.int16)
        files.append(folder / f"{index:06}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of the best of some matrix products."""
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
    """Largest memory of this process, in bytes: the GPU's on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def synchronize(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
