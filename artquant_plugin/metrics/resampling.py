"""Bootstrap resamples as counts over images that were sorted once, and the mid-ranks in them (numpy only)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CHUNK = 128  # resamples whose counts are in memory at the same time: 10 MB for 10,000 images

FloatArray = NDArray[np.float64]


def resampled_counts(n: int, resamples: int, seed: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Draw resamples of n images with replacement, and count how often each image was drawn.

    Args:
        n: number of images, at least 1.
        resamples: number of resamples; 0 yields nothing.
        seed: the seed of the generator (`numpy.random.default_rng`), a whole number from 0.

    Yields:
        The number of resamples that came before, and the counts of the next ones; shape (c, n) with c up to `CHUNK`.
        Each row sums to n.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, CHUNK):
        drawn = rng.integers(0, n, size=(min(CHUNK, resamples - start), n), dtype=np.int32)
        yield start, np.stack([np.bincount(images, minlength=n) for images in drawn])


def tie_groups(ascending: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Find the groups of equal values.

    Args:
        ascending: the n values, sorted in ascending order; shape (n,), with n at least 1.

    Returns:
        The last position of each of the g groups, shape (g,), and the number of the group that each position belongs
        to, shape (n,); None when all values differ.
    """
    ends = np.flatnonzero(np.append(np.diff(ascending) != 0, True))
    if len(ends) == len(ascending):
        return None
    return ends, np.searchsorted(ends, np.arange(len(ascending)))


def doubled_midranks(
    counts: NDArray[np.intp], ties: tuple[NDArray[np.intp], NDArray[np.intp]] | None
) -> tuple[FloatArray, float]:
    """Centred mid-ranks of the images in a resample, doubled so that they stay integers.

    Args:
        counts: how often each image was drawn, with the images in ascending order of their values; shape (n,). The
            counts are integers, because the running sum of integers is several times faster than that of floats.
        ties: the groups of equal values that `tie_groups` found; None when all values differ.

    Returns:
        The doubled ranks less their mean, shape (n,), and the count-weighted sum of their squares. The sum is 0 when
        the resample is constant.
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
