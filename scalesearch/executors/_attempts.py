"""One try of one job, step by step, in which whatever `assess` raises becomes a `Failure`."""

from __future__ import annotations

import logging
import sysconfig
import traceback
from collections.abc import Generator
from pathlib import Path

from scalesearch.errors import TrialError, UserError
from scalesearch.history.jobs import Failure, Infeasible, Job, Result, Score, Stopped
from scalesearch.interfaces import Assess

_LONGEST_TEXT = 1000
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
_FOREIGN = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")})

# `sys.exit` inside a job ends the job alone; a KeyboardInterrupt is the user's and passes through.
_RAISED_BY_A_JOB = (Exception, SystemExit)


class Attempt:
    """A job under way: `step` until something other than a `Score` comes back, or `stop`."""

    def __init__(self, assess: Assess, job: Job) -> None:
        self._assess, self._job = assess, job
        self._scores: Generator[Score, None, Result | Infeasible] | None = None

    def step(self) -> Score | Result | Infeasible | Failure:
        """The next score, or how the job ended."""
        try:
            if self._scores is None:
                self._scores = self._assess(self._job)
            return next(self._scores)
        except StopIteration as end:
            result: Result | Infeasible = end.value
            return result
        except _RAISED_BY_A_JOB as error:
            return failure_of(error)

    def stop(self, last: Score) -> Stopped | Failure:
        """Ends the job early; a `Failure` if its own cleaning up fails."""
        try:
            if self._scores is not None:
                self._scores.close()
        except _RAISED_BY_A_JOB as error:
            return failure_of(error)
        return Stopped(last)

    def close(self) -> None:
        """Ends the job, if it is still under way, for nobody who waits for an outcome."""
        try:
            if self._scores is not None:
                self._scores.close()
        except _RAISED_BY_A_JOB:
            logging.getLogger(__name__).exception("a stopped job could not clean up")


def failure_of(error: BaseException) -> Failure:
    """What the record says of an exception: its kind, and its reason in a few lines."""
    if isinstance(error, TrialError):
        return Failure("error", str(error))
    if isinstance(error, UserError):
        return Failure("user", str(error))
    text = str(error).strip()
    if len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT] + " …"
    reason = ": ".join(part for part in (type(error).__name__, text) if part) + _place(error)
    return Failure("memory" if _is_out_of_memory(error) else "error", reason)


def late(timeout: float) -> Failure:
    """The failure of a trial that took longer than its deadline of so many seconds."""
    return Failure("timeout", f"took longer than its deadline of {timeout:g} s")


def _is_out_of_memory(error: BaseException) -> bool:
    # By name, as torch and Ray have an OutOfMemoryError each and neither is imported for this.
    if any(kind.__name__ in ("MemoryError", "OutOfMemoryError") for kind in type(error).__mro__):
        return True
    text = str(error).lower()
    return isinstance(error, (RuntimeError, OSError)) and any(w in text for w in _OUT_OF_MEMORY)


def _place(error: BaseException) -> str:
    """` (folder/file.py:12)` of the innermost line that is no library's, or nothing."""
    places = [
        (frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    own = [
        (file, line)
        for file, line in places
        if file != __file__ and ("scalesearch" in file or not file.startswith(_FOREIGN))
    ]
    if not own:
        return ""
    file, line = own[-1]
    return f" ({'/'.join(Path(file).parts[-2:])}:{line})"
