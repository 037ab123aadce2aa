"""The progress bar as a terminal shows it, and its silence elsewhere."""

import io
from contextlib import redirect_stderr

from artquant_plugin.common.progress import ProgressBar, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def last(stream):
    return stream.getvalue().rstrip().split("\r")[-1]


def test_a_terminal_shows_title_count_and_further_counts():
    with redirect_stderr(Terminal()) as terminal, ProgressBar("score", "image", 2000) as bar:
        bar.skip(1200)
        bar.tell(failed=1234, cost="0.50")
        bar.advance(300)
        bar.draw()
        assert bar.close() >= 0
    shown = last(terminal)
    assert shown.startswith("score:  75%") and "1500/2000" in shown and "failed 1,234, cost 0.50" in shown


def test_an_unknown_total_is_a_count_alone():
    with redirect_stderr(Terminal()) as terminal:
        assert list(progress(iter("abc"), "read", "row", None)) == ["a", "b", "c"]
    assert last(terminal).startswith("read: 3row [")


def test_nothing_is_drawn_elsewhere():
    with redirect_stderr(io.StringIO()) as stream:
        assert list(progress([1, 2], "read", "row", 2)) == [1, 2]
    assert stream.getvalue() == ""


def test_a_process_that_is_not_the_first_draws_nothing():
    with redirect_stderr(Terminal()) as terminal, ProgressBar("score", "image", 2, show=False) as bar:
        bar.skip(1)
        bar.tell(failed=1)
        bar.advance()
        bar.draw()
    assert terminal.getvalue() == ""
