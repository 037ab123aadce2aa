"""The plot of predicted against human scores: a dot for each painting, or their density where there are many."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from artquant_plugin.common.appearance import LIGHT, LIGHT_DENSITY, LIGHT_SERIES, MANY_PAINTINGS
from artquant_plugin.common.drawing import in_our_style, new_figure, write_png
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line
from artquant_plugin.metrics.agreement import FEWEST, Agreement, Metric

TITLE_WIDTH = 60  # characters of the title that fit into the plot's width
LARGEST_DRAWN = 1e100  # largest score that is drawn; above it, matplotlib's positions may overflow
HEXAGONS = 36  # across the plot


def draw_scatter(
    path: Path, predictions: Sequence[float], truths: Sequence[float], *, title: str, agreement: Agreement
) -> None:
    """Write a plot of predicted against human scores as PNG, with the diagonal and the metrics.

    Up to `MANY_PAINTINGS` paintings are dots. More of them would cover each other: they are counted in hexagons,
    which are the darker the more paintings lie in them, with a scale of colours beside the plot.

    Args:
        path: the PNG file to write; an existing file is replaced.
        predictions: the n predicted scores, all finite, with n at least 1.
        truths: the n human scores in the same order, all finite.
        title: the line above the plot, such as the model and the task; a longer one than fits is cut.
        agreement: the metrics of the same n pairs, for the text below the plot.

    Raises:
        ArtQuantError: a score is too large to be drawn.
    """
    write_png(path, scatter_figure(predictions, truths, title=title, agreement=agreement))


@in_our_style
def scatter_figure(
    predictions: Sequence[float], truths: Sequence[float], *, title: str, agreement: Agreement
) -> Figure:
    """The plot that `draw_scatter` writes.

    Args:
        predictions: the n predicted scores, all finite, with n at least 1.
        truths: the n human scores in the same order, all finite.
        title: the line above the plot, such as the model and the task; a longer one than fits is cut.
        agreement: the metrics of the same n pairs, for the text below the plot.

    Raises:
        ArtQuantError: a score is too large to be drawn.
    """
    predicted, human = np.asarray(predictions, dtype=float), np.asarray(truths, dtype=float)
    limits = _limits(np.concatenate([predicted, human]))
    width = 6.9 if len(human) > MANY_PAINTINGS else 6  # with room for the scale of colours
    figure = new_figure(width, 6.4, title=one_line(title, TITLE_WIDTH), caption=caption(agreement))
    axes = figure.subplots()
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel="human score", ylabel="predicted score")
    axes.plot(
        limits,
        limits,
        color=LIGHT["ink"],
        linewidth=1,
        linestyle=(0, (4, 3)),
        zorder=3,
        path_effects=[withStroke(linewidth=2.2, foreground=LIGHT["sheet"])],  # so that it is seen on dark hexagons
    )
    if len(human) > MANY_PAINTINGS:
        _draw_density(figure, axes, human, predicted, limits)
    else:
        # Dots fade as they crowd, so that 1,000 of them still show where they are dense.
        alpha = float(np.clip(10 / np.sqrt(len(human)), 0.45, 0.7))
        axes.scatter(human, predicted, s=14, color=LIGHT_SERIES[0], alpha=alpha, linewidths=0, zorder=2)
    return figure


def caption(agreement: Agreement) -> str:
    """What the plot shows, in whole sentences: the number of paintings, SROCC and PLCC with their intervals, the line.

    Args:
        agreement: the metrics of the paintings in the plot.
    """
    paintings = f"{agreement.n:,} painting{'' if agreement.n == 1 else 's'}"
    figures = f"SROCC {_in_words(agreement.srocc)} and PLCC {_in_words(agreement.plcc)}"
    few = f" Fewer than {FEWEST} paintings are too few for intervals." if agreement.too_few else ""
    density = " The darker a hexagon, the more paintings it holds." if agreement.n > MANY_PAINTINGS else ""
    return f"{paintings}: {figures}.{few}{density} On the dashed line, prediction and human score are equal."


def _in_words(metric: Metric) -> str:
    if math.isnan(metric.value):
        return "does not exist"
    interval = "" if math.isnan(metric.low) else f" (95 % interval {metric.low:.3f} to {metric.high:.3f})"
    return f"{metric.value:.3f}{interval}"


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of both axes: a little beyond all values."""
    largest = float(np.abs(values).max())
    if largest > LARGEST_DRAWN:
        raise ArtQuantError(f"scores up to {largest:g} cannot be drawn; leave out --plot, or mend the scores")
    # Where all scores are almost the same, the axes still need ends that differ.
    margin = max(0.04 * (np.ptp(values) or 1.0), 1e-9 * largest)
    return float(values.min() - margin), float(values.max() + margin)


def _draw_density(
    figure: Figure,
    axes: Axes,
    human: NDArray[np.float64],
    predicted: NDArray[np.float64],
    limits: tuple[float, float],
) -> None:
    """Count the paintings in hexagons; the colours' scale is logarithmic, so that a single painting shows as well."""
    cells = axes.hexbin(
        human,
        predicted,
        gridsize=(HEXAGONS, round(HEXAGONS / math.sqrt(3))),  # which makes the hexagons regular
        extent=(*limits, *limits),
        mincnt=1,
        linewidths=0.2,
        cmap=LinearSegmentedColormap.from_list("density", LIGHT_DENSITY),
        zorder=2,
    )
    most = int(np.asarray(cells.get_array()).max())
    cells.set_norm(LogNorm(1, max(most, 2)))
    bar = figure.colorbar(cells, ax=axes, shrink=0.8, pad=0.02, label="paintings per hexagon, on a logarithmic scale")
    bar.ax.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.outline.set_visible(False)
