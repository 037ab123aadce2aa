"""The table of `artquant results`: for each run the counts, then the metrics with their intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from artquant_plugin.metrics.agreement import RESAMPLES, Agreement, Metric, evaluate
from artquant_plugin.metrics.unscored import at_median
from artquant_plugin.report.table_formats import aligned, markdown_rows
from artquant_plugin.report.task_runs import TaskRun

TOO_FEW = "(too few)"  # in the place of the interval of a metric of fewer than `FEWEST` pairs
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
    """One row of the table. `artquant results --json` prints these fields under these names.

    Args:
        task: name of the task, such as ``baid_cot``.
        model: name of the model, as `TaskRun.model` has it.
        failures: number of paintings without a prediction, by reason.
        missing: number of paintings that the dataset's import could not use.
        scores: metrics over the scored paintings; None when no painting was scored.
        filled: metrics over all paintings, with those without a prediction at the model's median and without
            intervals; None when no painting was scored.
        prompt: name and version of the prompt; empty where it is not known.
    """

    task: str
    model: str
    failures: Mapping[str, int]
    missing: int
    scores: Agreement | None
    filled: Agreement | None = None
    prompt: str = ""

    def cells(self) -> tuple[str, ...]:
        """The cells of the row as text, in the order of `HEADER`."""
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
            with_interval(self.scores.srocc, too_few=self.scores.too_few),
            with_interval(self.scores.plcc, too_few=self.scores.too_few),
            "-" if self.filled is None else number(self.filled.srocc.value),
            "-" if self.filled is None else number(self.filled.plcc.value),
            number(self.scores.mae.value),
            number(self.scores.rmse.value),
        )


def row_of(run: TaskRun, *, resamples: int = RESAMPLES, seed: int = 0) -> ResultRow:
    """Compute the row of a run.

    Args:
        run: the run, read from lmms-eval's output folder.
        resamples: number of bootstrap resamples; 0 leaves the intervals out.
        seed: the seed of the resampling.
    """
    scores = filled = None
    if run.ids:
        scores = evaluate(run.ids, run.predictions, run.truths, resamples=resamples, seed=seed)
        if run.has_own_unit:
            scores = replace(scores, mae=Metric(math.nan), rmse=Metric(math.nan))
        filled = evaluate(
            [*run.ids, *run.unscored],
            at_median([*run.predictions, *[None] * len(run.unscored)]),
            [*run.truths, *run.unscored.values()],
            resamples=0,
        )
    return ResultRow(run.task, run.model, run.failures, run.missing, scores, filled, run.prompt)


def text_table(rows: Sequence[ResultRow]) -> str:
    """The table with columns aligned by spaces, for a terminal."""
    return aligned([HEADER, *(row.cells() for row in rows)])


def markdown_table(rows: Sequence[ResultRow]) -> str:
    """The table in Markdown."""
    return markdown_rows([HEADER, *(row.cells() for row in rows)])


def with_interval(metric: Metric, *, too_few: bool = False) -> str:
    """A metric with three decimals and its 95 % interval, which is left out where it is NaN.

    Args:
        metric: the metric; a dash is returned where its value is NaN.
        too_few: whether there are too few pairs for an interval, which the text then says.
    """
    if math.isnan(metric.low):
        return number(metric.value) + (f" {TOO_FEW}" if too_few and not math.isnan(metric.value) else "")
    return f"{number(metric.value)} [{metric.low:.3f}, {metric.high:.3f}]"


def number(value: float) -> str:
    """A figure with three decimals; a dash where it is NaN."""
    return "-" if math.isnan(value) else f"{value:.3f}"
