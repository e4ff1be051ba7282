"""Goes through a space point by point."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from optuna.samplers import BaseSampler

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.errors import UserError
from scalesearch.interfaces import Choice, Space
from scalesearch.samplers._whole_space import Proposals


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Trial number n is the n-th of the space's points: all of them, none twice."""

    def make(self, space: Space, seed: int, limits: Limits, workload: Workload) -> BaseSampler:
        """A sampler for one trial; neither seed nor limits change anything."""

        def nth_point(number: int) -> dict[str, Choice]:
            point = next(islice(space.points(), number, None), None)
            if point is None:
                raise UserError(
                    f"trial {number} is past the last of {space.size} points",
                    key="trials",
                    allowed=f"at most {space.size}",
                )
            return point

        return Proposals(space, nth_point)
