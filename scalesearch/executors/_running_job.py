"""A job that a worker runs step by step."""

from __future__ import annotations

import logging
from collections.abc import Generator

from scalesearch.executors._failures import failure_of
from scalesearch.history.jobs import Failure, Infeasible, Job, Result, Score, Stopped
from scalesearch.interfaces import Assess

# `sys.exit` inside a job ends the job alone; a KeyboardInterrupt is the user's and passes through.
_RAISED_BY_A_JOB = (Exception, SystemExit)


class RunningJob:
    """One attempt at a job: `step` until something other than a `Score` comes back, or `stop`."""

    def __init__(self, assess: Assess, job: Job) -> None:
        self._assess, self._job = assess, job
        self._scores: Generator[Score, None, Result | Infeasible] | None = None

    def step(self) -> Score | Result | Infeasible | Failure:
        """The next score, or how the job ended; whatever the job raises is a `Failure`."""
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
        """Ends the job early; a `Failure` if its own cleanup raises."""
        return self._clean_up() or Stopped(last)

    def close(self) -> None:
        """Ends the job where nobody waits for its outcome: a failed cleanup is logged."""
        failure = self._clean_up()
        if failure is not None:
            logging.getLogger(__name__).error("a stopped job failed to clean up: %s", failure)

    def _clean_up(self) -> Failure | None:
        try:
            if self._scores is not None:
                self._scores.close()
        except _RAISED_BY_A_JOB as error:
            return failure_of(error)
        return None
