"""Counts of a run, and its progress bar."""

import time
from dataclasses import dataclass, field

from tqdm import tqdm

from artquant_plugin.bulk.rows import ScoreRow


@dataclass
class Summary:
    """What a run did.

    Args:
        rows: in the output, of this process's share.
        failed: of these, without a score.
        computed: scored or failed in this run; the others were there.
        seconds: of this run.
        reasons: of the first failures of this run.
        finished: the output was complete before this run began.
    """

    rows: int = 0
    failed: int = 0
    computed: int = 0
    seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)
    finished: bool = False

    def lines(self) -> list[str]:
        """Counts first."""
        lines = [f"scored {self.rows - self.failed:,}, failed {self.failed:,}"]
        if self.finished:
            return [*lines, "nothing to do: an earlier run finished this output (--overwrite computes it again)"]
        lines += [f"  {reason}" for reason in self.reasons]
        if self.rows > self.computed:
            lines.append(f"{self.rows - self.computed:,} of them by earlier runs")
        if self.computed:
            rate = self.computed / max(self.seconds, 1e-9)
            lines.append(f"{self.computed:,} images in {self.seconds:.1f} s ({rate:.1f} images/s, loading included)")
        return lines


class Meter:
    """Counts rows and shows them.

    Args:
        total: number of rows, when known.
        show: whether to draw a bar; drawn on terminals alone.
    """

    REASONS = 3

    def __init__(self, total: int | None, *, show: bool) -> None:
        self.summary = Summary()
        self._started = time.monotonic()
        self._bar = tqdm(total=total, unit="image", desc="score", disable=None if show else True)

    def earlier(self, rows: int, failed: int) -> None:
        """Rows that were there."""
        self.summary.rows += rows
        self.summary.failed += failed
        if not self._bar.disable:
            self._bar.initial += rows  # the rate is of this run alone
            self._bar.n += rows
            self._bar.refresh()

    def row(self, row: ScoreRow) -> None:
        """A row of this run."""
        self.summary.rows += 1
        self.summary.computed += 1
        if row["reason"] is not None:
            self.summary.failed += 1
            if len(self.summary.reasons) < self.REASONS:
                self.summary.reasons.append(row["reason"])
        self._bar.update()

    def computed(self, rows: int, failed: int) -> None:
        """Rows of this run that another process made."""
        self.summary.rows += rows
        self.summary.computed += rows
        self.summary.failed += failed
        self._bar.update(rows)

    def close(self) -> Summary:
        """Stop the clock."""
        self._bar.close()
        self.summary.seconds = time.monotonic() - self._started
        return self.summary
