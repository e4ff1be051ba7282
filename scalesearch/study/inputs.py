"""What a study starts from, made for the images of its data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count as count_from
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.arch.detector import Anchors, Architecture, Detector
from scalesearch.arch.factory import Factory
from scalesearch.arch.plain import digest, replaced
from scalesearch.contracts import check_data
from scalesearch.cost.closed_form import cost
from scalesearch.cost.latency_estimate import estimator
from scalesearch.cost.limits import violations, worst
from scalesearch.errors import UserError, nearest
from scalesearch.history.fidelity import WHOLE_EPOCHS, Schedule
from scalesearch.history.halving import Halving, spread, usual_rungs
from scalesearch.interfaces import BoxData, CoefficientSpace, Data, Evaluator, Space, hook
from scalesearch.plugins import calling
from scalesearch.scaling.coefficients import COEFFICIENTS
from scalesearch.scaling.factory import scaled_dimensions
from scalesearch.scaling.measure import FLOPS, Measure, latency_by, training_memory
from scalesearch.spaces.backbone import BackboneSpace
from scalesearch.spaces.coefficient_grid import CoefficientGrid
from scalesearch.spaces.detector import DetectorSpace
from scalesearch.spaces.detector_coefficient_grid import DetectorCoefficientGrid
from scalesearch.spaces.named import NamedSpace
from scalesearch.spaces.pool import Pool
from scalesearch.spaces.space import Space as SpaceOfFile
from scalesearch.study.checks import scores_classes
from scalesearch.study.latency import load_table, require_deployment
from scalesearch.study.parts import Plugin, TableSpace
from scalesearch.study.schema import Study
from scalesearch.study.sides import check_sides
from scalesearch.text import shortened
from scalesearch.training.recipe import FEW_CLASSES

# Of the validation images: if more are of one class, accuracy hardly tells networks apart.
_OUTWEIGHS = 0.8
_FEWEST = 6  # coefficients that are worth comparing in rounds


def load_data(study: Study) -> Data | None:
    """The data set of a study, read and split; None of a study without one."""
    if study.dataset is None:
        return None
    try:
        with calling(study.dataset.name, "load"):
            loaded = study.dataset.make().load(study.seed)
        data = check_data(study.dataset.name, loaded, study.task)
    except UserError as error:
        raise error if error.file else error.at(under="dataset") from error
    if study.objective.metric == "top5_accuracy" and len(data.classes) <= FEW_CLASSES:
        raise UserError(
            f"the data set has {len(data.classes)} classes: of so few there is no top5_accuracy",
            key="search.objective",
            allowed=f"more than {FEW_CLASSES} classes, or another metric",
        )
    kind, _, name = study.objective.metric.partition("/")
    scorer = study.evaluator if study.search is None else study.search.evaluator
    if name and name not in data.classes and scores_classes(scorer, kind):
        raise UserError(
            f"the data set has no class {shortened(name)!r}, so that there is no "
            f"{kind}/{shortened(name)}",
            key="search.objective",
            allowed=f"one of {len(data.classes)} classes",
            hint=nearest(name, data.classes),
        )
    return data


def data_notes(data: Data, metric: str) -> list[str]:
    """What is to be said of a data set: its own notes, and a class that outweighs all others.

    `metric` is what networks are ranked by.
    """
    if isinstance(data, BoxData):
        return list(data.notes)
    counts = np.bincount(data.validation.labels, minlength=len(data.classes))
    largest = int(counts.argmax())
    share = counts[largest] / counts.sum()
    if share <= _OUTWEIGHS:
        return list(data.notes)
    advice = "; `objective: balanced_accuracy` weighs all classes alike"
    return [
        *data.notes,
        f"{share:.0%} of the validation images are of class {data.classes[largest]!r}: a network "
        f"that says nothing else has an accuracy of {share:.2f}"
        + (advice if metric == "accuracy" else ""),
    ]


def named_baseline(study: Study, data: Data | None, anchors: Anchors | None = None) -> Architecture:
    """The network that a study without a search names, with the study's own anchors if given.

    A published network is made for ImageNet or COCO: input and output follow the data set.

    Raises:
        UserError: the study gives another number of channels or classes, or a factory that builds
            no network to scale.
    """
    given = study.baseline
    assert given is not None  # the settings were checked: a study has this or a search
    assert study.dataset is not None
    wanted: dict[str, Any] = images_of(data)
    for key, value in wanted.items():
        if given.fields.get(key, value) != value:
            raise UserError(
                f"the data set {study.dataset.name!r} has {value}, not {given.fields[key]}",
                key=f"baseline.{key}",
                allowed=f"{value}, or nothing: it follows the data set",
            )
    if anchors is not None:
        wanted["anchors"] = anchors
    network = replaced(given.make(), wanted)
    if isinstance(network, Factory):
        try:
            scaled_dimensions(network)
        except UserError as error:
            raise error.at(under="baseline") from None
    return network


def factory_notes(network: Architecture) -> list[str]:
    """What is to be said of a network that a factory builds: which dimensions are not scaled."""
    if not isinstance(network, Factory):
        return []
    known = scaled_dimensions(network)
    fixed = [
        f"{name} ({letter} is 1)" for name, letter in COEFFICIENTS.items() if name not in known
    ]
    return [f"{network.factory} does not scale {' and '.join(fixed)}"] if fixed else []


def searched_space(
    study: Study, data: Data | None, anchors: Anchors | None = None
) -> tuple[Space, str]:
    """The space of a study's search for its data set, and a note if its file was made for another.

    Detectors get `anchors`, if the study has some. The numbers of input channels and of classes
    are the data set's. Without a data set they are the file's; an evaluator that knows some
    networks alone leaves these.
    """
    assert study.search is not None
    if isinstance(study.search.space, TableSpace):
        return _listed(study.search.space.pool(), study), ""
    space = _read_space(study)
    if anchors is not None:
        assert isinstance(space, DetectorSpace)  # of detectors alone a study has anchors
        space = space.with_anchors(anchors)
    if data is None:
        return _listed(space, study), ""
    wanted, before = images_of(data), space.sample(0)
    changed = [f"{key} {right}" for key, right in wanted.items() if getattr(before, key) != right]
    if not changed:
        return _listed(space, study), ""
    note = f"{study.search.space.name} follows the data set: {', '.join(changed)}"
    return _listed(space.with_images(**wanted), study), note


def bound(evaluator: Evaluator, space: Space) -> Evaluator:
    """The search's evaluator, made for its space if it needs that."""
    try:
        own: Evaluator = hook(evaluator, "bound")(space) or evaluator
    except UserError as error:
        raise error.at(under="search.evaluator") from None
    return own


def compared_space(study: Study, data: Data | None) -> NamedSpace:
    """The networks that a study compares its search with, made for its data set."""
    assert study.search is not None
    wanted: dict[str, Any] = {} if data is None else images_of(data)
    networks = {one.name: replaced(one.make(), wanted) for one in study.search.compare}
    return NamedSpace(networks=networks)


def _listed(space: Space, study: Study) -> Space:
    """The networks of a space that the search's evaluator can score: all, or a pool of them."""
    assert study.search is not None
    try:
        networks = hook(study.search.evaluator.make(), "networks")(space)
    except UserError as error:
        raise error.at(under="search.evaluator") from None
    if networks is None:
        return space
    base = space.base if isinstance(space, Pool) else space
    if base is None:  # rows of a table: those that have a result, with their costs
        assert isinstance(space, Pool)
        return space.only(networks)
    return Pool(choices_of=space.parameters, networks=tuple(networks), base=base)


def _read_space(study: Study) -> SpaceOfFile:
    assert study.search is not None
    assert isinstance(study.search.space, Path)
    kind = DetectorSpace if study.network is Detector else BackboneSpace
    return kind.load(study.search.space)


def anchors_of(study: Study, data: Data | None) -> tuple[Anchors | None, str]:
    """The anchors that a study gives all of its detectors, and a note if they were fitted.

    They are fitted to the resolution and levels of the baseline, or of one network of the space,
    with as many sizes and shapes as it has.
    """
    given = getattr(study, "anchors", None)
    if given != "auto":
        return given, ""
    from scalesearch.training.fit_anchors import fit_anchors

    assert isinstance(data, BoxData)  # the task was checked against the data set
    first = study.baseline.make() if study.baseline else _read_space(study).sample(0)
    assert isinstance(first, Detector)
    before = first.anchors
    count = {"octaves": before.octaves, "ratios": len(before.ratios)}
    fitted = fit_anchors(data, first.resolution, first.neck.levels, **count)
    shapes = ", ".join(f"{width:.2f} x {height:.2f}" for width, height in fitted.anchors.shapes)
    return fitted.anchors, (
        f"anchors: scale {fitted.anchors.scale:.3g}, shapes {shapes}: {fitted.best_recall:.1%} of "
        f"{fitted.boxes:,} boxes reached at an intersection over union of .5 "
        f"(by the default ones {fitted.default_recall:.1%})"
    )


@dataclass(frozen=True)
class GridOfNetworks:
    """The coefficients that a study tries on a baseline, and the networks that they give.

    Attributes:
        space: of the coefficients.
        noun: what its points are called, in the plural.
        baseline: the network that they scale.
        networks: how many different ones there are, as rounding gives some the same.
        fitting: those within the grid's limits, by FLOPs; of a budget of trainings too small for
            all, those that it is spent on.
        halving: how a budget of trainings is spent on them; None trains each to its end.
        entrants: of these the positions in the space.
        unused: networks within the limits that the budget is too small for.
        schedule: of a training of which a budget counts as 1: without what rungs save.
    """

    space: CoefficientSpace
    noun: str
    baseline: Architecture
    networks: int
    fitting: tuple[Architecture, ...]
    halving: Halving | None = None
    entrants: tuple[int, ...] = ()
    unused: int = 0
    schedule: Schedule = WHOLE_EPOCHS

    @property
    def total(self) -> int:
        """The trainings to expect."""
        count = len(self.fitting)
        return count if self.halving is None else self.halving.total(count)

    @property
    def share(self) -> float:
        """The budget of trainings as a share of one whole training of each."""
        if self.halving is None or not self.fitting:
            return 1.0
        return self.halving.trainings / len(self.fitting)


def grid_of(study: Study, baseline: Architecture) -> GridOfNetworks:
    """The grid of a study around a baseline."""
    grid: Any = study.grid
    assert grid is not None
    shared = {name: getattr(grid, name) for name in ("budget", "tolerance", "phi")}
    space: CoefficientSpace
    if isinstance(baseline, Detector):
        space = DetectorCoefficientGrid(baseline=baseline, choices=grid.choices, **shared)
        noun = "combinations"
    else:
        measure = budget_measure(study, grid.budget_cost, grid.evaluator)
        try:
            measure.check(baseline)
        except UserError as error:
            raise error.at(under="grid") from None
        space = CoefficientGrid(
            baseline=baseline,
            measure=measure,
            step=grid.step,
            head_scaling=grid.head_scaling,
            match=grid.match,
            **shared,
        )
        noun = "triples"
    workload = grid.evaluator.make().workload
    networks = {space.decode(point) for point in space.points()}
    costs = {network: cost(network, workload=workload) for network in networks}
    fitting = [n for n in networks if worst(violations(costs[n], grid.limits)) <= 0]
    fitting.sort(key=lambda n: (costs[n].flops, digest(n)))
    check_sides(grid, baseline, "grid")
    made = GridOfNetworks(
        space,
        noun,
        baseline,
        len(networks),
        tuple(fitting),
        schedule=Schedule(then=grid.fidelity),
    )
    return made if grid.trainings is None else _halved(made, grid)


def _halved(made: GridOfNetworks, grid: Any) -> GridOfNetworks:
    """A grid whose budget of trainings is spent in rounds, on as many networks as it is enough for.

    Where it is not enough for all, those are taken that lie as far apart as can be.
    """
    evaluator, stopping = grid.evaluator.make(), grid.stopping
    epochs, every = hook(evaluator, "epochs"), hook(evaluator, "validate_every")
    halving = Halving(
        epochs=epochs,
        trainings=grid.trainings,
        rungs=usual_rungs(epochs, every) if stopping is None else tuple(sorted(stopping.rungs)),
        keep=0.5 if stopping is None else stopping.keep,
        schedule=grid.schedule,
    )
    points = [*made.space.points()]
    networks = [made.space.decode(point) for point in points]
    first = {network: number for number, network in reversed([*enumerate(networks)])}
    numbers = sorted(first[network] for network in made.fitting)
    count = halving.entrants(len(numbers))
    wanted = min(_FEWEST, len(numbers))
    if count < wanted:
        least = next(
            n for n in count_from(1) if replace(halving, trainings=n).entrants(wanted) == wanted
        )
        raise UserError(
            f"{grid.trainings} trainings are too few to compare {wanted} {made.noun}",
            key="grid.trainings",
            allowed=f"at least {least}",
        )
    values = np.array([[float(value) for value in points[n].values()] for n in numbers])
    chosen = {networks[numbers[n]] for n in spread(values, count)} if numbers else set()
    left = {*made.fitting} - chosen
    return replace(
        made,
        fitting=tuple(network for network in made.fitting if network in chosen),
        halving=halving,
        entrants=tuple(n for n, network in enumerate(networks) if network not in left),
        unused=len(left),
    )


def budget_measure(study: Study, cost_name: str, evaluator: Plugin) -> Measure:
    """The cost that a budget is of: memory as an evaluator trains, latency by the study's table.

    Raises:
        UserError: the table was measured for another deployment, or cannot be read.
    """
    if cost_name == "flops":
        return FLOPS
    if cost_name == "training_bytes":
        return training_memory(evaluator.make().workload)
    assert study.latency is not None  # the settings were checked
    assert study.latency.table is not None
    table = load_table(study.latency.table)
    try:
        require_deployment(table, study.latency.deployment)
        return latency_by(estimator(table))
    except UserError as error:
        raise error.at(under="latency.table") from None


def images_of(data: Data | None) -> dict[str, Any]:
    """The fields of a network that follow the data set: its channels and classes."""
    assert data is not None  # the settings were checked: what is built for images has some
    return {"in_channels": data.channels, "num_classes": len(data.classes)}
