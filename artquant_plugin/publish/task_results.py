"""Results of a checkpoint, read from lmms-eval's output folders; results of other weights are refused."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.agreement import Agreement
from artquant_plugin.report.results_table import row_of
from artquant_plugin.report.task_runs import TaskRun, read_runs

METRICS = ("srocc", "plcc", "mae", "rmse")


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The result of a checkpoint on one task.

    Args:
        run: the run of lmms-eval that the result comes from.
        agreement: metrics over the scored paintings.
        agreement_at_median: metrics over all paintings, with those without a score at the model's median.
        limit: the value of lmms-eval's `--limit`, a number of paintings or, below 1, a share; None without a limit.
    """

    run: TaskRun
    agreement: Agreement
    agreement_at_median: Agreement
    limit: float | None


def results_of(folders: Iterable[Path], weights: Iterable[str], checkpoint: str) -> list[TaskResult]:
    """Read the newest result of each task.

    Args:
        folders: the folders that lmms-eval's ``--output_path`` named.
        weights: the hashes of weights (`weights_hash`) under which the checkpoint may have been evaluated.
        checkpoint: name of the checkpoint, for messages.

    Returns:
        One result per task, in the order of the tasks' names.

    Raises:
        ArtQuantError: a folder holds no samples of a scoring task, samples are of other weights or do not say of
            which, no painting was scored, or the results file beside the samples is missing.
    """
    found: dict[str, TaskResult] = {}
    for run in read_runs(folders):
        measured = run.checkpoint or {}
        if not measured:
            raise ArtQuantError(
                f"the samples of {run.model!r} on {run.task!r} do not say which weights they are of; evaluate "
                f"{checkpoint!r} with this release of artquant-plugin"
            )
        if measured.get("weights") not in set(weights):
            raise ArtQuantError(
                f"the result of {run.model!r} on {run.task!r} was measured on other weights than those of "
                f"{checkpoint!r}; evaluate it again, or name other --results"
            )
        row = row_of(run)
        if row.scores is None or row.filled is None:
            raise ArtQuantError(f"{run.model!r} on {run.task!r} has no scored painting; evaluate it again")
        if run.task in found and found[run.task].run.date >= run.date:
            continue
        found[run.task] = TaskResult(run, row.scores, row.filled, _limit(run))
    return [found[task] for task in sorted(found)]


def _limit(run: TaskRun) -> float | None:
    try:
        content: dict[str, Any] = json.loads(run.results_file.read_text(encoding="utf-8"))
        return content["config"]["limit"]
    except (OSError, ValueError, KeyError) as error:
        raise ArtQuantError(
            f"'{run.results_file}' is missing or no results file of lmms-eval; no result is published without it"
        ) from error


def result_counts(result: TaskResult) -> dict[str, Any]:
    """The counts of a result that a card's metadata keep beside each metric.

    Args:
        result: the result of one task.

    Returns:
        The numbers of scored, failed and missing paintings, and the limit where there was one.

    Example:
        >>> from artquant_plugin.metrics.agreement import Metric
        >>> run = TaskRun("baid", "m", "d", 2, Path("samples.jsonl"), [])
        >>> agreement = Agreement(1, *[Metric(0.5, 0.4, 0.6)] * 4)
        >>> result_counts(TaskResult(run, agreement, agreement, None))
        {'n': 1, 'failed': 0, 'missing': 2}
    """
    counts: dict[str, Any] = {
        "n": result.agreement.n,
        "failed": sum(result.run.failures.values()),
        "missing": result.run.missing,
    }
    return counts if result.limit is None else {**counts, "limit": result.limit}
