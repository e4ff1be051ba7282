"""How much of its images an epoch of a training takes: the fidelities beside its length.

Short trainings are one cheap stand-in for whole ones; fewer images and smaller ones are two more
(Li et al. 2017, Hyperband: any resource that grows with training).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from scalesearch.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """What an epoch takes of a whole one.

    Attributes:
        data: share of the training images.
        resolution: share of the side of the network's images.
    """

    data: float = 1.0
    resolution: float = 1.0

    def __post_init__(self) -> None:
        for key in ("data", "resolution"):
            share = getattr(self, key)
            if not 0 < share <= 1:
                raise UserError(
                    f"{share!r} cannot be used", key=key, allowed="a share above 0 and up to 1"
                )

    @property
    def work(self) -> float:
        """The epoch's work as a share of a whole one's: FLOPs grow with the square of the side."""
        return self.data * self.resolution**2

    def times(self, other: Fidelity) -> Fidelity:
        """Shares of the shares of another."""
        return Fidelity(data=self.data * other.data, resolution=self.resolution * other.resolution)

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
        stages: the last epoch of each, ascending, and its fidelity.
        then: the fidelity of the epochs that follow, at whose end a network's result is.
    """

    stages: tuple[tuple[int, Fidelity], ...] = ()
    then: Fidelity = field(default=WHOLE, kw_only=True)

    def __bool__(self) -> bool:
        """Whether any epoch is less than a whole one."""
        return any(fidelity != WHOLE for fidelity in self._fidelities)

    def within(self, fidelity: Fidelity) -> Schedule:
        """The schedule of a phase that takes less: shares of stages are of what it takes."""
        stages = tuple((until, each.times(fidelity)) for until, each in self.stages)
        return replace(self, stages=stages, then=self.then.times(fidelity))

    def at(self, epoch: int) -> Fidelity:
        """The fidelity of an epoch, from 1."""
        return next((fidelity for until, fidelity in self.stages if epoch <= until), self.then)

    def spans(self, until: int, *, after: int = 0) -> list[tuple[int, Fidelity]]:
        """How many epochs behind `after` up to `until` there are of each stage and behind them."""
        spans = []
        for last, fidelity in (*self.stages, (until, self.then)):
            spans.append((max(0, min(last, until) - after), fidelity))
            after = max(after, last)
        return spans

    def work(self, until: int, *, after: int = 0) -> float:
        """The work of the epochs behind `after` up to `until`, in epochs of those that follow.

        These are the whole ones of its phase, and what budgets of trainings are counted in.
        """
        total = sum(count * each.work for count, each in self.spans(until, after=after))
        return total / self.then.work

    @property
    def words(self) -> str:
        """`25 % of the images to epoch 1, 50 % of the images to epoch 3, then all images`."""
        stages = ", ".join(f"{fidelity} to epoch {until}" for until, fidelity in self.stages)
        return f"{stages}, then {self.then}" if stages else str(self.then)

    def lessens(self, name: str) -> bool:
        """Whether an epoch has less of one of `FIDELITIES`."""
        return any(getattr(fidelity, name) < 1 for fidelity in self._fidelities)

    @property
    def _fidelities(self) -> list[Fidelity]:
        return [*(fidelity for _, fidelity in self.stages), self.then]


WHOLE_EPOCHS = Schedule()
