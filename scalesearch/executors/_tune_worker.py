"""Tune's actor, pickled by value as `_on_worker.py` is, and what it is handed."""

from __future__ import annotations

import faulthandler
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ray import cloudpickle, tune

if TYPE_CHECKING:
    from scalesearch.executors._on_worker import WorkerSetup
    from scalesearch.history.jobs import Failure, Infeasible, Job, Result, Score

_IDLE_SECONDS = 0.02


class JobReference:
    """A job that Tune copies and prints in its own bookkeeping without cost.

    In bytes, as Tune unpickles it on a worker before the worker's imports are the driver's.
    """

    def __init__(self, job: Job) -> None:
        self._name, self._bytes = f"{job.phase}-{job.number}", cloudpickle.dumps(job)  # type: ignore[no-untyped-call]

    @property
    def job(self) -> Job:
        """The job."""
        job: Job = cloudpickle.loads(self._bytes)
        return job

    def __deepcopy__(self, memo: dict[int, Any]) -> JobReference:
        return self

    def __repr__(self) -> str:
        return self._name


class TuneWorker(tune.Trainable):
    """Tune's actor: a step is a score or the end of the job."""

    def setup(
        self,
        config: dict[str, Any],
        worker_setup: WorkerSetup | None = None,
        limit: float = math.inf,
    ) -> None:
        assert worker_setup is not None, "given by tune.with_parameters"
        self._limit = limit
        self._setup_error: Exception | None = None
        try:
            self._assess = worker_setup.prepare()
        except Exception as error:  # reported by the first step: here Tune would drop its type
            self._setup_error = error
            return
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._running.close()
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        from scalesearch.executors._running_job import RunningJob

        self._running = RunningJob(self._assess, config["reference"].job)
        self._deadline: float | None = None
        self._idle = False

    def step(self) -> dict[str, Any]:
        from scalesearch.history.jobs import Result, Score

        if self._setup_error is not None:
            return {"message": self._setup_error}
        if self._idle:
            time.sleep(_IDLE_SECONDS)
            return {"message": None}
        message = self._next()
        self._idle = not isinstance(message, Score)
        metrics = dict(message.values) if isinstance(message, Score | Result) else {}
        return {**metrics, "message": message}

    def _next(self) -> Score | Result | Infeasible | Failure:
        from scalesearch.executors._failures import timeout_failure

        if self._deadline is None:  # counted from here; the driver's clock starts a moment earlier
            self._deadline = time.monotonic() + self._limit
        left = self._deadline - time.monotonic()
        if left <= 0:
            return timeout_failure(self._limit)
        with _exit_after(left):
            return self._running.step()

    def cleanup(self) -> None:
        if self._setup_error is None:
            self._running.close()


@contextmanager
def _exit_after(seconds: float) -> Iterator[None]:
    """Ends this process if the block takes longer, even if it is stuck outside of Python."""
    if seconds == math.inf:
        yield
        return
    with open(os.devnull, "w") as devnull:  # noqa: PTH123
        faulthandler.dump_traceback_later(seconds, exit=True, file=devnull)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
