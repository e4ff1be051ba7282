"""How sure it is which of a few candidates is the best, from several results of each.

The results of a candidate are taken as draws from a normal distribution around its true value, with
one variance for all candidates. Nothing else is assumed of the true values. Then those that the
results allow are a multivariate Student's t around the means: the probability of being the best is
a candidate's share of draws in which its value is the highest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 100_000
LEAST = 2  # results of a candidate, for a probability
_SEED = 0  # the same results have the same probability, always
_AT_ONCE = 10_000  # draws in memory


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """What is known of candidates, each at its position.

    Attributes:
        means: of the results; NaN without any.
        errors: standard error of each mean; None with fewer than two results.
        probabilities: of being the best; they add up to 1. None with fewer than two results, or
            where no other candidate has two.
        variance: of one result, pooled over the candidates; NaN if none has two results.
        freedom: degrees of freedom of the variance.
        best: the candidate with the highest mean of those with two results or more (of all, if none
            has two); fewer FLOPs break ties, then the order. None without any result.
        close: those within one standard error of the best, and the best itself. The error is that
            of the difference of both means: the best one's mean is as uncertain as the others'.
    """

    means: tuple[float, ...]
    errors: tuple[float | None, ...]
    probabilities: tuple[float | None, ...]
    variance: float
    freedom: int
    best: int | None
    close: tuple[int, ...]


def confidence(results: Sequence[Sequence[float]], flops: Sequence[int]) -> Confidence:
    """The means, their errors and the probabilities of candidates by their results, higher better.

    With n results of each of k candidates the pooled variance has k * (n - 1) degrees of freedom;
    where some results are missing each candidate gives as many as it has results, less one.
    """
    counts = [len(each) for each in results]
    means = tuple(float(np.mean(each)) if len(each) else float("nan") for each in results)
    known = [n for n, count in enumerate(counts) if count >= LEAST]
    freedom = sum(counts[n] - 1 for n in known)
    squares = sum(float(np.sum((np.asarray(results[n]) - means[n]) ** 2)) for n in known)
    variance = squares / freedom if known else float("nan")
    errors = tuple((variance / count) ** 0.5 if count >= LEAST else None for count in counts)
    probabilities: list[float | None] = [None] * len(counts)
    if len(known) >= 2:
        centers = np.array([means[n] for n in known])
        widths = np.array([(variance / counts[n]) ** 0.5 for n in known])
        shares = _probabilities(centers, widths, freedom)
        for n, share in zip(known, shares, strict=True):
            probabilities[n] = float(share)
    able = known or [n for n, count in enumerate(counts) if count]
    best = min(able, key=lambda n: (-means[n], flops[n], n), default=None)
    close = [
        n
        for n in known
        if best is not None
        and means[best] - means[n] <= (variance / counts[best] + variance / counts[n]) ** 0.5
    ]
    return Confidence(
        means=means,
        errors=errors,
        probabilities=tuple(probabilities),
        variance=variance,
        freedom=freedom,
        best=best,
        close=tuple(close),
    )


def fewest(candidates: Sequence[int], flops: Sequence[int]) -> int | None:
    """The one with the fewest FLOPs, the first of equals; None without candidates."""
    return min(candidates, key=lambda n: (flops[n], n), default=None)


def _probabilities(means: np.ndarray, errors: np.ndarray, freedom: int) -> np.ndarray:
    """The share of draws that each of the means wins; a draw that some tie for is shared."""
    random = np.random.default_rng(_SEED)
    wins = np.zeros(len(means))
    for _ in range(DRAWS // _AT_ONCE):
        # One variance for all candidates in each draw, as there is one that all results share.
        scales = np.sqrt(freedom / random.chisquare(freedom, (_AT_ONCE, 1)))
        drawn = means + errors * scales * random.standard_normal((_AT_ONCE, len(means)))
        highest = drawn == drawn.max(axis=1, keepdims=True)
        wins += (highest / highest.sum(axis=1, keepdims=True)).sum(axis=0)
    return wins / wins.sum()
