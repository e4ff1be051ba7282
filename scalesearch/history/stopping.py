"""When a trial is stopped early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from scalesearch.errors import UserError
from scalesearch.history.fidelity import FIDELITIES, WHOLE_EPOCHS, Fidelity, Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """Successive halving: at each rung only the best share goes on (Li et al. 2020, ASHA).

    Attributes:
        rungs: steps (epochs) at which a trial is compared with those that were there before it.
        keep: share of them that goes on.
        data: for each rung the share of the training images that epochs up to it have.
        resolution: for each rung the share of the network's side that their images have.
    """

    rungs: tuple[int, ...]
    keep: float = 0.5
    data: tuple[float, ...] = ()
    resolution: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.rungs or min(self.rungs) < 1:
            raise UserError(f"{list(self.rungs)} cannot be used", key="rungs", allowed="[1, 3]")
        if not 0 < self.keep <= 1:
            raise UserError(f"{self.keep!r} cannot be used", key="keep", allowed="a share, 0 to 1")
        for key in FIDELITIES:
            if shares := getattr(self, key):
                self._check_shares(key, shares)

    def goes_on(self, step: int, value: float, peers: Sequence[float]) -> bool:
        """Whether a trial with `value` at `step` is among the best of its peers there.

        With too few peers (fewer than 1 / keep) every trial goes on.
        """
        if step not in self.rungs or (len(peers) + 1) * self.keep < 1:
            return True
        survivors = max(1, int((len(peers) + 1) * self.keep))
        return sum(peer > value for peer in peers) < survivors

    def _check_shares(self, key: str, shares: Sequence[float]) -> None:
        if any(later <= rung for rung, later in pairwise(self.rungs)):
            raise UserError(
                f"{list(self.rungs)} do not ascend, and each has its share of `{key}`",
                key="rungs",
                allowed="each rung later than the one before",
            )
        rungs = len(self.rungs)
        if len(shares) != rungs:
            raise UserError(
                f"{list(shares)} has {len(shares)} for {rungs} rung{'s' * (rungs != 1)}",
                key=key,
                allowed="one share for each rung",
            )
        if not all(0 < share <= 1 for share in shares) or any(a > b for a, b in pairwise(shares)):
            raise UserError(
                f"{list(shares)} cannot be used",
                key=key,
                allowed="shares above 0 and up to 1, none below the one before",
            )

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any] | None) -> Stopping | None:
        """As a study's file has it, read and checked before; None of None."""
        if plain is None:
            return None
        given: dict[str, Any] = {k: tuple(v) if k != "keep" else v for k, v in plain.items()}
        return cls(**given)

    @property
    def schedule(self) -> Schedule:
        """The fidelity of each epoch, the same in every training; behind the last rung all are
        whole.
        """
        whole = (1.0,) * len(self.rungs)
        shares = zip(self.rungs, self.data or whole, self.resolution or whole, strict=True)
        schedule = Schedule(
            tuple((rung, Fidelity(data=data, resolution=side)) for rung, data, side in shares)
        )
        return schedule or WHOLE_EPOCHS


def schedule_of(section: Mapping[str, Any]) -> Schedule:
    """What the epochs of a phase take, by its section in a study's file with every default.

    The shares of its rungs are of what the phase takes.
    """
    stopping = Stopping.from_plain(section.get("stopping"))
    rungs = WHOLE_EPOCHS if stopping is None else stopping.schedule
    return rungs.within(Fidelity(**section.get("fidelity", {})))
