"""The table of `artquant results`: for each run the counts, then the metrics with their intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from artquant_plugin.metrics.agreement import RESAMPLES, Agreement, Metric, evaluate
from artquant_plugin.metrics.unscored import at_median
from artquant_plugin.report.table_cells import Cell, Column, Count, Figure, Table, cell_text, number_text
from artquant_plugin.report.task_runs import TaskRun

TOO_FEW = "(too few)"  # in the place of the interval of a metric of fewer than `FEWEST` pairs
SROCC = Column("srocc", "SROCC [95 % interval]", "SROCC", bounds="shown")
PLCC = Column("plcc", "PLCC [95 % interval]", "PLCC", bounds="shown")
COLUMNS = (
    Column("task", "task", words=True, label=True),
    Column("model", "model", words=True, label=True),
    Column("prompt", "prompt", words=True, narrow=False),
    Column("n", "n", narrow=False),
    Column("scored", "scored"),
    Column("failed", "failed", reasons=True, narrow=False),
    Column("missing", "missing", narrow=False),
    SROCC,
    PLCC,
    Column("srocc_all", "SROCC, failed at median", "SROCC (all)", narrow=False),
    Column("plcc_all", "PLCC, failed at median", "PLCC (all)", narrow=False),
    Column("mae", "MAE", bounds="hidden", narrow=False),
    Column("rmse", "RMSE", bounds="hidden", narrow=False),
)


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row of the table.

    Args:
        task: name of the task, such as ``baid_cot``, with the attribute where one was asked for.
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

    def cells(self) -> tuple[Cell, ...]:
        """The cells of the row, in the order of `COLUMNS`."""
        failed = Count(self.failures)
        scored = 0 if self.scores is None else self.scores.n
        words = (self.task, self.model, self.prompt or None)
        counts = (scored + failed.total, scored, failed, self.missing)
        if self.scores is None:
            return (*words, *counts, *[None] * 6)
        return (
            *words,
            *counts,
            figure(self.scores.srocc, too_few=self.scores.too_few),
            figure(self.scores.plcc, too_few=self.scores.too_few),
            None if self.filled is None else figure(self.filled.srocc),
            None if self.filled is None else figure(self.filled.plcc),
            figure(self.scores.mae),
            figure(self.scores.rmse),
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
    return ResultRow(run.title, run.model, run.failures, run.missing, scores, filled, run.prompt)


def results_table(rows: Sequence[ResultRow], notes: Sequence[str] = ()) -> Table:
    """The table of runs.

    Args:
        rows: the rows, in the order in which they are to stand.
        notes: lines of text below the table.
    """
    return Table(
        name="results",
        title="",
        columns=COLUMNS,
        rows=[row.cells() for row in rows],
        notes=tuple(notes),
        caption="Agreement of predicted with human scores, with 95 % intervals in brackets",
    )


def figure(metric: Metric, *, too_few: bool = False) -> Figure:
    """A metric as a cell of a table.

    Args:
        metric: the metric, with or without an interval.
        too_few: whether there are too few pairs for an interval, which text then says.
    """
    return Figure(metric.value, metric.low, metric.high, TOO_FEW if too_few else "")


def with_interval(metric: Metric, *, too_few: bool = False) -> str:
    """A metric with three decimals and its 95 % interval, which is left out where it is NaN.

    Args:
        metric: the metric; a dash is returned where its value is NaN.
        too_few: whether there are too few pairs for an interval, which the text then says.
    """
    return cell_text(figure(metric, too_few=too_few), SROCC)


def number(value: float) -> str:
    """A figure with three decimals; a dash where it is NaN."""
    return number_text(value)
