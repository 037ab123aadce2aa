"""Counts of a run, and its progress bar."""

from dataclasses import dataclass, field

from artquant_plugin.bulk.rows import ScoreRow
from artquant_plugin.common.progress import ProgressBar


@dataclass
class ScoreSummary:
    """What a bulk run did.

    Args:
        rows: number of rows in the output, of this process's share.
        failed: number of these rows that have no score.
        computed: number of rows, with a score or without, that this run added; earlier runs wrote the others.
        seconds: duration of this run, the loading of the model included.
        reasons: why the first images of this run have no score; three reasons at most.
        finished: whether the output was complete before this run began.
        resorted: whether this run sorted the rows of an output that was complete.
    """

    rows: int = 0
    failed: int = 0
    computed: int = 0
    seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)
    finished: bool = False
    resorted: bool = False

    def lines(self) -> list[str]:
        """Lines to print: the counts first, then reasons, then this run's rate."""
        lines = [f"scored {self.rows - self.failed:,}, failed {self.failed:,}"]
        if self.resorted:
            return [*lines, "nothing to compute: an earlier run finished this output, whose rows are sorted now"]
        if self.finished:
            return [*lines, "nothing to do: an earlier run finished this output (--overwrite computes it again)"]
        lines += [f"  {reason}" for reason in self.reasons]
        if self.rows > self.computed:
            lines.append(f"{self.rows - self.computed:,} of them by earlier runs")
        if self.computed:
            rate = self.computed / max(self.seconds, 1e-9)
            lines.append(f"{self.computed:,} images in {self.seconds:.1f} s ({rate:.1f} images/s, loading included)")
        return lines


class ScoreMeter:
    """Counts rows and shows them as a progress bar.

    Args:
        total: number of rows; None when it is not known.
        show: draw a bar, where the error stream is a terminal.

    Attributes:
        summary: the counts so far, without the seconds.
    """

    REASONS = 3

    def __init__(self, total: int | None, *, show: bool) -> None:
        self.summary = ScoreSummary()
        self._bar = ProgressBar("score", "image", total, show=show)

    def earlier(self, rows: int, failed: int) -> None:
        """Count rows that an earlier run wrote.

        Args:
            rows: how many, those without a score included.
            failed: how many of them have no score.
        """
        self.summary.rows += rows
        self.summary.failed += failed
        self._tell()
        self._bar.skip(rows)

    def row(self, row: ScoreRow) -> None:
        """Count a row of this run.

        Args:
            row: with its score, or with the reason why it has none.
        """
        self.summary.rows += 1
        self.summary.computed += 1
        if row["reason"] is not None:
            self.summary.failed += 1
            if len(self.summary.reasons) < self.REASONS:
                self.summary.reasons.append(row["reason"])
            self._tell()
        self._bar.advance()

    def computed(self, rows: int, failed: int) -> None:
        """Count rows of this run that another process made.

        Args:
            rows: how many, those without a score included.
            failed: how many of them have no score.
        """
        self.summary.rows += rows
        self.summary.computed += rows
        self.summary.failed += failed
        self._tell()
        self._bar.advance(rows)

    def _tell(self) -> None:
        if self.summary.failed:
            self._bar.tell(failed=self.summary.failed)

    def close(self) -> ScoreSummary:
        """Stop counting.

        Returns:
            The counts, with the seconds since the meter was made.
        """
        self.summary.seconds = self._bar.close()
        return self.summary
