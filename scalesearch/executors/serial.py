"""One job after the other in this process: nothing to start, and a debugger stops in it."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from scalesearch.errors import UserError
from scalesearch.executors._failures import OF_MACHINES, timeout_failure
from scalesearch.executors._interrupts import on_interrupt, raise_interrupt
from scalesearch.executors._job_queue import JobQueue, Place, Try
from scalesearch.executors._options import Ask, Keep, Options, Resources, Tell
from scalesearch.executors._running_job import RunningJob
from scalesearch.history.jobs import Failure, Job, Outcome, Score
from scalesearch.interfaces import Assess, hook

_log = logging.getLogger(__name__)
_HERE = Place("")


@dataclass(frozen=True, kw_only=True)
class Executor(Options):
    """Runs jobs in the calling thread.

    A process cannot kill its own hung call, so `timeout` is checked after every score and at the
    end of a job only. If this process dies, the run dies. A job whose machine failed is tried again
    here; a GPU that has failed ends the run, as a process cannot get it back.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, valid, allowed in (
            ("workers", self.workers == 1, "1"),
            ("gpus", self.gpus in (0, 1), "0 or 1"),
            ("address", self.address == "local", "local"),
            ("wait", self.wait is None, "nothing"),
            ("resources", self.resources == Resources(), "nothing"),
        ):
            if not valid:
                raise UserError(
                    f"{getattr(self, key)!r} is not possible in one process",
                    key=key,
                    allowed=allowed,
                    hint="`executor: ray` runs several workers, shares of a GPU, and clusters",
                )

    def run(self, ask: Ask, assess: Assess, keep: Keep, tell: Tell) -> None:
        """Fulfils the contract of `interfaces.Executor`."""
        with on_interrupt(raise_interrupt), _visible_gpus(self.gpus):
            queue = JobQueue(ask, keep, tell, self.retries)
            try:
                self._work(queue, assess, keep)
            finally:
                hook(assess, "close")()

    def _work(self, queue: JobQueue, assess: Assess, keep: Keep) -> None:
        prepared = False
        while queue.ready():
            if not prepared:
                hook(assess, "prepare")(self.threads)
            prepared = True
            queued = queue.take()
            outcome = self._outcome(queued.job, assess, keep)
            if not isinstance(outcome, Failure) or outcome.kind not in OF_MACHINES:
                queue.finish(queued, outcome)
            elif outcome.kind == "device":
                raise UserError(
                    f"the GPU of this process has failed: {outcome.reason}",
                    hint="every finished trial is recorded: run the same command again; "
                    "`executor: ray` would replace its worker and go on",
                )
            elif queue.put_back(queued, Try(_HERE, outcome)):
                _log.info("trial %d is tried again: %s", queued.job.number, outcome)

    def _outcome(self, job: Job, assess: Assess, keep: Keep) -> Outcome:
        start = time.monotonic()
        running = RunningJob(assess, job)
        while True:
            message = running.step()
            if time.monotonic() - start > self.limit:
                if isinstance(message, Score):
                    running.stop(message)
                return timeout_failure(self.limit)
            if not isinstance(message, Score):
                return message
            if not keep(job, message):
                return running.stop(message)


@contextmanager
def _visible_gpus(gpus: float) -> Iterator[None]:
    """Hides the GPUs of this process from torch (0), or checks that there is one (1).

    Raises:
        UserError: torch initialised its GPUs before they could be hidden, or there is none.
    """
    if gpus:
        import torch

        if not torch.cuda.is_available():
            raise UserError("torch sees no GPU here", key="gpus", allowed="0")
        yield
        return
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        loaded_torch = sys.modules.get("torch")
        if loaded_torch is not None and loaded_torch.cuda.is_available():
            raise UserError(
                "this process has used its GPUs already: they cannot be hidden any more",
                key="gpus",
                hint="set gpus: 1, or `executor: ray`, whose workers are processes of their own",
            )
        yield
    finally:
        del os.environ["CUDA_VISIBLE_DEVICES"]
        if before is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = before
