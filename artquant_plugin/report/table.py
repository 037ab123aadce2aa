"""Results as a table: counts first, then metrics with their intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from artquant_plugin.metrics import Metric, Scores

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
    scores: Scores | None
    filled: Scores | None = None
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
            _with_interval(self.scores.srocc),
            _with_interval(self.scores.plcc),
            "-" if self.filled is None else _number(self.filled.srocc.value),
            "-" if self.filled is None else _number(self.filled.plcc.value),
            _number(self.scores.mae.value),
            _number(self.scores.rmse.value),
        )


def text_table(rows: Sequence[ResultRow]) -> str:
    """Columns aligned by spaces, for a terminal."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown_table(rows: Sequence[ResultRow]) -> str:
    """A Markdown table."""
    lines = [HEADER, ("---",) * len(HEADER), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _with_interval(metric: Metric) -> str:
    if math.isnan(metric.low):
        return _number(metric.value)
    return f"{_number(metric.value)} [{metric.low:.3f}, {metric.high:.3f}]"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
