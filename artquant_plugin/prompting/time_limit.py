"""A time limit for Python code of somebody else, such as a chat template, on any thread and any operating system."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class TooLong(Exception):
    """The code did not end within its time limit."""


@contextmanager
def time_limit(seconds: float, followed: str) -> Iterator[None]:
    """Stop the code of a block in this thread when it has run for too long.

    The interpreter calls back at every call of a Python function, and at every line of the followed files, where the
    time is looked at. A signal would reach the main thread of a Unix process alone. One operation of the interpreter
    that takes long by itself, such as a power of large numbers, is not interrupted.

    Args:
        seconds: how long the block may run, above 0.
        followed: the name of the source file whose loops are followed line by line, as code objects have it; templates
            of jinja2 have ``<template>``.

    Raises:
        TooLong: the limit was passed. It is raised inside the block's code.
    """
    end = time.monotonic() + seconds

    def check(frame: FrameType, event: str, argument: Any) -> Any:
        if time.monotonic() > end:
            raise TooLong(f"it has not ended after {seconds:g} s")
        return check if frame.f_code.co_filename == followed else None

    before = sys.gettrace()  # of a debugger, or of a measurement of coverage
    sys.settrace(check)
    try:
        yield
    finally:
        sys.settrace(before)
