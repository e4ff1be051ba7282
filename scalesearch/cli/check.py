"""`scalesearch check`: a study validated and measured before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalesearch.arch.detector import Anchors, Architecture, Detector
from scalesearch.cost.closed_form import cost
from scalesearch.interfaces import Data, Evaluator, Executor
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import Scaling
from scalesearch.scaling.family import members
from scalesearch.study.estimate import grid_sentence, phase_seconds, trial_seconds
from scalesearch.study.feasible import Survey, survey
from scalesearch.study.inputs import anchors_of, grid_of, named_baseline, searched_space
from scalesearch.study.latency import fitting_table
from scalesearch.study.load import load_study
from scalesearch.study.schema import Study
from scalesearch.units import format_count, format_seconds

# Stands in for the winner of a grid of triples, which nobody knows yet: the paper's own (Tan & Le
# 2019).
_CLASSIFIER = Coefficients(1.2, 1.1, 1.15)


@dataclass(frozen=True)
class Share:
    """A phase's part of the whole: what it is, and its seconds on one worker if known."""

    text: str
    seconds: float | None


def check_study(file: Path, overrides: Sequence[str], samples: int) -> None:
    """Prints the size of space and grid, the share within limits, and about how long it takes."""
    study = load_study(file, overrides)
    data: Data = study.dataset.make().load(study.seed)
    lines = [
        f"{file} is valid",
        f"data          {study.dataset.name}: {len(data.train):,} training and "
        f"{len(data.validation):,} validation images, {len(data.classes)} classes",
    ]
    anchors, fitted = anchors_of(study, data)
    notes = [*data.notes, *([fitted] if fitted else [])]
    lines += [f"note          {note}" for note in notes]
    shares = []
    executor: Executor = study.execution.executor.make()
    with executor.connect():
        if study.search is None:
            network = named_baseline(study, data, anchors)
            lines.append(f"baseline      {format_count(cost(network).flops)} flops")
        else:
            network, share, found = _search(study, executor, data, anchors, samples)
            shares.append(share)
            lines += found
        if study.grid is not None:
            shares.append(_grid(study, executor, network, data))
        if study.family is not None:
            shares.append(_family(study, executor, network, data))
    slots = executor.slots
    lines += [share.text + _about(share.seconds, slots) for share in shares]
    known = [share.seconds for share in shares if share.seconds is not None]
    if len(known) == len(shares):
        lines.append(
            f"in all        about {format_seconds(sum(known) / slots)} on {slots} worker(s)"
        )
    # All at the end, so that a mistake found late does not follow the word that all is well.
    print("\n".join(lines))


def _search(
    study: Study, executor: Executor, data: Data, anchors: Anchors | None, samples: int
) -> tuple[Architecture, Share, list[str]]:
    search: Any = study.search
    space, note = searched_space(study, data, anchors)
    lines = [f"note          {note}"] if note else []
    evaluator: Evaluator = search.evaluator.make()
    found = survey(space, search.limits, evaluator.workload, samples, study.seed)
    lines.append(
        f"space         {space.size:,} networks, {len(space.parameters)} parameters; "
        f"{describe_flops(found.flops)}"
    )
    lines.append(f"within limits {describe_count(found)}; {describe_flops(found.flops_within)}")
    table = fitting_table(study, space)
    if study.latency is not None:
        by = "" if table is None else f", predicted by {study.latency.table}"
        lines.append(f"latency       measured on {study.latency.deployment}{by}")
    seconds = trial_seconds(executor, evaluator, found.typical, data)
    total = None if seconds is None else seconds * search.trials
    return found.typical, Share(f"search        {search.trials} trials", total), lines


def describe_count(found: Survey) -> str:
    """`12 of 24 networks (50 %)` if exact, else `about 3.24e+09 of 1.04e+11 (3.10 % +- 0.02 %)`."""
    within = found.within
    share, error = 100 * within.value / found.size, 100 * within.error / found.size
    if within.exact:
        return f"{within.value:,} of {found.size:,} networks ({share:.3g} %)"
    places = max(0, 1 - math.floor(math.log10(error)))  # two digits of the error
    shares = f"{share:.{places}f} % +- {error:.{places}f} %"
    return f"about {within.value:.3g} of {found.size:.3g} networks ({shares})"


def describe_flops(flops: Sequence[int]) -> str:
    """`flops 0.4 M to 6.1 M, median 1.9 M`, of numbers that ascend."""
    low, middle, high = (format_count(flops[i]) for i in (0, len(flops) // 2, -1))
    return f"flops {low} to {high}, median {middle}"


def _grid(study: Study, executor: Executor, network: Architecture, data: Data) -> Share:
    evaluator: Evaluator = study.grid.evaluator.make()  # type: ignore[union-attr]
    grid = grid_of(study, network)
    of = "" if study.search is None else ", if the baseline is a typical network"
    text = f"grid          {grid_sentence(grid)}{of}"
    return Share(text, phase_seconds(executor, evaluator, grid.fitting, data))


def _family(study: Study, executor: Executor, network: Architecture, data: Data) -> Share:
    family: Any = study.family
    by = study.coefficients or _stand_in(study, network)
    made = members(network, by, family.phi, family.strategies)
    evaluator: Evaluator = family.evaluator.make()
    networks = list({member.architecture for member in made})
    text = f"family        {len(made)} members, {len(networks)} different networks"
    return Share(text, phase_seconds(executor, evaluator, networks, data))


def _stand_in(study: Study, network: Architecture) -> Scaling:
    """Coefficients in place of a grid's winner: of a detector those in the middle of its grid."""
    if not isinstance(network, Detector):
        return _CLASSIFIER
    space = grid_of(study, network).space
    points = list(space.points())
    return space.coefficients(points[len(points) // 2])


def _about(seconds: float | None, slots: int) -> str:
    return "" if seconds is None else f", about {format_seconds(seconds / slots)}"
