"""The figures of the studies, in the look of the report: rows with error bars, curves, and a matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from artquant_plugin.common.appearance import LIGHT, LIGHT_SERIES
from artquant_plugin.common.drawing import in_our_style, new_figure
from artquant_plugin.metrics.repeated_runs import Spread

FloatArray = NDArray[np.float64]
MARKS = (("SROCC", "o", LIGHT_SERIES[0]), ("PLCC", "s", LIGHT_SERIES[1]))


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """A row of a table, for its figure.

    Args:
        dataset: Name of the dataset, as in the table.
        label: What the row was trained on.
        srocc: SROCC of the runs, one per seed.
        plcc: PLCC of the runs, one per seed.
    """

    dataset: str
    label: str
    srocc: Spread
    plcc: Spread


@in_our_style
def rows_figure(rows: Sequence[MeasuredRow], *, title: str, caption: str) -> Figure:
    """SROCC and PLCC of the rows of a table, with the standard deviation over seeds, and a dot for each seed.

    Args:
        rows: The rows of all datasets, those of a dataset together.
        title: One line above the figure.
        caption: Whole sentences that stand below the figure.
    """
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    figure = new_figure(7.5, 1.6 + 0.42 * len(rows) + 0.5 * len(datasets), title=title, caption=caption)
    counts = [sum(row.dataset == name for row in rows) for name in datasets]
    grid = figure.subplots(len(datasets), squeeze=False, sharex=True, height_ratios=counts)
    for axes, name in zip(grid[:, 0], datasets, strict=True):
        own = [row for row in rows if row.dataset == name]
        for offset, (metric, mark, colour) in zip((-0.14, 0.14), MARKS, strict=True):
            found = [row.srocc if metric == "SROCC" else row.plcc for row in own]
            places = np.arange(len(own)) + offset
            for place, each in zip(places, found, strict=True):
                axes.plot(each.values, [place] * len(each.values), ".", color=colour, alpha=0.45, markersize=4)
            axes.errorbar(
                [each.mean for each in found],
                places,
                xerr=[each.sd for each in found],
                fmt=mark,
                color=colour,
                capsize=3,
                markersize=6,
                label=metric,
            )
        axes.set_yticks(range(len(own)), [row.label for row in own])
        axes.set_ylim(len(own) - 0.5, -0.5)
        axes.set_title(name, loc="left", fontsize="medium")
        axes.grid(axis="y", visible=False)
    grid[-1, 0].set_xlabel("correlation with human scores: mean over seeds, ± standard deviation, and each seed")
    grid[0, 0].legend(loc="upper left", bbox_to_anchor=(1, 1.02))
    return figure


@dataclass(frozen=True, slots=True)
class MeasuredCurve:
    """Points of one dataset.

    Args:
        dataset: Name of the dataset, as in the table.
        x: Place of each point, in percent.
        agreement: Mean of SROCC and PLCC at each point, over the seeds.
        loss: Generation loss at each point, over the seeds; None where the figure has none.
    """

    dataset: str
    x: Sequence[float]
    agreement: Sequence[Spread]
    loss: Sequence[Spread] | None = None


@in_our_style
def curves_figure(curves: Sequence[MeasuredCurve], *, title: str, caption: str, x_label: str) -> Figure:
    """The agreement with people against a share in percent, and where it was measured the generation loss beside it.

    Args:
        curves: A curve for each dataset.
        title: One line above the figure.
        caption: Whole sentences that stand below the figure.
        x_label: What the share is of.
    """
    figure = new_figure(7.5, 1.3 + 2.9 * len(curves), title=title, caption=caption)
    grid = figure.subplots(len(curves), squeeze=False, sharex=True)
    for axes, curve in zip(grid[:, 0], curves, strict=True):
        _errors(axes, curve.x, curve.agreement, LIGHT["good"], "o-", "mean of SROCC and PLCC")
        axes.set_ylabel("mean of SROCC and PLCC")
        axes.set_title(curve.dataset, loc="left", fontsize="medium")
        axes.set_xlim(0, 104)
        handles, labels = axes.get_legend_handles_labels()
        if curve.loss is not None:
            other = axes.twinx()
            _errors(other, curve.x, curve.loss, LIGHT_SERIES[1], "s--", "generation loss")
            other.set_ylabel("generation loss, nats per token")
            other.grid(visible=False)
            other.spines["right"].set_visible(True)
            more = other.get_legend_handles_labels()
            handles, labels = handles + more[0], labels + more[1]
            axes.legend(handles, labels, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    grid[-1, 0].set_xlabel(x_label)
    return figure


def _errors(axes: Axes, x: Sequence[float], found: Sequence[Spread], colour: str, form: str, label: str) -> None:
    axes.errorbar(
        x,
        [each.mean for each in found],
        yerr=[each.sd for each in found],
        fmt=form,
        color=colour,
        capsize=3,
        markersize=5,
        label=label,
    )


@in_our_style
def matrix_figure(
    names: tuple[Sequence[str], Sequence[str]], values: FloatArray, *, title: str, caption: str
) -> Figure:
    """A matrix of correlations as coloured squares with their values.

    Args:
        names: Names of the rows (trained on) and of the columns (tested on).
        values: The values; shape (rows, columns), NaN where there is none.
        title: One line above the figure.
        caption: Whole sentences that stand below the figure.
    """
    rows, columns = names
    figure = new_figure(2.6 + 1.1 * len(columns), 2.4 + 0.8 * len(rows), title=title, caption=caption)
    axes = figure.subplots()
    colours = LinearSegmentedColormap.from_list("correlation", [LIGHT["sheet"], LIGHT["accent"]])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    shown = axes.imshow(values, cmap=colours, vmin=min(low, high - 0.05) - 0.05, vmax=high, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        dark = value > (low + high) / 2
        colour = LIGHT["sheet"] if dark else LIGHT["ink"]
        axes.text(column, row, "–" if np.isnan(value) else f"{value:.3f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel="tested on", ylabel="trained on")
    axes.grid(visible=False)
    figure.colorbar(shown, ax=axes, label="SROCC, mean over seeds", ticks=MaxNLocator(5))
    return figure


@dataclass(frozen=True, slots=True)
class MeasuredBound:
    """Both sides of Theorem 3 on one dataset, as means over the seeds.

    Args:
        dataset: Name of the dataset in the configuration.
        y_given_z: H(Y|Z) in nats, the left side.
        d_given_z: H(D|Z) in nats, a term of the right side.
        y_given_d: H(Y|D) in nats, a term of the right side.
        looser_by: What epsilon adds to the right side, in nats.
    """

    dataset: str
    y_given_z: float
    d_given_z: float
    y_given_d: float
    looser_by: float


@in_our_style
def bounds_figure(found: Sequence[MeasuredBound], *, title: str, caption: str) -> Figure:
    """The two sides as bars below each other, the right one in its terms.

    Args:
        found: The sides for each dataset.
        title: One line above the figure.
        caption: Whole sentences that stand below the figure.
    """
    figure = new_figure(7.5, 2.6 + 0.9 * len(found), title=title, caption=caption)
    axes = figure.subplots()
    places = np.arange(len(found)) * 2.5
    axes.barh(places, [each.y_given_z for each in found], color=LIGHT_SERIES[0], label="H(Y|Z)")
    start = np.zeros(len(found))
    terms = {
        "H(Y|D)": [each.y_given_d for each in found],
        "epsilon log K + H2(epsilon)": [each.looser_by for each in found],
        "H(D|Z)": [each.d_given_z for each in found],
    }
    for (label, values), colour in zip(terms.items(), LIGHT_SERIES[1:], strict=False):
        axes.barh(places + 1, values, left=start, color=colour, label=label)
        start = start + np.array(values)
    ticks = [place for each in places for place in (each, each + 1)]
    axes.set_yticks(ticks, [f"{each.dataset}: {side}" for each in found for side in ("left side", "right side")])
    axes.set_ylim(ticks[-1] + 0.6, -0.6)
    axes.set_xlabel("nats")
    axes.grid(axis="y", visible=False)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1.02))
    return figure
