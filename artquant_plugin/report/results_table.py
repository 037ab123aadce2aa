"""Results as a table: counts first, then metrics with their intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from artquant_plugin.metrics.agreement import RESAMPLES, Agreement, Metric, evaluate
from artquant_plugin.metrics.unscored import at_median
from artquant_plugin.report.table_formats import aligned, markdown_rows
from artquant_plugin.report.task_runs import TaskRun

HEADER = (
    "task",
    "model",
    "prompt",
    "n",
    "scored",
    "failed",
    "missing",
    "SROCC [95 % interval]",
    "PLCC [95 % interval]",
    "SROCC, failed at median",
    "PLCC, failed at median",
    "MAE",
    "RMSE",
)


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One line of the table.

    Args:
        task: its name.
        model: its name.
        failures: paintings without a prediction, by reason.
        missing: paintings that the dataset's import could not use.
        scores: metrics over the scored paintings; None when none was scored.
        filled: the same over all paintings, those without a score at the model's median.
        prompt: name and version of the prompt.
    """

    task: str
    model: str
    failures: Mapping[str, int]
    missing: int
    scores: Agreement | None
    filled: Agreement | None = None
    prompt: str = ""

    def cells(self) -> tuple[str, ...]:
        """The line as text, in the header's order."""
        failed = sum(self.failures.values())
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.failures.items()))
        scored = 0 if self.scores is None else self.scores.n
        counts = (
            self.prompt or "-",
            f"{scored + failed:,}",
            f"{scored:,}",
            f"{failed:,}" + (f" ({reasons})" if failed else ""),
            f"{self.missing:,}",
        )
        if self.scores is None:
            return (self.task, self.model, *counts, "-", "-", "-", "-", "-", "-")
        return (
            self.task,
            self.model,
            *counts,
            with_interval(self.scores.srocc),
            with_interval(self.scores.plcc),
            "-" if self.filled is None else number(self.filled.srocc.value),
            "-" if self.filled is None else number(self.filled.plcc.value),
            number(self.scores.mae.value),
            number(self.scores.rmse.value),
        )


def row_of(run: TaskRun, *, resamples: int = RESAMPLES, seed: int = 0) -> ResultRow:
    """The line of a run.

    Args:
        run: as lmms-eval left it.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    scores = filled = None
    if run.ids:
        scores = evaluate(run.ids, run.predictions, run.truths, resamples=resamples, seed=seed)
        if run.has_own_unit:  # in a unit of their own, which has no error against human scores
            scores = replace(scores, mae=Metric(math.nan), rmse=Metric(math.nan))
        filled = evaluate(
            [*run.ids, *run.unscored],
            at_median([*run.predictions, *[None] * len(run.unscored)]),
            [*run.truths, *run.unscored.values()],
            resamples=0,
        )
    return ResultRow(run.task, run.model, run.failures, run.missing, scores, filled, run.prompt)


def text_table(rows: Sequence[ResultRow]) -> str:
    """Columns aligned by spaces, for a terminal."""
    return aligned([HEADER, *(row.cells() for row in rows)])


def markdown_table(rows: Sequence[ResultRow]) -> str:
    """A Markdown table."""
    return markdown_rows([HEADER, *(row.cells() for row in rows)])


def with_interval(metric: Metric) -> str:
    """A figure and its 95 % interval, where it has one."""
    if math.isnan(metric.low):
        return number(metric.value)
    return f"{number(metric.value)} [{metric.low:.3f}, {metric.high:.3f}]"


def number(value: float) -> str:
    """Three decimals; a dash where there is no figure."""
    return "-" if math.isnan(value) else f"{value:.3f}"
