"""What Ray Tune's hooks decide: which job a trial is, when it ends, when all is over."""

from __future__ import annotations

import math
import time

from scalesearch.executors._attempts import late
from scalesearch.executors._desk import Desk, Try
from scalesearch.executors._options import Options
from scalesearch.history.jobs import Failure, Infeasible, Job, Result, Score, Stopped

# What a worker sends: None while it idles after its job, an exception if it could not be prepared
# (which is no trial's fault).
Message = Score | Result | Infeasible | Failure | Exception | None

# Seconds that a worker idles at most for another one that is starting.
_PATIENCE = 30.0


class Conductor:
    """The state of a run behind Tune's hooks.

    Tune turns what its hooks raise into failed trials, so an error of the driver (and an
    interrupt) is kept in `error`: from then on the run is over, and the error is raised after it.

    Tune hands a waiting trial to any worker that becomes free and drops the worker that was
    starting for it, so that short trials would all run on one. A trial therefore lingers after
    its job, and its worker idles, as long as another trial waits for its worker.
    """

    def __init__(self, options: Options, desk: Desk) -> None:
        self._options, self._desk = options, desk
        self._current: dict[str, Try] = {}  # by Tune's name of a trial, like those below
        self._starting: dict[str, float] = {}
        self._started: dict[str, float] = {}
        self._lingering: set[str] = set()
        self.error: BaseException | None = None

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Tune pickles its hooks for a restart that is never made."""
        return {}

    @property
    def over(self) -> bool:
        """Whether no trial will be suggested any more."""
        try:
            return self.error is not None or self._desk.done
        except BaseException as error:
            return self._fail(error)

    def interrupt(self) -> None:
        """Ends the run at the next hook; at once if it is asked for twice."""
        if self.error is not None:
            raise KeyboardInterrupt
        self.error = KeyboardInterrupt()

    def suggest(self, trial: str) -> Job | None:
        """The job of a new trial, or None when all slots are taken or no job is there now."""
        taken = len(self._current) + len(self._lingering)
        try:
            if taken == self._options.slots or not self._desk.ready():
                return None
        except BaseException as error:
            self._fail(error)
            return None
        self._current[trial] = self._desk.take()
        self._starting[trial] = time.monotonic()
        return self._current[trial].job

    def started(self, trial: str) -> None:
        """Starts the clock of a trial: its worker is ready."""
        self._starting.pop(trial, None)
        self._started[trial] = time.monotonic()

    def received(self, trial: str, message: Message) -> bool:
        """Whether the trial is over after this message."""
        try:
            return self._receive(trial, message)
        except BaseException as error:
            return self._fail(error)

    def lost(self, trial: str, failure: Failure) -> None:
        """Sees to the job of a trial whose worker is gone, by its deadline or otherwise."""
        self._starting.pop(trial, None)
        self._lingering.discard(trial)
        current = self._current.pop(trial, None)
        if self.error is not None or current is None:
            return
        seconds = time.monotonic() - self._started.get(trial, math.inf)
        try:
            if seconds >= self._options.limit:
                self._desk.finish(current, late(self._options.limit))
            else:
                self._desk.lost(current, failure)
        except BaseException as error:
            self._fail(error)

    def close(self) -> None:
        """Raises what went wrong, or `KeyboardInterrupt` if Tune left jobs without an outcome."""
        if self.error is not None:
            raise self.error
        if self._current:
            raise KeyboardInterrupt("Ray Tune was stopped")

    def _receive(self, trial: str, message: Message) -> bool:
        if isinstance(message, Exception):
            raise message
        if isinstance(message, Score):
            if self._desk.keep(self._current[trial], message):
                return False
            self._desk.finish(self._current.pop(trial), Stopped(message))
            return True  # without lingering: Tune cannot tell the worker to idle
        if message is not None:
            self._lingering.add(trial)
            self._desk.finish(self._current.pop(trial), message)
        return self._may_leave(trial)

    def _may_leave(self, trial: str) -> bool:
        now = time.monotonic()
        if any(now - since < _PATIENCE for since in self._starting.values()):
            return False
        self._lingering.discard(trial)
        return True

    def _fail(self, error: BaseException) -> bool:
        self.error = self.error or error
        return True
