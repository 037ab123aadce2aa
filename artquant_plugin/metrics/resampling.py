"""Resamples as counts over images that were sorted once, and the ranks in them (numpy only)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CHUNK = 128  # resamples whose counts are held at once: 10 MB for 10,000 pairs

FloatArray = NDArray[np.float64]


def resampled_counts(n: int, resamples: int, seed: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """How often each of n images is drawn, with replacement, in each resample.

    Args:
        n: images.
        resamples: R.
        seed: of `numpy.random.default_rng`.

    Yields:
        The number of the first resample and the counts of the next ones, shape (at most CHUNK, n).
    """
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, CHUNK):
        drawn = rng.integers(0, n, size=(min(CHUNK, resamples - start), n), dtype=np.int32)
        yield start, np.stack([np.bincount(images, minlength=n) for images in drawn])


def tie_groups(ascending: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """The groups of equal values.

    Args:
        ascending: n sorted values.

    Returns:
        The last position of each group, and the group of each position; None when all values differ.
    """
    ends = np.flatnonzero(np.append(np.diff(ascending) != 0, True))
    if len(ends) == len(ascending):
        return None
    return ends, np.searchsorted(ends, np.arange(len(ascending)))


def doubled_midranks(
    counts: NDArray[np.intp], ties: tuple[NDArray[np.intp], NDArray[np.intp]] | None
) -> tuple[FloatArray, float]:
    """Twice the mean rank, less twice the mean of all ranks, of each image in a resample; whole numbers.

    Args:
        counts: how often each image was drawn, in ascending order of their values; shape (n,). Integers: their
            running sum is several times faster than that of floats.
        ties: as `tie_groups` gives.

    Returns:
        Ranks, shape (n,), and the count-weighted sum of their squares.
    """
    n = len(counts)
    upto = np.cumsum(counts)
    sizes = counts
    if ties is not None:
        upto = upto[ties[0]]
        sizes = np.diff(upto, prepend=0)
    # The ranks of a group run from upto - size + 1 to upto; the mean of all n ranks is (n + 1) / 2.
    ranks = (2 * upto - sizes - n).astype(np.float64)
    squares = float((sizes * ranks) @ ranks)
    return ranks if ties is None else ranks[ties[1]], squares
