"""`scalesearch check`: a study validated and measured before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from scalesearch.arch.detector import Anchors, Architecture
from scalesearch.cost.closed_form import cost
from scalesearch.history.fidelity import WHOLE_EPOCHS, Schedule
from scalesearch.interfaces import Data, Evaluator, Executor, hook
from scalesearch.scaling.detector import Scaling
from scalesearch.study.cache import cached_if_there
from scalesearch.study.checks import phase_notes
from scalesearch.study.confirm import confirm_words
from scalesearch.study.estimate import grid_sentence, phase_seconds, trial_seconds
from scalesearch.study.feasible import Survey, survey
from scalesearch.study.grid_confirm import confirmed_networks, grid_confirm_words
from scalesearch.study.inputs import (
    GridOfNetworks,
    anchors_of,
    bound,
    data_notes,
    factory_notes,
    grid_of,
    load_data,
    named_baseline,
    searched_space,
)
from scalesearch.study.latency import fitting_table
from scalesearch.study.load import load_study, placing
from scalesearch.study.members import check_networks, members_of
from scalesearch.study.schema import Study
from scalesearch.study.sides import of_each_side
from scalesearch.units import format_count, format_seconds


class Share(NamedTuple):
    """A phase in words, its seconds on one worker if they are known, and notes on it."""

    text: str
    seconds: float | None
    notes: list[str]


def check_study(file: Path, overrides: Sequence[str], samples: int) -> None:
    """Prints the size of space and grid, the share within limits, and about how long it takes."""
    study = load_study(file, overrides)
    with placing(file, overrides):
        lines = _findings(study, samples)
    # Printed at the end, so that an error in the middle does not follow "is valid".
    print("\n".join([f"{file} is valid", *lines]))


def _findings(study: Study, samples: int) -> list[str]:
    study.require_files()
    data = load_data(study)
    lines, notes = ["data          none: nothing is trained"], list[str]()
    if data is not None:
        assert study.dataset is not None
        parts = {"training": data.train, "validation": data.validation, "test": data.test}
        counts = [f"{len(part):,} {name}" for name, part in parts.items() if part is not None]
        images = f"{', '.join(counts[:-1])} and {counts[-1]} images"
        lines = [f"data          {study.dataset.name}: {images}, {len(data.classes)} classes"]
        notes += data_notes(data, study.objective.metric)
    anchors, fitted = anchors_of(study, data)
    notes += [fitted] if fitted else []
    if data is not None:
        if study.cache is not None:  # of all images, as the run has them
            data = cached_if_there(study, data, notes.append)
        data = replace(data, test=None)  # of no use to what follows
    lines += [f"note          {note}" for note in notes]
    shares = []
    executor: Executor = study.execution.executor.make()
    with executor.connect():
        hook(executor, "start")()
        if study.search is None:
            network = named_baseline(study, data, anchors)
            check_networks(study, [network])
            lines.append(f"baseline      {format_count(cost(network).flops)} flops")
            lines += [f"note          {note}" for note in factory_notes(network)]
        else:
            network, share, search_lines = _search(study, executor, data, anchors, samples)
            shares.append(share)
            lines += search_lines
            if study.search.confirm is not None:
                shares.append(_confirm(study, executor, network, data))
        grid = None if study.grid is None else grid_of(study, network)
        if grid is not None:
            shares.append(_grid(study, executor, grid, data))
            if study.grid is not None and study.grid.confirm is not None:
                shares.append(_grid_confirm(study, executor, grid, data))
        if study.family is not None:
            coefficients: Scaling | None = study.coefficients
            if grid is not None:
                coefficients = _typical_coefficients(grid)
            shares.append(_family(study, executor, network, coefficients, data))
    if doubt := getattr(study.coefficients, "off_budget", ""):
        lines.append(f"note          {doubt}")
    slots = executor.slots
    for share in shares:
        seconds = share.seconds
        about = "" if seconds is None else f", about {format_seconds(seconds / slots)}"
        lines.append(share.text + about)
    every = [note for share in shares for note in share.notes]
    lines += [f"note          {note}" for note in dict.fromkeys(every)]
    known = [share.seconds for share in shares if share.seconds is not None]
    if len(known) == len(shares):
        total = format_seconds(sum(known) / slots)
        lines.append(f"in all        about {total} on {slots} worker(s)")
    return lines


def describe_count(sizes: Survey) -> str:
    """`12 of 24 networks (50 %)` if exact, else `about 3.24e+09 of 1.04e+11 (3.10 % +- 0.02 %)`."""
    within = sizes.within
    share, error = 100 * within.value / sizes.size, 100 * within.error / sizes.size
    if within.exact:
        return f"{within.value:,} of {sizes.size:,} networks ({share:.3g} %)"
    digits = max(0, 1 - math.floor(math.log10(error)))  # two digits of the error
    shares = f"{share:.{digits}f} % +- {error:.{digits}f} %"
    return f"about {within.value:.3g} of {sizes.size:.3g} networks ({shares})"


def describe_flops(flops: Sequence[int]) -> str:
    """`flops 0.4 M to 6.1 M, median 1.9 M`, of numbers that ascend."""
    if not flops[-1]:  # of a table that does not say
        return "flops not known"
    low, middle, high = (format_count(flops[i]) for i in (0, len(flops) // 2, -1))
    return f"flops {low} to {high}, median {middle}"


def _search(
    study: Study, executor: Executor, data: Data | None, anchors: Anchors | None, samples: int
) -> tuple[Architecture, Share, list[str]]:
    """A typical network of the space within the limits, the phase's share, and lines to print."""
    search: Any = study.search
    space, note = searched_space(study, data, anchors)
    lines = [f"note          {note}"] if note else []
    evaluator: Evaluator = search.evaluator.make()
    evaluator = bound(evaluator, space)
    check_networks(study, of_each_side(space))
    sizes = survey(space, search.limits, evaluator.workload, samples, study.seed)
    lines.append(
        f"space         {space.size:,} networks, {len(space.parameters)} parameters; "
        f"{describe_flops(sizes.flops)}"
    )
    lines.append(f"within limits {describe_count(sizes)}; {describe_flops(sizes.flops_within)}")
    table = fitting_table(study, space)
    if study.latency is not None:
        source = "" if table is None else f", predicted by {study.latency.table}"
        lines.append(f"latency       measured on {study.latency.deployment}{source}")
    notes = phase_notes("search", evaluator, [sizes.typical], search.schedule)
    seconds = trial_seconds(executor, evaluator, sizes.typical, data, search.schedule)
    total = None if seconds is None else seconds * search.trials
    return sizes.typical, Share(f"search        {search.trials} trials", total, notes), lines


def _confirm(study: Study, executor: Executor, network: Architecture, data: Data | None) -> Share:
    """Trainings of networks like a typical one of the search."""
    search: Any = study.search
    confirm, top = search.confirm, min(search.confirm.top, search.trials)
    text = f"confirm       {confirm_words(top, confirm.seeds)}"
    networks = [network] * (top * confirm.seeds)
    evaluator: Evaluator = confirm.evaluator.make()
    share = _share("confirm", executor, evaluator, text, networks, data, confirm.schedule)
    if top < confirm.top:
        few = f"confirm: {top} candidates instead of {confirm.top}: the search has {top} trials"
        share.notes.append(few)
    return share


def _grid(study: Study, executor: Executor, grid: GridOfNetworks, data: Data | None) -> Share:
    evaluator: Evaluator = study.grid.evaluator.make()  # type: ignore[union-attr]
    condition = "" if study.search is None else ", if the baseline is a typical network"
    text = f"grid          {grid_sentence(grid)}{condition}"
    whole = _share("grid", executor, evaluator, text, grid.fitting, data, grid.schedule)
    seconds = None if whole.seconds is None else whole.seconds * grid.share
    return whole._replace(seconds=seconds)


def _grid_confirm(
    study: Study, executor: Executor, grid: GridOfNetworks, data: Data | None
) -> Share:
    """As many points from the middle of the grid as there are leaders, and single dimensions."""
    confirm: Any = study.grid.confirm  # type: ignore[union-attr]
    evaluator: Evaluator = study.grid.evaluator.make()  # type: ignore[union-attr]
    points = [grid.space.coefficients(point) for point in grid.space.points()]
    first = max(0, (len(points) - confirm.top) // 2)
    networks = confirmed_networks(
        study, grid.baseline, points[first : first + confirm.top]
    ).values()
    text = f"grid_confirm  {grid_confirm_words(confirm, len(networks))}"
    share = _share("grid_confirm", executor, evaluator, text, [*networks], data)
    times = confirm.seeds * sum(confirm.lengths)
    return share._replace(seconds=None if share.seconds is None else share.seconds * times)


def _family(
    study: Study,
    executor: Executor,
    network: Architecture,
    coefficients: Scaling | None,
    data: Data | None,
) -> Share:
    family: Any = study.family
    every = members_of(study, network, coefficients, data)
    evaluator: Evaluator = family.evaluator.make()
    networks = list(dict.fromkeys(member.architecture for member in every))
    text = f"family        {len(every)} members, {len(networks)} different networks"
    return _share("family", executor, evaluator, text, networks, data, family.schedule)


def _share(
    phase: str,
    executor: Executor,
    evaluator: Evaluator,
    text: str,
    networks: Sequence[Architecture],
    data: Data | None,
    schedule: Schedule = WHOLE_EPOCHS,
) -> Share:
    """A phase of these networks; `UserError` if the evaluator's options do not fit them."""
    notes = phase_notes(phase, evaluator, networks, schedule) if networks else []
    return Share(text, phase_seconds(executor, evaluator, networks, data, schedule), notes)


def _typical_coefficients(grid: GridOfNetworks) -> Scaling:
    """The middle of the grid, instead of its winner, which is not known yet."""
    points = list(grid.space.points())
    return grid.space.coefficients(points[len(points) // 2])
