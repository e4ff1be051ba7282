"""How much of its images an epoch of a training takes: the fidelities beside its length.

Short trainings are one cheap stand-in for whole ones; fewer images and smaller ones are two more
(Li et al. 2017, Hyperband: any resource that grows with training).
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """What an epoch takes of a whole one.

    Attributes:
        data: share of the training images.
        resolution: share of the side of the network's images.
    """

    data: float = 1.0
    resolution: float = 1.0

    @property
    def work(self) -> float:
        """The epoch's work as a share of a whole one's: FLOPs grow with the square of the side."""
        return self.data * self.resolution**2

    def __str__(self) -> str:
        """`25 % of the images at 50 % of the side`, or `all images`."""
        images = "all images" if self.data == 1 else f"{100 * self.data:.4g} % of the images"
        side = "" if self.resolution == 1 else f" at {100 * self.resolution:.4g} % of the side"
        return images + side


WHOLE = Fidelity()
FIDELITIES = tuple(field.name for field in fields(Fidelity))


@dataclass(frozen=True, slots=True)
class Schedule:
    """The fidelity of each epoch of a training: part of the conditions that it is trained under.

    Attributes:
        stages: the last epoch of each, ascending, and its fidelity; what follows is whole.
    """

    stages: tuple[tuple[int, Fidelity], ...] = ()

    def __bool__(self) -> bool:
        """Whether any epoch is less than a whole one."""
        return any(fidelity != WHOLE for _, fidelity in self.stages)

    def at(self, epoch: int) -> Fidelity:
        """The fidelity of an epoch, from 1."""
        return next((fidelity for until, fidelity in self.stages if epoch <= until), WHOLE)

    def work(self, until: int, *, after: int = 0) -> float:
        """The work of the epochs behind `after` up to `until`, in whole epochs."""
        total = 0.0
        for last, fidelity in (*self.stages, (until, WHOLE)):
            total += max(0, min(last, until) - after) * fidelity.work
            after = max(after, last)
        return total

    @property
    def words(self) -> str:
        """`25 % of the images to epoch 1, 50 % of the images to epoch 3, then all images`."""
        stages = ", ".join(f"{fidelity} to epoch {until}" for until, fidelity in self.stages)
        return f"{stages}, then {WHOLE}" if stages else str(WHOLE)

    def lessens(self, name: str) -> bool:
        """Whether an epoch has less of one of `FIDELITIES`."""
        return any(getattr(fidelity, name) < 1 for _, fidelity in self.stages)


WHOLE_EPOCHS = Schedule()
