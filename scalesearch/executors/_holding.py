"""What outlives one run, so that the next one finds it: a cluster that was started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

_HELD: ContextVar[ExitStack | None] = ContextVar("held", default=None)


@contextmanager
def holding() -> Iterator[None]:
    """Keeps what runs within it start, from the first that starts something until it is left."""
    with ExitStack() as stack:
        token = _HELD.set(stack)
        try:
            yield
        finally:
            _HELD.reset(token)


@contextmanager
def until_released() -> Iterator[ExitStack]:
    """A stack for what a run starts: the one of `holding` around it, or one of its own."""
    held = _HELD.get()
    if held is not None:
        yield held
        return
    with ExitStack() as stack:
        yield stack
