"""Computes histograms as coordinates that the page's template draws as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

WIDTH, HEIGHT = 640, 200  # of the plot's area, in SVG units


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis.

    Args:
        at: coordinate of the mark along the axis, in SVG units.
        label: the text beside the mark.
    """

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bin of a histogram as a rectangle.

    Args:
        x: left edge, in SVG units from the left.
        y: upper edge, in SVG units from the top.
        width: width of the bin in SVG units.
        height: height of the bar in SVG units; 0 for an empty bin.
        label: the bin's limits and share, as text for a tooltip or a screen reader.
    """

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars of one distribution and, over them, the outline of another on the same bins.

    Args:
        bars: one bar for each bin, from the left.
        outline: an SVG path; empty without a second distribution.
        horizontal: marks on the axis of the values.
        vertical: marks on the axis of the shares.
    """

    bars: tuple[Bar, ...]
    outline: str
    horizontal: tuple[Tick, ...]
    vertical: tuple[Tick, ...]


def histogram(
    values: ArrayLike, limits: tuple[float, float], bins: int, *, over: ArrayLike | None = None, whole: bool = False
) -> Histogram:
    """Compute the histogram of values: their shares in bins of equal width.

    Args:
        values: any number of numbers; without numbers all bars are empty.
        limits: lowest and highest value of the axis; values outside of them count in the first or last bin.
        bins: number of bins, from 1.
        over: other numbers, whose shares are drawn as an outline; None for no outline.
        whole: whether the values are whole numbers, so that marks on the axis are whole numbers, too.
    """
    low, high = limits
    edges = np.linspace(low, high, bins + 1)
    shares = _shares(values, edges)
    others = None if over is None else _shares(over, edges)
    top = _axis_end(float(max(shares.max(), 0 if others is None else others.max())))
    step = WIDTH / bins
    bars = []
    for number, share in enumerate(shares):
        height = HEIGHT * float(share) / top
        label = f"{edges[number]:g} to {edges[number + 1]:g}: {share:.1%}"
        if others is not None:
            label += f", outline {others[number]:.1%}"
        bars.append(Bar(round(number * step, 2), round(HEIGHT - height, 2), round(step, 2), round(height, 2), label))
    outline = ""
    if others is not None:
        levels = [round(HEIGHT - HEIGHT * float(share) / top, 2) for share in others]
        outline = f"M0 {HEIGHT}" + "".join(f" V{y} H{round((i + 1) * step, 2)}" for i, y in enumerate(levels))
        outline += f" V{HEIGHT}"
    count = 5
    marks = np.linspace(low, high, count + 1)
    horizontal = tuple(
        Tick(round(WIDTH * i / count, 2), f"{mark:.0f}" if whole else f"{mark:g}") for i, mark in enumerate(marks)
    )
    vertical = tuple(Tick(round(HEIGHT * (1 - i / 2), 2), f"{100 * top * i / 2:g} %") for i in range(3))
    return Histogram(tuple(bars), outline, horizontal, vertical)


def _shares(values: ArrayLike, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(np.asarray(values, dtype=np.float64), edges[0], edges[-1])
    counts, _ = np.histogram(inside, edges)
    return counts / max(len(inside), 1)


def _axis_end(share: float) -> float:
    """The end of an axis: the smallest of 1, 2 or 5 times a power of ten that is not below the share."""
    if share <= 0:
        return 1.0
    power = 10 ** np.floor(np.log10(share))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= share * (1 - 1e-9)))


def word_limit(levels: Sequence[NDArray[np.int64]], bins: int) -> int:
    """The end of an axis of numbers of words for several levels: a multiple of the number of bins.

    Args:
        levels: for each level the number of words of each text, shape (n,); one level and one text at least.
        bins: number of bins; the width of each bin becomes a whole number of words.
    """
    longest = max(int(np.ceil(np.quantile(words, 0.995))) for words in levels) + 1
    return bins * -(-longest // bins)
