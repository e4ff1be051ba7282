"""Whether a ranking of short trainings holds when networks are trained longer or scaled further."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from scalesearch.history.trials import Trial

_DRAWS = 2000
_SEED = 0
_INTERVAL = (2.5, 97.5)  # percentiles
_HALF = 0.5  # a correlation that cannot be as high says little
_FEWEST = 4  # ways that a rank correlation is worth giving for


@dataclass(frozen=True, kw_only=True)
class Condition:
    """The ways to scale under one condition.

    Attributes:
        phi: how far they were scaled.
        length: how many times as long they were trained.
        values: mean of the metric by way, the best first.
        rank: Kendall's tau-b with the first condition, from -1 to 1; None of the first condition
            itself, and with fewer than four ways or ties alone.
        interval: the middle 95 % of `rank` over draws of ways with replacement.
        ways: how many different networks `rank` compares.
    """

    phi: float
    length: float
    values: Mapping[str, float]
    rank: float | None = None
    interval: tuple[float, float] | None = None
    ways: int = 0

    @property
    def best(self) -> str:
        """The way with the highest mean."""
        return next(iter(self.values))

    @property
    def is_lost(self) -> bool:
        """Whether the first ranking does not survive here."""
        if self.rank is None or self.interval is None:
            return False
        return self.interval[1] < _HALF

    @property
    def words(self) -> str:
        """`phi 2, 3 times as long`."""
        times = "as long" if self.length == 1 else f"{self.length:g} times as long"
        return f"phi {self.phi:g}, {times}"


@dataclass(frozen=True)
class Drift:
    """All conditions, that of the grid or the one nearest to it first."""

    conditions: tuple[Condition, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What each condition says of the ranking, and a warning where it does not survive."""
        first, *others = self.conditions
        return tuple(_sentence(first, other) for other in others)

    @property
    def holds(self) -> bool | None:
        """Whether all rankings agree with the first more than chance; None if nothing is known.

        False where one has an interval that does not reach a half.
        """
        if any(each.is_lost for each in self.conditions):
            return False
        known = [each.interval for each in self.conditions if each.interval is not None]
        return True if known and all(low > 0 for low, _ in known) else None


def drift(trials: Sequence[Trial], metric: str, phi: float = 1.0) -> Drift | None:
    """What the trials of a confirmed grid say; None without a result.

    The first condition is the grid's own, a length of 1 at its `phi`, or the nearest to it.
    """
    networks: dict[tuple[float, float], dict[str, str]] = {}
    scores: dict[tuple[float, float, str], list[float]] = {}
    for trial in trials:
        if trial.has_result:
            given = trial.parameters
            key = given["length"], given["phi"]
            networks.setdefault(key, {})[given["way"]] = trial.digest
            scores.setdefault((*key, trial.digest), []).append(trial.scores[metric])
    if not networks:
        return None
    # Ways that come to the same network share its trainings.
    means = {
        key: {way: fmean(scores[*key, network]) for way, network in ways.items()}
        for key, ways in networks.items()
    }
    keys = sorted(means, key=lambda key: (abs(math.log(key[0])), abs(key[1] - phi), key))
    first = means[keys[0]]
    conditions = []
    for n, (length, at) in enumerate([keys[0], *sorted(keys[1:])]):
        own = means[length, at]
        ordered = dict(sorted(own.items(), key=lambda pair: -pair[1]))
        both = _different(networks[keys[0]], networks[length, at])
        rank, interval = _agreement(first, own, both) if n else (None, None)
        conditions.append(
            Condition(
                phi=at, length=length, values=ordered, rank=rank, interval=interval, ways=len(both)
            )
        )
    return Drift(tuple(conditions))


def _different(first: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Ways that both conditions have, one of those that are the same network in either."""
    ways: list[str] = []
    for way in first:
        seen = any(first[way] == first[w] or other.get(way) == other[w] for w in ways)
        if way in other and not seen:
            ways.append(way)
    return ways


def _agreement(
    first: Mapping[str, float], other: Mapping[str, float], ways: Sequence[str]
) -> tuple[float | None, tuple[float, float] | None]:
    """Kendall's tau-b of two rankings, and its interval over draws of ways."""
    if len(ways) < _FEWEST:
        return None, None
    before, after = (np.array([each[way] for way in ways]) for each in (first, other))
    tau = _tau(before[None], after[None])[0]
    if np.isnan(tau):
        return None, None
    draws = np.random.default_rng(_SEED).integers(len(ways), size=(_DRAWS, len(ways)))
    drawn = _tau(before[draws], after[draws])
    low, high = np.nanpercentile(drawn, _INTERVAL)
    return float(tau), (float(low), float(high))


def _tau(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of each row, float [rows]; NaN where one side is all ties."""
    first, second = np.triu_indices(before.shape[1], k=1)
    signs = [np.sign(each[:, first] - each[:, second]) for each in (before, after)]
    untied = np.prod([np.sqrt((sign != 0).sum(axis=1)) for sign in signs], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        tau: np.ndarray = (signs[0] * signs[1]).sum(axis=1) / untied
    return tau


def _sentence(first: Condition, other: Condition) -> str:
    same = other.best == first.best
    best = f"{other.best} is {'still ' if same else ''}the best"
    if other.rank is None or other.interval is None:
        return f"{other.words}: {best}"
    low, high = other.interval
    text = (
        f"{other.words}: {best}; rank correlation with {first.words} {other.rank:.2f} "
        f"[{low:.2f}, {high:.2f}] over {other.ways} ways"
    )
    if other.is_lost:
        return f"{text}: the ranking does not survive"
    return text if low > 0 else f"{text}: too few ways to say whether the ranking survives"
