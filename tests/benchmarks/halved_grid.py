"""How much of a full grid's epochs rounds need to find the same coefficients.

Simulated responses over the triples of EfficientNet-B0 at equal FLOPs, with the noise of real
ImageNet trainings (standard deviation over seeds .31 points for short and .17 for long ones, and
.2 points by which a short training misleads of a network). The peer is the full grid: three whole
trainings of every network. Both take the best point of the surface through their results.
`python -m tests.benchmarks halved_grid` from the repository prints the table.
"""

from __future__ import annotations

import math
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.arch.plain import digest
from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.history.halving import Halving, usual_rungs
from scalesearch.history.jobs import Job, Result, Score
from scalesearch.history.points import points
from scalesearch.history.record import Record, open_storage
from scalesearch.history.trials import Trial
from scalesearch.spaces.coefficient_grid import CoefficientGrid
from scalesearch.spaces.trainings import TrainingsSpace
from scalesearch.study.loop import Listener, Loop
from scalesearch.study.rounds import Rounds
from scalesearch.study.surface import best_point, surface_of
from tests.pool import Pool, plan

EPOCHS = 8
SHARE = 0.4  # of a full grid's epochs that rounds may use
SEEDS = 10
STEP = 0.1
SHORT, LONG, MISLEADS = 0.0031, 0.0017, 0.002  # standard deviations
# Shares of growth at the best point, and how much worse (in logs) errors are away from it.
FAMILIES = {
    "near the paper's": ((0.26, 0.28, 0.46), 0.15),
    "width first": ((0.3, 0.6, 0.1), 0.15),
    "width, steep": ((0.15, 0.7, 0.15), 0.3),
}
B0 = published("efficientnet_b0")


def rows() -> list[dict[str, Any]]:
    """Seeds whose coefficients agree with the full grid's, and the share of its epochs."""
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    return [_row(name, *family) for name, family in FAMILIES.items()]


def _row(name: str, best: tuple[float, ...], steep: float) -> dict[str, Any]:
    agree, right, epochs = 0, 0, []
    for seed in range(SEEDS):
        full, halved = (Trainings(seed, best, steep) for _ in range(2))
        theirs, ours = _chosen(_full(full)), _chosen(_halved(halved))
        agree += _near(theirs, ours)
        right += _near(_truth(best, steep), ours)
        epochs.append(halved.epochs / full.epochs)
    return {
        "response": name,
        "seeds": SEEDS,
        "within a step of the full grid": agree,
        "within a step of the truth": right,
        "share of its epochs": round(float(np.mean(epochs)), 3),
    }


@cache
def _space() -> TrainingsSpace:
    return TrainingsSpace(coefficients_of=CoefficientGrid(baseline=B0, step=STEP))


@cache
def _networks() -> dict[str, tuple[int, np.ndarray]]:
    """The first point of each network, and where its growth goes: the mean of its points."""
    grid, found = _space().coefficients_of, {}  # type: ignore[var-annotated]
    for number, point in enumerate(grid.points()):
        growth = [math.log(point["alpha"])]
        growth += [2 * math.log(point[name]) for name in ("beta", "gamma")]
        found.setdefault(digest(grid.decode(point)), (number, []))[1].append(growth)
    return {
        key: (number, np.mean(each, axis=0) / math.log(2)) for key, (number, each) in found.items()
    }


@dataclass
class Trainings:
    """Made-up trainings; counts their epochs, each once."""

    seed: int
    best: tuple[float, ...]
    steep: float
    epochs: int = 0
    reached: dict[int, int] = field(default_factory=dict)

    def __call__(self, job: Job) -> Iterator[Score]:
        own, network = random.Random(f"{self.seed}/{job.seed}"), digest(job.architecture)
        misled = random.Random(f"{self.seed}/{network}").gauss(0, MISLEADS)
        error = _error(network, self.best, self.steep)
        value = 0.0
        for epoch in range(1, EPOCHS + 1):
            done = epoch / EPOCHS
            self.epochs += epoch > self.reached.get(job.number, 0)
            self.reached[job.number] = max(epoch, self.reached.get(job.number, 0))
            noise = own.gauss(0, SHORT + (LONG - SHORT) * done)
            value = 1 - error * (1.6 - 0.6 * done) - misled * (1 - done) - noise
            yield Score(epoch, {"accuracy": value})
        return Result({"accuracy": value}, cost(job.architecture), 1.0)  # type: ignore[return-value]


def _error(network: str, best: tuple[float, ...], steep: float) -> float:
    off = _networks()[network][1] - np.array(best)
    return float(0.25 * math.exp(steep * (off**2).sum()))


def _halved(trainings: Trainings) -> list[Trial]:
    first = tuple(sorted(number for number, _ in _networks().values()))
    halving = Halving(
        epochs=EPOCHS, trainings=int(SHARE * 3 * len(first)), rungs=usual_rungs(EPOCHS)
    )
    with tempfile.TemporaryDirectory() as folder:
        wanted = plan("grid", phase="grid", space=_space(), limits={})
        loop = Rounds(wanted, _record(folder, wanted), Listener(), halving, first)
        Pool().run(loop.ask, trainings, loop.keep, loop.tell)
        return loop.finish()


def _full(trainings: Trainings, seeds: int = 3) -> list[Trial]:
    with tempfile.TemporaryDirectory() as folder:
        wanted = plan("grid", phase="grid", space=_space(), limits={}, repeats=True)
        record = _record(folder, wanted)
        loop, jobs = Loop(wanted, record, Listener()), []
        for repeat in range(seeds):
            for number, _ in _networks().values():
                parameters = _space().training(number, repeat)
                record.take(parameters)
                jobs.append(loop._admit(parameters))
        left = iter(jobs)
        Pool().run(lambda: next(left, None), trainings, loop.keep, loop.tell)
        return loop.finish()


def _record(folder: str, wanted: Any) -> Record:
    storage = open_storage(Path(folder) / "journal", repair=True)
    return Record(storage, "grid", _space().parameters, wanted.objective.directions)


def _chosen(trials: list[Trial]) -> list[Any]:
    found = [point for point in points(trials, "accuracy") if point.trainings]
    surface = surface_of({"budget": 2.0, "phi": 1.0}, "accuracy", B0, trials)
    return [*best_point(found, surface).parameters]


def _truth(best: tuple[float, ...], steep: float) -> list[Any]:
    network = min(_networks(), key=lambda key: _error(key, best, steep))
    grid = _space().coefficients_of
    return [point for point in grid.points() if digest(grid.decode(point)) == network]


def _near(some: list[Any], others: list[Any]) -> bool:
    """Whether any of some points is within a step of any of the others."""
    return any(
        all(abs(one[name] - other[name]) < STEP * 1.001 for name in one)
        for one in some
        for other in others
    )
