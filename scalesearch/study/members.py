"""The members of a study's family: scaled by phi, and listed line by line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from scalesearch.arch.detector import Architecture
from scalesearch.arch.factory import Factory
from scalesearch.arch.plain import replaced
from scalesearch.errors import UserError
from scalesearch.interfaces import Data
from scalesearch.scaling.detector import Scaling
from scalesearch.scaling.family import Member, members
from scalesearch.scaling.lines import line, multiplied
from scalesearch.study.inputs import budget_measure, images_of
from scalesearch.study.schema import Line, Study
from scalesearch.study.sides import check_all_sides


def members_of(
    study: Study, network: Architecture, triple: Scaling | None, data: Data | None
) -> tuple[Member, ...]:
    """Every member of the family: those of its strategies at each phi, then those of its lines.

    Raises:
        UserError: a member cannot be made.
    """
    family = study.family
    assert family is not None
    scaled: tuple[Member, ...] = ()
    if triple is not None:
        cost_name = getattr(triple, "budget_cost", "flops")  # detectors' have none
        measure = budget_measure(study, cost_name, family.evaluator)
        scaled = tuple(
            replace(member, architecture=_regularised(study, member.architecture, member.phi))
            for member in members(network, triple, family.phi, family.strategies, measure)
        )
    listed = tuple(
        member
        for name, settings in family.lines.items()
        for member in _line(name, settings, network, data)
    )
    return scaled + listed


def _regularised(study: Study, network: Architecture, phi: float) -> Architecture:
    """A scaled network with the rates of its phi."""
    assert study.family is not None
    try:
        return study.family.regularisation.applied(network, phi)
    except UserError as error:
        raise error.at(under="family") from None


def check_networks(study: Study, networks: Iterable[Architecture]) -> None:
    """Rejects networks that cannot be what later phases make of them, before the first phase.

    Args:
        study: its settings.
        networks: the baseline; of a search, one of each side.

    Raises:
        UserError: images that cannot be smaller, or dropout that a family's members cannot have.
    """
    for network in networks:
        check_all_sides(study, network)
        if study.family is not None:
            _regularised(study, network, 0)


def check_lines(study: Study, network: Architecture, data: Data | None) -> None:
    """Makes the listed members and looks at their outputs, before anything else is trained.

    Raises:
        UserError: a member cannot be made, or gives other outputs than the data set has classes.
    """
    if study.family is None or not study.family.lines:
        return
    for member in members_of(study, network, None, data):
        if isinstance(member.architecture, Factory):
            from scalesearch.cost.factory_dimensions import check_outputs  # loads torch

            try:
                check_outputs(member.architecture)
            except UserError as error:
                raise error.at(under=f"family.lines.{member.strategy}") from None


def _line(name: str, settings: Line, network: Any, data: Data | None) -> tuple[Member, ...]:
    wanted = images_of(data)
    networks: Any  # classifiers: the settings were checked
    try:
        if settings.networks:
            networks = tuple(replaced(one.make(), wanted) for one in settings.networks)
        else:
            networks = multiplied(network, settings.multipliers, settings.head_scaling)
        return line(name, network, networks)
    except UserError as error:
        raise error.at(under=f"family.lines.{name}") from None
