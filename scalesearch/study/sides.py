"""Whether the networks of each phase have the smaller images that the phase asks for."""

from __future__ import annotations

from collections.abc import Iterator

from scalesearch.arch.detector import Architecture
from scalesearch.errors import UserError
from scalesearch.interfaces import Space
from scalesearch.scaling.sides import require_smaller
from scalesearch.study.schema import Phase, Study


def check_sides(phase: Phase, network: Architecture, section: str) -> None:
    """Rejects shares of the side of which images of a network would be no smaller.

    Raises:
        UserError: with the key in the phase's section.
    """
    shares = {"fidelity": [phase.fidelity.resolution]}
    shares["stopping"] = [fidelity.resolution for _, fidelity in phase.schedule.stages]
    for key, each in shares.items():
        try:
            require_smaller(network, each)
        except UserError as error:
            raise error.at(under=f"{section}.{key}.resolution") from None


def check_all_sides(study: Study, network: Architecture) -> None:
    """The same for every phase, before the first: the networks of them all are like this one."""
    for section, phase in study.phases.items():
        check_sides(phase, network, section)


def of_each_side(space: Space) -> Iterator[Architecture]:
    """A network of a space, and one of each other side that it has."""
    network = space.sample(0)
    yield network
    for side in space.parameters.get("resolution", ()):
        parameters = {**space.encode(network), "resolution": side}
        yield space.decode(space.nearest(parameters))
