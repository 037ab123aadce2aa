"""Bootstrap resamples as counts over images that were sorted once, and the mid-ranks in them (numpy only)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from artquant_plugin.common.progress import ProgressBar

CHUNK = 128  # resamples whose counts are in memory at the same time
CHUNK_COUNTS = 2**21  # counts that are in memory at the same time: 16 MiB; more images make smaller chunks
LARGEST = (
    50_000  # images; above it, intervals follow from influence values (`metrics.influence`), and nothing is drawn
)
SHOWN_AFTER = 2.0  # seconds of drawing after which a progress bar appears on a terminal

FloatArray = NDArray[np.float64]


def resampled_counts(n: int, resamples: int, seed: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Draw resamples of n images with replacement, and count how often each image was drawn.

    Args:
        n: number of images, at least 1.
        resamples: number of resamples; 0 yields nothing.
        seed: the seed of the generator (`numpy.random.default_rng`), a whole number from 0.

    Yields:
        The number of resamples that came before, and the counts of the next ones; shape (c, n) with c up to `CHUNK`.
        Each row sums to n. How many are drawn at once does not change what is drawn.
    """
    rng = np.random.default_rng(seed)
    chunk = max(1, min(CHUNK, CHUNK_COUNTS // n))
    with ProgressBar("bootstrap", "resample", resamples, delay=SHOWN_AFTER) as bar:
        for start in range(0, resamples, chunk):
            drawn = rng.integers(0, n, size=(min(chunk, resamples - start), n), dtype=np.int32)
            yield start, np.stack([np.bincount(images, minlength=n) for images in drawn])
            bar.advance(len(drawn))


def tie_groups(ascending: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Find the groups of equal values.

    Args:
        ascending: the n values, sorted in ascending order; shape (n,), with n at least 1.

    Returns:
        The last position of each of the g groups, shape (g,), and the number of the group that each position belongs
        to, shape (n,); None when all values differ.
    """
    ends = np.flatnonzero(np.append(ascending[1:] != ascending[:-1], True))
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
