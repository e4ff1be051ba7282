"""When a trial is stopped early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scalesearch.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """Successive halving: at each rung only the best share goes on (Li et al. 2020, ASHA).

    Attributes:
        rungs: steps (epochs) at which a trial is compared with those that were there before it.
        keep: share of them that goes on.
    """

    rungs: tuple[int, ...]
    keep: float = 0.5

    def __post_init__(self) -> None:
        if not self.rungs or min(self.rungs) < 1:
            raise UserError(f"{list(self.rungs)} cannot be used", key="rungs", allowed="[1, 3]")
        if not 0 < self.keep <= 1:
            raise UserError(f"{self.keep!r} cannot be used", key="keep", allowed="a share, 0 to 1")

    def goes_on(self, step: int, value: float, peers: Sequence[float]) -> bool:
        """Whether a trial with `value` at `step` is among the best of its peers there.

        With too few peers (fewer than 1 / keep) every trial goes on.
        """
        if step not in self.rungs or (len(peers) + 1) * self.keep < 1:
            return True
        survivors = max(1, int((len(peers) + 1) * self.keep))
        return sum(peer > value for peer in peers) < survivors
