"""Cells of a page's tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from artquant_plugin.metrics.agreement import Metric
from artquant_plugin.report.board_tables import NONE
from artquant_plugin.report.published_figures import PublishedFigures
from artquant_plugin.report.results_table import number


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell.

    Args:
        text: shown.
        sort: what its column sorts by; empty for nothing, which comes last.
        style: of the cell: ``num``, ``heat-3``, ...
        title: said in full, for screen readers and pointers; empty when the text says everything.
        whisker: low, value and high in per cent of the column's axis.
        below: a second line, smaller.
    """

    text: str
    sort: str = ""
    style: str = ""
    title: str = ""
    whisker: tuple[float, float, float] | None = None
    below: str = ""


def axis(*groups: Sequence[Metric]) -> tuple[float, float]:
    """From zero, or the lowest bound when it is lower, to the next tenth above the highest."""
    bounds = [bound for group in groups for metric in group for bound in (metric.low, metric.value, metric.high)]
    finite = [bound for bound in bounds if not math.isnan(bound)]
    if not finite:
        return 0.0, 1.0
    return min(0.0, math.floor(10 * min(finite)) / 10), max(0.1, math.ceil(10 * max(finite)) / 10)


def metric_cell(metric: Metric | None, low: float, high: float) -> Cell:
    """A correlation with its interval, drawn and in figures."""
    if metric is None or math.isnan(metric.value):
        return Cell(NONE, "", "num")
    bounds = (metric.low, metric.high)
    if math.isnan(metric.low):
        return Cell(number(metric.value), str(metric.value), "num metric")
    percent = tuple(100 * (bound - low) / (high - low) for bound in (metric.low, metric.value, metric.high))
    said = f"95 % interval {bounds[0]:.3f} to {bounds[1]:.3f}"
    whisker = (percent[0], percent[1], percent[2])
    return Cell(
        number(metric.value), str(metric.value), "num metric", said, whisker, f"{bounds[0]:.3f} – {bounds[1]:.3f}"
    )


def plain_cell(metric: Metric | None) -> Cell:
    """A correlation with its interval in figures."""
    if metric is None or math.isnan(metric.value):
        return Cell(NONE, "", "num")
    said = "" if math.isnan(metric.low) else f"95 % interval {metric.low:.3f} to {metric.high:.3f}"
    below = "" if math.isnan(metric.low) else f"{metric.low:.3f} – {metric.high:.3f}"
    return Cell(number(metric.value), str(metric.value), "num", said, below=below)


def printed_cell(row: PublishedFigures | None, metric: str) -> Cell:
    """What a paper prints; its title says what is odd about it."""
    if row is None:
        return Cell(NONE, "", "num published")
    value = row.srocc if metric == "srocc" else row.plcc
    return Cell(f"{value:.3f}" + (" *" if row.note else ""), str(value), "num published", row.note)


def figure_cell(value: float | None) -> Cell:
    """A figure; a dash where there is none."""
    return Cell(NONE, "", "num") if value is None or math.isnan(value) else Cell(number(value), str(value), "num")


def count_cell(value: int) -> Cell:
    """A count."""
    return Cell(f"{value:,}", str(value), "num")
