"""Counts what a process does while it works on a run, for the progress bar and the summary."""

from collections import Counter
from dataclasses import dataclass

from artquant_plugin.common.progress import ProgressBar
from artquant_plugin.train.rad.store import RunStore
from artquant_plugin.train.rad.store_rows import Change


@dataclass
class RadSummary:
    """What a run directory holds after a process worked on it, and what that process did.

    Args:
        counts: number of paintings by state, of the whole run directory.
        reasons: number of failed paintings by reason, of the whole run directory, the most frequent first.
        cost: sum of the costs of all exchanges in the run directory, in the configuration's currency.
        finished: number of paintings that were accepted or failed in this process.
        requests: number of exchanges of this process.
        seconds: time for which this process worked.
        left: number of unfinished paintings among those chosen for this process, with those in open batches.
        interrupted: whether the user stopped the run.
        over_budget: whether ``--max-cost`` stopped the run.
    """

    counts: dict[str, int]
    reasons: dict[str, int]
    cost: float
    finished: int = 0
    requests: int = 0
    seconds: float = 0.0
    left: int = 0
    interrupted: bool = False
    over_budget: bool = False

    @property
    def fruitless(self) -> bool:
        """Whether no description was accepted, though paintings were asked about or the money was used up."""
        return not self.counts["accepted"] and (self.counts["failed"] > 0 or self.over_budget)

    def lines(self) -> list[str]:
        """Return the lines to print: first the counts, then this process's rate, then how to go on."""
        lines = [", ".join(f"{state} {count:,}" for state, count in self.counts.items())]
        lines += [f"  {count:,} {reason}" for reason, count in self.reasons.items()]
        if self.finished or self.requests:
            rate = self.requests / max(self.seconds, 1e-9)
            lines.append(
                f"{self.finished:,} paintings, {self.requests:,} requests in {self.seconds:.1f} s "
                f"({rate:.1f} requests/s); cost so far {self.cost:.4f}"
            )
        if self.over_budget:
            lines.append(f"stopped at --max-cost with {self.left:,} paintings to go; raise it and run again to go on")
        elif self.interrupted:
            lines.append(f"stopped with {self.left:,} paintings to go; run again to go on")
        elif self.left:
            lines.append(f"{self.left:,} paintings are with the Batch API; run with --batch to fetch their replies")
        elif not self.finished and not self.requests:
            lines.append("nothing to do (--retry-failed asks again about failed paintings)")
        return lines


def summary(store: RunStore) -> RadSummary:
    """Summarize what a run's store holds; the fields about this process's work keep their defaults.

    Args:
        store: the run's store, open for reading or writing.
    """
    return RadSummary(store.counts(), store.reasons(), store.cost())


class RadMeter:
    """Counts what a process does to a run, and shows it as a progress bar.

    Args:
        total: number of unfinished paintings that this process is to work on.
        refining: number of paintings of the whole run in the state ``refining``.
        cost: sum of the costs of all exchanges so far, in the configuration's currency.
        show: draw a progress bar if the error stream is a terminal.

    Attributes:
        finished: number of paintings that were accepted or failed in this process, by state.
        requests: number of exchanges of this process.
    """

    def __init__(self, total: int, refining: int, cost: float, show: bool = True) -> None:
        self.refining = refining
        self.cost = cost
        self.finished: Counter[str] = Counter()
        self.requests = 0
        self._drawn = 0
        self._bar = ProgressBar("rad", "painting", total, show=show)

    def count_exchange(self, cost: float) -> None:
        """Count a request that has ended.

        Args:
            cost: what the request cost, in the configuration's currency.
        """
        self.requests += 1
        self.cost += cost

    def count_change(self, change: Change, *, begun: bool) -> None:
        """Count a painting whose new state is written.

        Args:
            change: the painting's new state, as the store has it.
            begun: whether the painting's former state was ``refining``.
        """
        self.refining += (change.state == "refining") - begun
        if change.state != "refining":
            self.finished[change.state] += 1

    def draw(self) -> None:
        """Bring the bar up to date."""
        self._bar.tell(
            accepted=self.finished["accepted"],
            refining=self.refining,
            failed=self.finished["failed"],
            cost=f"{self.cost:.2f}",
        )
        self._bar.advance(self.finished.total() - self._drawn)
        self._drawn = self.finished.total()
        self._bar.draw()

    def close(self) -> float:
        """Draw the bar for the last time.

        Returns:
            Seconds since the meter was made.
        """
        self.draw()
        return self._bar.close()
