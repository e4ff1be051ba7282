"""The options that all executors share, so that a study changes its executor by one word."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from scalesearch.errors import UserError
from scalesearch.executors._ray_errors import ADDRESSES
from scalesearch.history.jobs import Job, Outcome, Score
from scalesearch.text import shortened

_MOST = 10_000  # of workers, and of what one of them asks for
_LONGEST = 10**9  # seconds: Ray and faulthandler count nanoseconds in 64 bits
_PORT = r":(?:6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"
_ADDRESS = re.compile(rf"local|auto|(?:ray://)?(?:[\w.-]+|\[[0-9a-fA-F:.]+\]){_PORT}", re.ASCII)

_ONE_GPU = "a network is trained on one GPU; several train several at once: `workers: 2, gpus: 1`"

# The hooks of a run, which `interfaces.Executor` describes.
Ask = Callable[[], Job | None]
Keep = Callable[[Job, Score], bool]
Tell = Callable[[Job, Outcome], None]


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What else a worker asks a Ray cluster for.

    Attributes:
        accelerator_type: of its GPU, as Ray names it: `H100`, `A100`, `T4`, …
        custom: names of the cluster's own resources to amounts of them.
    """

    accelerator_type: str | None = None
    custom: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, amount in self.custom.items():
            if name in ("CPU", "GPU", "memory"):
                raise UserError(
                    f"{name!r} is no resource of a cluster's own",
                    key=f"custom.{name}",
                    allowed="`cpus` and `gpus` of `execution` are for these",
                )
            if not 0 < amount <= _MOST:
                raise UserError(
                    f"{amount!r} cannot be used",
                    key=f"custom.{name}",
                    allowed=f"a number above 0, {_MOST:,} at most",
                )


@dataclass(frozen=True, kw_only=True)
class Options:
    """How many jobs run at once, on which resources, and when one is tried again or ended.

    Attributes:
        workers: how many jobs run at once.
        cpus: of one worker; its number of threads follows from it. A fraction of one is allowed.
        gpus: of one worker: 0 (it sees no GPU), a share of one, or one.
        resources: what else a worker needs, in a Ray cluster.
        address: `local`, or that of a Ray cluster (`auto`, `host:6379`, `ray://host:10001`).
        wait: seconds that a run waits for a cluster to have room for a first worker; others are
            added as they find room. None takes no cluster that has not room for all of them.
        retries: how many more workers try a job whose machine failed, or whose worker died, before
            its network is taken to be the cause.
        timeout: seconds that a trial may take; None for no deadline.
    """

    workers: int = 1
    cpus: float = 1
    gpus: float = 0
    resources: Resources = field(default_factory=Resources)
    address: str = "local"
    wait: float | None = None
    retries: int = 1
    timeout: float | None = None

    def __post_init__(self) -> None:
        for key, valid, allowed in (
            ("workers", 1 <= self.workers <= _MOST, f"a whole number from 1 to {_MOST:,}"),
            ("cpus", 0 < self.cpus <= _MOST, f"a number above 0, {_MOST:,} at most"),
            ("gpus", 0 <= self.gpus <= 1, "0, a share of one GPU such as 0.5, or 1"),
            ("address", _ADDRESS.fullmatch(self.address), ADDRESSES),
            ("retries", 0 <= self.retries <= _MOST, f"a whole number from 0 to {_MOST:,}"),
            (
                "timeout",
                self.timeout is None or 0 < self.timeout <= _LONGEST,
                f"seconds above 0, {_LONGEST:,} at most, or nothing for no deadline",
            ),
            (
                "wait",
                self.wait is None or 0 <= self.wait <= _LONGEST,
                f"seconds from 0, {_LONGEST:,} at most, or nothing",
            ),
        ):
            if not valid:
                value = getattr(self, key)
                raise UserError(
                    f"{shortened(repr(value))} cannot be used",
                    key=key,
                    allowed=allowed,
                    hint=_ONE_GPU if key == "gpus" and value > 1 else "",
                )

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
