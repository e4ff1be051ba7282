"""What a study starts from, made for the images of its data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from scalesearch import plugins
from scalesearch.arch.backbone import Backbone
from scalesearch.arch.plain import digest
from scalesearch.cost.closed_form import cost
from scalesearch.cost.limits import excess, worst
from scalesearch.errors import UserError
from scalesearch.interfaces import ImageData, SlottedSpace, Space
from scalesearch.study.schema import Study


def named_baseline(study: Study, data: ImageData) -> Backbone:
    """The network that a study without a search names.

    A published network is made for ImageNet: input and output follow the data set.

    Raises:
        UserError: the study says otherwise, and is wrong.
    """
    given = study.baseline
    assert given is not None  # the settings were checked: a study has this or a search
    wanted: dict[str, Any] = _images(data)
    for key, right in wanted.items():
        if given.fields.get(key, right) != right:
            raise UserError(
                f"the data set {study.dataset.name!r} has {right}, not {given.fields[key]}",
                key=f"baseline.{key}",
                allowed=f"{right}, or nothing: it follows the data set",
            )
    return replace(given.make(), **wanted)


def searched_space(study: Study, data: ImageData) -> tuple[SlottedSpace, str]:
    """The space of a study's search for its data set, and a note if its file was made for another.

    A space is a way of building networks; how many channels come in and how many classes go out
    is for the data set to say.
    """
    assert study.search is not None
    space = plugins.load("spaces", "backbone").load(study.search.space)
    wanted, before = _images(data), space.sample(0)
    changed = [f"{key} {right}" for key, right in wanted.items() if getattr(before, key) != right]
    if not changed:
        return space, ""
    note = f"{study.search.space.name} follows the data set: {', '.join(changed)}"
    return space.with_images(**wanted), note


@dataclass(frozen=True)
class GridOfNetworks:
    """The triples that a study tries on a baseline, and the networks they come down to.

    Attributes:
        space: of the triples.
        baseline: the network that they scale.
        networks: how many different ones there are, as rounding gives some triples the same.
        fitting: those within the grid's limits, by FLOPs.
    """

    space: Space
    baseline: Backbone
    networks: int
    fitting: tuple[Backbone, ...]


def grid_of(study: Study, baseline: Backbone) -> GridOfNetworks:
    """The grid of a study around a baseline."""
    grid = study.grid
    assert grid is not None
    space: Space = plugins.load("spaces", "coefficients")(
        baseline=baseline,
        budget=grid.budget,
        tolerance=grid.tolerance,
        step=grid.step,
        phi=grid.phi,
    )
    workload = grid.evaluator.make().workload
    networks = {space.decode(point) for point in space.points()}
    costs = {network: cost(network, workload=workload) for network in networks}
    fitting = [n for n in networks if worst(excess(costs[n], grid.limits)) <= 0]
    fitting.sort(key=lambda n: (costs[n].flops, digest(n)))
    return GridOfNetworks(space, baseline, len(networks), tuple(fitting))


def _images(data: ImageData) -> dict[str, int]:
    return {"in_channels": data.channels, "num_classes": len(data.classes)}
