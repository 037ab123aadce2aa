"""The cells of the tables on a page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from artquant_plugin.metrics.agreement import FEWEST, Metric
from artquant_plugin.report.published_figures import PublishedFigures
from artquant_plugin.report.results_table import number
from artquant_plugin.report.table_cells import NONE


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table on a page.

    Args:
        text: the text that the cell shows.
        sort: the value that the column is sorted by; empty for a cell without one, which comes last.
        style: CSS classes of the cell, such as ``num`` or ``heat-3``.
        title: the full text for screen readers and tooltips; empty when `text` says everything.
        whisker: lower bound, value and upper bound of an interval, in per cent of the column's axis; None for none.
        below: a second line in smaller letters; empty for none.
    """

    text: str
    sort: str = ""
    style: str = ""
    title: str = ""
    whisker: tuple[float, float, float] | None = None
    below: str = ""


def axis(*groups: Sequence[Metric]) -> tuple[float, float]:
    """The ends of the axis on which intervals are drawn.

    Args:
        groups: metrics that share the axis; NaN values do not count.

    Returns:
        The lower end, 0 or a tenth below the lowest bound, and the upper end, a tenth above the highest; 0 and 1 where
        there is no value at all.
    """
    bounds = [bound for group in groups for metric in group for bound in (metric.low, metric.value, metric.high)]
    finite = [bound for bound in bounds if not math.isnan(bound)]
    if not finite:
        return 0.0, 1.0
    return min(0.0, math.floor(10 * min(finite)) / 10), max(0.1, math.ceil(10 * max(finite)) / 10)


def metric_cell(metric: Metric | None, low: float, high: float, *, too_few: bool = False) -> Cell:
    """A correlation with its interval, drawn and in figures.

    Args:
        metric: the correlation; a dash is shown where it is None or NaN, and no interval where its bounds are NaN.
        low: lower end of the column's axis.
        high: upper end of the column's axis, above `low`.
        too_few: whether there are too few paintings for an interval, which the cell then says.
    """
    if metric is None or math.isnan(metric.value):
        return Cell(NONE, "", "num")
    bounds = (metric.low, metric.high)
    if math.isnan(metric.low):
        return _without_interval(metric, "num metric", too_few)
    percent = tuple(100 * (bound - low) / (high - low) for bound in (metric.low, metric.value, metric.high))
    tooltip = f"95 % interval {bounds[0]:.3f} to {bounds[1]:.3f}"
    whisker = (percent[0], percent[1], percent[2])
    return Cell(
        number(metric.value), str(metric.value), "num metric", tooltip, whisker, f"{bounds[0]:.3f} – {bounds[1]:.3f}"
    )


def plain_cell(metric: Metric | None, *, too_few: bool = False) -> Cell:
    """A correlation with its interval in figures.

    Args:
        metric: the correlation; a dash is shown where it is None or NaN.
        too_few: whether there are too few paintings for an interval, which the cell then says.
    """
    if metric is None or math.isnan(metric.value):
        return Cell(NONE, "", "num")
    if math.isnan(metric.low):
        return _without_interval(metric, "num", too_few)
    tooltip = f"95 % interval {metric.low:.3f} to {metric.high:.3f}"
    return Cell(number(metric.value), str(metric.value), "num", tooltip, below=f"{metric.low:.3f} – {metric.high:.3f}")


def _without_interval(metric: Metric, style: str, too_few: bool) -> Cell:
    """The cell of a correlation without an interval; it says so where the cause is too few paintings."""
    tooltip = f"too few paintings for an interval, which takes {FEWEST} or more" if too_few else ""
    return Cell(number(metric.value), str(metric.value), style, tooltip, below="too few" if too_few else "")


def published_cell(row: PublishedFigures | None, metric: str) -> Cell:
    """A figure that a paper prints, with a star and a title where something looks wrong about it.

    Args:
        row: the published figures; None for an empty cell.
        metric: which of the two figures to show, ``srocc`` or ``plcc``.
    """
    if row is None:
        return Cell(NONE, "", "num published")
    value = row.srocc if metric == "srocc" else row.plcc
    return Cell(f"{value:.3f}" + (" *" if row.note else ""), str(value), "num published", row.note)


def figure_cell(value: float | None) -> Cell:
    """A figure with three decimals; a dash where it is None or NaN."""
    return Cell(NONE, "", "num") if value is None or math.isnan(value) else Cell(number(value), str(value), "num")


def count_cell(value: int) -> Cell:
    """A count, with commas between thousands."""
    return Cell(f"{value:,}", str(value), "num")
