"""Ctrl-C and SIGTERM during a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_interrupt(handler: Callable[[], None]) -> Iterator[None]:
    """Calls `handler` at SIGINT and SIGTERM, also where a shell started us with SIGINT ignored.

    Only a program's main thread can handle signals; in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        handler()

    previous = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, before in previous.items():
            # None stands for a handler set by other than Python code: it cannot be restored.
            signal.signal(number, signal.SIG_DFL if before is None else before)


@contextmanager
def interrupt_deferred() -> Iterator[None]:
    """Raises an interrupt when the block has ended; a second one at once.

    For what crashes the process if it is left half done.
    """
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            raise KeyboardInterrupt

    try:
        with on_interrupt(count):
            yield
    finally:
        if seen:
            raise KeyboardInterrupt


def raise_interrupt() -> None:
    """Raises `KeyboardInterrupt`, for SIGTERM as well: both end a run in the same order."""
    raise KeyboardInterrupt


def ignore_interrupt() -> None:
    """Ignores the signal: workers are being ended, which takes a second or two."""
