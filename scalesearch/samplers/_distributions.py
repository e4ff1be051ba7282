"""The choices of a space in Optuna's terms."""

from __future__ import annotations

from optuna.distributions import BaseDistribution, CategoricalDistribution

from scalesearch.interfaces import Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Each parameter to its categorical distribution, in the order of the space."""
    return {name: CategoricalDistribution(c) for name, c in space.parameters.items()}
