"""The options that all executors share, so that a study changes its executor by one word."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass

from scalesearch.errors import UserError
from scalesearch.executors._holding import holding


@dataclass(frozen=True, kw_only=True)
class Options:
    """How many jobs run at once, on what, and what happens when one goes wrong.

    Attributes:
        workers: how many jobs run at once.
        cpus: of one worker; its threads follow from it. A share of one is allowed.
        gpus: of one worker: none (GPUs are hidden from it), a share of one, or several whole ones.
        address: `local`, or where a Ray cluster runs (`auto`, `host:6379`, `ray://host:10001`).
        retries: how often a job is tried again whose worker died; its scores then start anew.
        timeout: seconds that a trial may take; None for no deadline.
    """

    workers: int = 1
    cpus: float = 1
    gpus: float = 0
    address: str = "local"
    retries: int = 2
    timeout: float | None = None

    def __post_init__(self) -> None:
        _refuse(self.workers < 1, "workers", self.workers, "a whole number from 1")
        few = not (self.cpus > 0 and math.isfinite(self.cpus))
        _refuse(few, "cpus", self.cpus, "a number above 0")
        whole = float(self.gpus).is_integer()
        _refuse(
            self.gpus < 0 or (self.gpus > 1 and not whole),
            "gpus",
            self.gpus,
            "0, a share of one GPU such as 0.5, or a whole number",
        )
        _refuse(self.retries < 0, "retries", self.retries, "a whole number from 0")
        late = self.timeout is not None and not (self.timeout > 0 and math.isfinite(self.timeout))
        _refuse(late, "timeout", self.timeout, "seconds above 0, or nothing for no deadline")

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return self.workers

    def connect(self) -> AbstractContextManager[None]:
        """Keeps a cluster that a run within it starts for the runs that follow."""
        return holding()

    @property
    def limit(self) -> float:
        """The seconds that a trial may take; infinite without a deadline."""
        return math.inf if self.timeout is None else self.timeout

    @property
    def threads(self) -> int:
        """How many threads one worker may use."""
        return max(1, int(self.cpus))


def _refuse(wrong: bool, key: str, value: object, allowed: str) -> None:
    if wrong:
        raise UserError(f"{value!r} cannot be used", key=key, allowed=allowed)
