"""What holds for every test: one thread, a time limit, and a Ctrl-C that arrives."""

import signal

import pytest
import torch

SECONDS, SLOW_SECONDS = 300, 1800
USUAL_SECONDS = 30  # what a slow test takes that does not say how long it takes


def pytest_configure(config):
    """Let SIGINT arrive at the programs that tests start.

    A shell starts background jobs with SIGINT ignored, and every child process inherits that, so that a test which
    interrupts a program would wait for ever. A handler of Python's is not inherited: children start with the default.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Limit each test's time, so that one that waits for ever fails, and begin with what takes longest.

    Where several processes share the tests, a long test or file at the end would leave the others waiting.
    """
    items.sort(key=lambda item: (-_told_seconds(item), "tests/train/" not in item.path.as_posix()))
    for item in items:
        if item.get_closest_marker("timeout") is None:
            slow = item.get_closest_marker("slow") is not None
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS if slow else SECONDS))


def _told_seconds(item) -> int:
    """How long a slow test takes by its mark, ``slow(seconds=…)``; 0 for other tests."""
    slow = item.get_closest_marker("slow")
    return 0 if slow is None else slow.kwargs.get("seconds", USUAL_SECONDS)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """One thread for models this small.

    Several cost more than they bring, many times more on a busy machine; and sums on another number of threads round
    differently, while some tests compare a run in this process with one in another, bit for bit.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
