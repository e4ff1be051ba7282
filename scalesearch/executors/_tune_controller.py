"""What Ray Tune's hooks decide: which job a trial is, when it ends, when the run is over."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scalesearch.executors._failures import timeout_failure
from scalesearch.executors._job_queue import JobQueue, QueuedJob
from scalesearch.executors._options import Options
from scalesearch.history.jobs import Failure, Infeasible, Job, Result, Score, Stopped

# What a worker sends: None while it idles after its job, an exception if it could not be prepared
# (which is not the fault of a trial).
Message = Score | Result | Infeasible | Failure | Exception | None

# Seconds that a worker idles at most while another one starts.
_IDLE_WAIT = 30.0


@dataclass
class _Trial:
    """A trial of Tune; `current` is None once its job has ended and its worker idles."""

    current: QueuedJob | None
    suggested: float = field(default_factory=time.monotonic)
    started: float = math.inf  # when its worker was ready


class TuneController:
    """The state of a run behind Tune's hooks.

    Tune turns what its hooks raise into failed trials, so an error of the driver (and an
    interrupt) is kept in `error`: from then on the run is over, and the error is raised after it.

    Tune hands a waiting trial to any worker that becomes free and drops the worker that was
    starting for it, so that short trials would all run on one. A trial therefore stays, and its
    worker idles, after its job as long as another trial waits for a worker that is starting.
    """

    def __init__(self, options: Options, queue: JobQueue) -> None:
        self._options, self._queue = options, queue
        self._trials: dict[str, _Trial] = {}  # by Tune's id
        self.error: BaseException | None = None

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Tune pickles its hooks for `Tuner.restore`, which is never called."""
        return {}

    @property
    def over(self) -> bool:
        """Whether no more trial will be suggested."""
        return self.error is not None or self._guard(lambda: self._queue.done)

    def interrupt(self) -> None:
        """Ends the run at the next hook; a second call ends it at once."""
        if self.error is not None:
            raise KeyboardInterrupt
        self.error = KeyboardInterrupt()

    def suggest(self, trial_id: str) -> Job | None:
        """The job of a new trial, or None when all slots are taken or no job is there now."""
        taken = len(self._trials) == self._options.slots
        if taken or not self._guard(self._queue.ready) or self.error is not None:
            return None
        current = self._queue.take()
        self._trials[trial_id] = _Trial(current)
        return current.job

    def started(self, trial_id: str) -> None:
        """Starts the clock of a trial: its worker is ready."""
        if trial_id in self._trials:
            self._trials[trial_id].started = time.monotonic()

    def received(self, trial_id: str, message: Message) -> bool:
        """Whether the trial is over after this message."""
        return self._guard(lambda: self._receive(trial_id, message))

    def on_trial_error(self, trial_id: str, failure: Failure, worker_lost: bool) -> None:
        """Ends a trial without a result; retries its job if its worker died before its deadline."""
        trial = self._trials.pop(trial_id, None)
        if self.error is not None or trial is None or trial.current is None:
            return
        current, retry = trial.current, worker_lost
        if worker_lost and time.monotonic() - trial.started >= self._options.limit:
            failure, retry = timeout_failure(self._options.limit), False
        end = self._queue.retry if retry else self._queue.finish
        self._guard(lambda: end(current, failure))

    def close(self) -> None:
        """Raises what went wrong, or `KeyboardInterrupt` if Tune left jobs without an outcome."""
        if self.error is not None:
            raise self.error
        if any(trial.current is not None for trial in self._trials.values()):
            raise KeyboardInterrupt("Ray Tune was stopped")

    def _receive(self, trial_id: str, message: Message) -> bool:
        if isinstance(message, Exception):
            raise message
        trial = self._trials[trial_id]
        if trial.current is not None and message is not None:
            if isinstance(message, Score):
                if self._queue.keep(trial.current.job, message):
                    return False
                del self._trials[trial_id]  # without idle wait: Tune cannot tell the worker to idle
                self._queue.finish(trial.current, Stopped(message))
                return True
            current, trial.current = trial.current, None
            self._queue.finish(current, message)
        return self._may_leave(trial_id)

    def _may_leave(self, trial_id: str) -> bool:
        earliest = time.monotonic() - _IDLE_WAIT
        for trial in self._trials.values():
            if trial.started == math.inf and trial.suggested > earliest:
                return False
        del self._trials[trial_id]
        return True

    def _guard(self, action: Callable[[], Any]) -> Any:
        """What `action` returns; what it raises is kept and ends the run (True)."""
        try:
            return action()
        except BaseException as error:
            self.error = self.error or error
            return True
