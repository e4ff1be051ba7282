"""Successive halving in rounds, then more trainings of the leaders: which trial trains how far.

Jamieson & Talwalkar 2016: all begin, and at each rung the best share goes on. A round ends when all
of its trainings have, so that what follows depends on their scores alone and not on which worker
was faster. What is left of the budget repeats the leaders with other seeds, where their noise is
worth knowing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scalesearch.history.confidence import confidence
from scalesearch.history.fidelity import WHOLE_EPOCHS, Schedule

SETTLED = 0.95  # probability of being the best at which no more is trained
_CONTENDER = 0.05  # probability of being the best below which a candidate gets no more
_FINALISTS = 3  # that reach the end at least, where as many begin
MOST_REPEATS = 20  # trainings of one candidate


@dataclass(frozen=True, kw_only=True)
class Halving:
    """How a budget of trainings is spent on candidates.

    Attributes:
        epochs: of a whole training.
        trainings: the budget: at most the work of `trainings` times `epochs` epochs is done, as
            they are behind the last rung.
        rungs: epochs at which candidates are compared, ascending.
        keep: share of them that goes on.
        schedule: the fidelity of each epoch of every training.
    """

    epochs: int
    trainings: int
    rungs: tuple[int, ...]
    keep: float = 0.5
    schedule: Schedule = WHOLE_EPOCHS

    @property
    def each(self) -> float:
        """What a training to its end takes of the budget: 1 where all of its epochs are alike."""
        return self.schedule.work(self.epochs) / self.epochs

    def survivors(self, count: int) -> int:
        """How many of `count` candidates go on at a rung."""
        return min(count, max(_FINALISTS, math.ceil(self.keep * count)))

    def stages(self, count: int) -> tuple[tuple[int, int], ...]:
        """Until which epoch how many of `count` candidates train: `((1, 20), (2, 10), (4, 5))`."""
        stages = []
        for until in (*self.rungs, self.epochs):
            stages.append((until, count))
            count = self.survivors(count)
        return tuple(stages)

    def spent(self, count: int) -> float:
        """Whole trainings that halving `count` candidates takes, before any is repeated."""
        before, epochs = 0, 0.0
        for until, each in self.stages(count):
            epochs += self.schedule.work(until, after=before) * each
            before = until
        return epochs / self.epochs

    def entrants(self, count: int) -> int:
        """How many of `count` candidates can begin so that each finalist is trained once more."""
        while count:
            finalists = self.stages(count)[-1][1]
            if self.spent(count) + finalists * self.each <= self.trainings:
                break
            count -= 1
        return count

    def total(self, count: int) -> int:
        """Trials to expect: the candidates, and the repeats that the rest of the budget allows."""
        return count + self.affordable(self.spent(count))

    def affordable(self, spent: float) -> int:
        """How many more trainings to their end the budget allows, with so much of it spent."""
        return max(0, math.floor((self.trainings - spent) / self.each + 1e-9))

    def words(self, count: int) -> str:
        """`20 to epoch 1, 10 to epoch 2, 5 to epoch 4, then up to 9 repeats of the best`.

        Epochs that are not whole say of what they are.
        """
        stages = ", ".join(
            f"{each} to epoch {until}{self._condition(until)}" for until, each in self.stages(count)
        )
        return f"{stages}, then up to {self.total(count) - count} repeats of the best"

    def _condition(self, until: int) -> str:
        """` on 25 % of the images`; nothing where rungs have no shares."""
        return f" on {self.schedule.at(until)}" if self.schedule.stages else ""

    def best(self, values: Mapping[int, float]) -> list[int]:
        """The candidates that go on from a rung by their values there, in order of number."""
        ranked = sorted(values, key=lambda number: (-values[number], number))
        return sorted(ranked[: self.survivors(len(values))])

    def repeats(
        self, results: Mapping[int, Sequence[float]], flops: Mapping[int, int], spent: float
    ) -> list[int]:
        """The candidates to train once more, the likeliest first; none once a leader is settled.

        Args:
            results: of the finalists' whole trainings, by candidate.
            flops: of each.
            spent: whole trainings so far.
        """
        once = [n for n, values in results.items() if len(values) < 2]
        if once:
            wanted = sorted(once, key=lambda n: (-max(results[n]), n))
        else:
            wanted = self._contenders(results, flops)
        return wanted[: self.affordable(spent)]

    def _contenders(
        self, results: Mapping[int, Sequence[float]], flops: Mapping[int, int]
    ) -> list[int]:
        numbers = [*results]
        if len(numbers) < 2:
            return []
        found = confidence([results[n] for n in numbers], [flops[n] for n in numbers])
        likely = {n: p or 0.0 for n, p in zip(numbers, found.probabilities, strict=True)}
        if max(likely.values()) >= SETTLED:
            return []
        contenders = [n for n in numbers if likely[n] >= _CONTENDER]
        return [
            n
            for n in sorted(contenders, key=lambda n: (-likely[n], n))
            if len(results[n]) < MOST_REPEATS
        ]


def usual_rungs(epochs: int, every: int = 1) -> tuple[int, ...]:
    """A quarter and a half of a training, as far as there is a score then."""
    quarters = {math.ceil(epochs * share / every) * every for share in (0.25, 0.5)}
    return tuple(sorted(rung for rung in quarters if rung < epochs))


def spread(points: np.ndarray, count: int) -> list[int]:
    """The positions of `count` points that lie as far apart as can be, ascending.

    Args:
        points: coordinates, float [n, dimensions], each of which is taken to span the same length.
        count: at most n.

    The first is the one nearest to the middle, the next always the one that is farthest from all
    taken before (Gonzalez 1985).
    """
    spans = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(spans > 0, spans, 1)
    first = int(((scaled - scaled.mean(axis=0)) ** 2).sum(axis=1).argmin())
    taken, nearest = [first], np.full(len(points), np.inf)
    while len(taken) < count:
        nearest = np.minimum(nearest, ((scaled - scaled[taken[-1]]) ** 2).sum(axis=1))
        taken.append(int(nearest.argmax()))
    return sorted(taken[:count])
