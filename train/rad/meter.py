"""What a run did, counted as it goes: the progress bar and the summary."""

import time
from collections import Counter
from dataclasses import dataclass, field

from tqdm import tqdm

from artquant_plugin.train.rad.rows import Change
from artquant_plugin.train.rad.store import RunStore


@dataclass
class RadSummary:
    """What a run left.

    Args:
        counts: paintings by state, of the whole run directory.
        reasons: failed paintings by reason.
        cost: of all exchanges so far, in the configuration's currency.
        finished: paintings that this process brought to an end.
        requests: exchanges of this process.
        seconds: that it worked.
        left: unfinished paintings that this process was to work on.
        interrupted: stopped by the user.
        over_budget: stopped by ``--max-cost``.
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

    def lines(self) -> list[str]:
        """Counts first."""
        lines = [", ".join(f"{state} {count:,}" for state, count in self.counts.items())]
        lines += [f"  {count:,} {reason}" for reason, count in self.reasons.items()]
        if self.finished or self.requests:
            pace = self.requests / max(self.seconds, 1e-9)
            lines.append(
                f"{self.finished:,} paintings, {self.requests:,} requests in {self.seconds:.1f} s "
                f"({pace:.1f} requests/s); cost so far {self.cost:.4f}"
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
    """The counts, the reasons and the cost that a run's store holds, without the work of this process."""
    return RadSummary(store.counts(), store.reasons(), store.cost())


@dataclass
class RadMeter:
    """Counts and shows.

    Args:
        total: paintings that are to be finished.
        refining: of these, already begun.
        cost: so far.
        show: whether to draw a bar; drawn on terminals alone.
    """

    total: int
    refining: int
    cost: float
    show: bool = True
    finished: Counter[str] = field(default_factory=Counter)
    requests: int = 0

    def __post_init__(self) -> None:
        self._started = time.monotonic()
        self._bar = tqdm(total=self.total, unit="painting", desc="rad", disable=None if self.show else True)

    def exchange(self, cost: float) -> None:
        """A request is through."""
        self.requests += 1
        self.cost += cost

    def change(self, change: Change, *, begun: bool) -> None:
        """A painting's state is written.

        Args:
            change: what it became.
            begun: whether it was ``refining`` before.
        """
        self.refining += (change.state == "refining") - begun
        if change.state != "refining":
            self.finished[change.state] += 1

    def draw(self) -> None:
        """Bring the bar up to date."""
        if not self._bar.disable:
            self._bar.set_postfix_str(
                f"accepted {self.finished['accepted']:,}, refining {self.refining:,}, failed "
                f"{self.finished['failed']:,}, cost {self.cost:.2f}",
                refresh=False,
            )
            self._bar.update(self.finished.total() - self._bar.n)
            self._bar.refresh()

    def close(self) -> float:
        """Stop the clock; the seconds."""
        self.draw()
        self._bar.close()
        return time.monotonic() - self._started
