"""What evaluators that train have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from scalesearch.arch.detector import Architecture
from scalesearch.training.recipe import CommonRecipe


class Trains(CommonRecipe):
    """What the core asks of an evaluator beside its scores, as far as torch is needed for it."""

    def check(self, architecture: Architecture) -> None:
        """Raises `UserError` if the options ask for what a network does not have."""
        from scalesearch.training.freezing import check_freeze

        check_freeze(architecture, self)

    def notes_on(self, architectures: Sequence[Any]) -> tuple[str, ...]:
        """What networks take of the weights to begin with; `UserError` if none can use them."""
        from scalesearch.training.freezing import weights_notes

        return weights_notes(architectures, self)

    def fitted(self, architecture: Any) -> Self:
        """The same with a micro-batch that is predicted to fit into this worker's memory."""
        from scalesearch.training.memory_fit import with_micro_batch

        return with_micro_batch(self, architecture)
