"""Ctrl-C and SIGTERM while a run is under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """Calls `act` at such a signal, also where a shell started us with SIGINT ignored.

    Only a program's main thread can handle signals; in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        act()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None stands for a handler set by other than Python code: it cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def interrupt() -> None:
    """Raises `KeyboardInterrupt`, for SIGTERM as well: both end a run in the same order."""
    raise KeyboardInterrupt


def postpone() -> None:
    """Lets a signal pass unheard: workers are being ended, which takes a second or two."""
