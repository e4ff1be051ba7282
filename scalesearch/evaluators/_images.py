"""What every evaluator that trains asks of its images."""

from __future__ import annotations

from scalesearch.arch.detector import Architecture
from scalesearch.errors import UserError
from scalesearch.interfaces import Data


def require_images(architecture: Architecture, data: Data) -> None:
    """Raises `UserError` if a network takes other images than those of a data set."""
    for key, wanted, given in (
        ("in_channels", data.channels, architecture.in_channels),
        ("num_classes", len(data.classes), architecture.num_classes),
    ):
        if wanted != given:
            raise UserError(
                f"the network has {given}, the data set {wanted}", key=key, allowed=str(wanted)
            )
