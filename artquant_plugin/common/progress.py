"""The progress bar of every command and model, with a unit and with counts behind it."""

import time
from collections.abc import Iterable, Iterator
from typing import Self, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


class ProgressBar:
    """A bar on the error stream; a context manager.

    Args:
        title: a word before the bar that says what is being done, such as "score".
        unit: what is counted, in the singular.
        total: how many there are; None when that is not known, so that there is a count and no bar.
        show: False draws nothing at all, as for all processes but the first.
        in_files: whether the bar is also written where the error stream is no terminal. Our commands write none there;
            a model of lmms-eval does, as its other models do, since evaluations on clusters are watched in log files.
        delay: seconds before the bar is drawn for the first time; work that is done by then shows none.
    """

    def __init__(
        self,
        title: str,
        unit: str,
        total: int | None,
        *,
        show: bool = True,
        in_files: bool = False,
        delay: float = 0.0,
    ) -> None:
        self._started = time.monotonic()
        on_terminals_only = None  # how tqdm spells it
        self._bar = tqdm(
            total=total,
            desc=title,
            unit=unit,
            disable=(False if in_files else on_terminals_only) if show else True,
            delay=delay,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def skip(self, count: int) -> None:
        """Count what an earlier run did; the rate that is shown leaves it out.

        Args:
            count: how many more were there already.
        """
        if not self._bar.disable:
            self._bar.initial += count
            self._bar.n += count
            self._bar.refresh()

    def advance(self, count: int = 1) -> None:
        """Count what is done now.

        Args:
            count: how many more are done.
        """
        self._bar.update(count)

    def tell(self, **counts: int | str) -> None:
        """Set the counts behind the bar; they appear when the bar is next drawn, by `advance` or `draw`.

        Args:
            **counts: each with its name, in the order in which they are shown; numbers get thousands separators.
        """
        if not self._bar.disable:
            told = (
                f"{name} {count:,}" if isinstance(count, int) else f"{name} {count}" for name, count in counts.items()
            )
            self._bar.set_postfix_str(", ".join(told), refresh=False)

    def draw(self) -> None:
        """Draw the bar now, though nothing more may be done."""
        if not self._bar.disable:
            self._bar.refresh()

    def close(self) -> float:
        """Leave the bar as it stands.

        Returns:
            Seconds since the bar was made.
        """
        self._bar.close()
        return time.monotonic() - self._started


def progress(items: Iterable[Item], title: str, unit: str, total: int | None, *, delay: float = 0.0) -> Iterator[Item]:
    """Pass items on and show how many were taken.

    Args:
        items: taken one by one, as the caller asks for them.
        title: a word before the bar that says what is being done.
        unit: what an item is, in the singular.
        total: number of items; None when that is not known.
        delay: seconds before the bar is drawn for the first time; items that are all taken by then show none.
    """
    with ProgressBar(title, unit, total, delay=delay) as bar:
        for item in items:
            yield item
            bar.advance()
