"""A job that a worker runs step by step."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import replace
from typing import TypeVar

from scalesearch.executors._failures import failure_of
from scalesearch.history.jobs import (
    Failure,
    Infeasible,
    Job,
    Outcome,
    Result,
    Score,
    Stopped,
    Whereabouts,
)
from scalesearch.interfaces import Assess, hook

# `sys.exit` inside a job ends the job alone; a KeyboardInterrupt is the user's and passes through.
_RAISED_BY_A_JOB = (Exception, SystemExit)
Ended = TypeVar("Ended", bound=Outcome)


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
            outcome: Result | Infeasible | Failure = end.value
        except _RAISED_BY_A_JOB as error:
            outcome = failure_of(error)
        # Out here nothing holds what the job had in memory any more.
        return self._ended(outcome)

    def stop(self, last: Score) -> Stopped | Failure:
        """Ends the job early; a `Failure` if its own cleanup raises."""
        where = Whereabouts(images_per_second=last.images_per_second)
        return self._ended(self._clean_up() or Stopped(last, where))

    def _ended(self, outcome: Ended) -> Ended:
        """The outcome with where it was, once memory was given back."""
        self._scores = None
        own = getattr(outcome, "where", None)
        if own is None:  # an assess that returns no outcome: the loop says so
            return outcome
        with contextlib.suppress(*_RAISED_BY_A_JOB):  # a GPU that has failed answers nothing
            where = replace(
                hook(self._assess, "where")(),
                images_per_second=own.images_per_second,
                micro_batch=own.micro_batch,
            )
            outcome = replace(outcome, where=where)
            hook(self._assess, "tidy")()
        return outcome

    def _clean_up(self) -> Failure | None:
        try:
            if self._scores is not None:
                self._scores.close()
        except _RAISED_BY_A_JOB as error:
            return failure_of(error)
        return None
