"""The scatter plot of predicted against human scores."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.text import one_line
from artquant_plugin.metrics.agreement import FEWEST, Agreement
from artquant_plugin.report.results_table import with_interval

TITLE_WIDTH = 70  # characters of the title that fit into the plot's width
LARGEST_DRAWN = 1e100  # largest score that is drawn; above it, matplotlib's positions may overflow
INK, DOT, GRID = "#1f2933", "#2f6f9f", "#d9dee3"


def draw_scatter(
    path: Path, predictions: Sequence[float], truths: Sequence[float], *, title: str, agreement: Agreement
) -> None:
    """Write a scatter plot as PNG: one dot per painting, the diagonal, and the metrics.

    Args:
        path: the PNG file to write; an existing file is replaced.
        predictions: the n predicted scores, all finite, with n at least 1.
        truths: the n human scores in the same order, all finite.
        title: the first line above the plot, such as the model and the task.
        agreement: the metrics of the same n pairs, for the lines above the plot.

    Raises:
        ArtQuantError: a score is too large to be drawn.
    """
    figure = Figure(figsize=(6, 6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    both = np.concatenate([np.asarray(predictions, dtype=float), np.asarray(truths, dtype=float)])
    largest = float(np.abs(both).max())
    if largest > LARGEST_DRAWN:
        raise ArtQuantError(f"scores up to {largest:g} cannot be drawn; leave out --plot, or mend the scores")
    # Where all scores are almost the same, the axes still need ends that differ.
    margin = max(0.04 * (np.ptp(both) or 1.0), 1e-9 * largest)
    limits = (float(both.min() - margin), float(both.max() + margin))
    axes.plot(limits, limits, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    # Dots fade as they crowd, so that 6,000 of them still show where they are dense.
    alpha = float(np.clip(10 / np.sqrt(len(truths)), 0.08, 0.7))
    axes.scatter(truths, predictions, s=14, color=DOT, alpha=alpha, linewidths=0, zorder=2)
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel="human score", ylabel="predicted score")
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
    figures = f"SROCC {with_interval(agreement.srocc)}   PLCC {with_interval(agreement.plcc)}"
    few = f", too few for intervals (fewer than {FEWEST})" if agreement.too_few else ""
    axes.set_title(
        f"{one_line(title, TITLE_WIDTH)}\nn = {agreement.n:,}{few}\n{figures}",
        parse_math=False,  # a dollar sign in a file's name begins no formula
        fontsize=11,
        color=INK,
        loc="left",
    )
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    with atomic_write(path, "wb") as file:
        file.write(buffer.getvalue())
