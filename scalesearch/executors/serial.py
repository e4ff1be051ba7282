"""One job after the other in this process: nothing to start, and a debugger stops in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from scalesearch.errors import UserError
from scalesearch.executors._attempts import Attempt, late
from scalesearch.executors._gpus import exactly
from scalesearch.executors._interrupts import interrupt, on_interrupt
from scalesearch.executors._options import Options
from scalesearch.history.jobs import Job, Outcome, Score
from scalesearch.interfaces import Assess, hook


@dataclass(frozen=True, kw_only=True)
class Executor(Options):
    """Runs jobs in the calling thread.

    A process cannot kill its own hung call, so `timeout` is looked at after every score and at
    the end of a job only. If this process dies, the run dies: `retries` has nothing to do here.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, fits, allowed in (
            ("workers", self.workers == 1, "1"),
            ("gpus", self.gpus in (0, 1), "0 or 1"),
            ("address", self.address == "local", "local"),
        ):
            if not fits:
                raise UserError(
                    f"{getattr(self, key)!r} cannot be had in one process",
                    key=key,
                    allowed=allowed,
                    hint="`executor: ray` runs several workers, shares of a GPU, and clusters",
                )

    def run(
        self,
        ask: Callable[[], Job | None],
        assess: Assess,
        keep: Callable[[Job, Score], bool],
        tell: Callable[[Job, Outcome], None],
    ) -> None:
        """Keeps the contract of `interfaces.Executor`."""
        with on_interrupt(interrupt), exactly(self.gpus):
            prepared = False
            while (job := ask()) is not None:
                if not prepared:
                    hook(assess, "prepare")(self.threads)
                prepared = True
                tell(job, self._outcome(job, assess, keep))

    def _outcome(self, job: Job, assess: Assess, keep: Callable[[Job, Score], bool]) -> Outcome:
        start = time.monotonic()
        attempt = Attempt(assess, job)
        while True:
            message = attempt.step()
            if time.monotonic() - start > self.limit:
                if isinstance(message, Score):
                    attempt.stop(message)
                return late(self.limit)
            if not isinstance(message, Score):
                return message
            if not keep(job, message):
                return attempt.stop(message)
