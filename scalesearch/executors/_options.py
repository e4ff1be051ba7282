"""The options that all executors share, so that a study changes its executor by one word."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from scalesearch.errors import UserError
from scalesearch.history.jobs import Job, Outcome, Score

# The hooks of a run, which `interfaces.Executor` describes.
Ask = Callable[[], Job | None]
Keep = Callable[[Job, Score], bool]
Tell = Callable[[Job, Outcome], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How many jobs run at once, on which resources, and when one is retried or ended.

    Attributes:
        workers: how many jobs run at once.
        cpus: of one worker; its number of threads follows from it. A fraction of one is allowed.
        gpus: of one worker: 0 (it sees no GPU), a fraction of one, or several whole ones.
        address: `local`, or that of a Ray cluster (`auto`, `host:6379`, `ray://host:10001`).
        retries: how often a job is retried whose worker died; its scores then start again.
        timeout: seconds that a trial may take; None for no deadline.
    """

    workers: int = 1
    cpus: float = 1
    gpus: float = 0
    address: str = "local"
    retries: int = 2
    timeout: float | None = None

    def __post_init__(self) -> None:
        gpus_valid = 0 <= self.gpus <= 1 or (self.gpus > 1 and float(self.gpus).is_integer())
        for key, valid, allowed in (
            ("workers", self.workers >= 1, "a whole number from 1"),
            ("cpus", 0 < self.cpus < math.inf, "a number above 0"),
            ("gpus", gpus_valid, "0, a share of one GPU such as 0.5, or a whole number"),
            ("retries", self.retries >= 0, "a whole number from 0"),
            (
                "timeout",
                self.timeout is None or 0 < self.timeout < math.inf,
                "seconds above 0, or nothing for no deadline",
            ),
        ):
            if not valid:
                value = getattr(self, key)
                raise UserError(f"{value!r} cannot be used", key=key, allowed=allowed)

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return self.workers

    @property
    def threads(self) -> int:
        """How many threads one worker may use."""
        return max(1, int(self.cpus))

    @property
    def limit(self) -> float:
        """The seconds that a trial may take; infinite without a deadline."""
        return math.inf if self.timeout is None else self.timeout

    def connect(self) -> AbstractContextManager[None]:
        """Keeps what several runs share; nothing by default."""
        return nullcontext()
