"""How sure the best coefficients are: surfaces that the evidence could as well have shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scalesearch.scaling.surface import Candidate, Surface

_CELLS = 1_000_000  # errors that are held at once, draws times rows
_POOL = 10  # networks from which their own residuals are resampled; of fewer, normal noise


@dataclass(frozen=True, eq=False, kw_only=True)
class Draws:
    """Surfaces drawn around the fitted one.

    Attributes:
        surface: the fitted one.
        parameters: one array [terms, draws] for each candidate; draws go by its share.
    """

    surface: Surface
    parameters: tuple[np.ndarray, ...]

    @property
    def count(self) -> int:
        """The number of surfaces."""
        return sum(each.shape[1] for each in self.parameters)

    def errors(self, logs: np.ndarray) -> np.ndarray:
        """Errors of every drawn surface at log multipliers: shares, float [points, draws]."""
        return np.hstack(list(self.parts(logs)))

    def parts(self, logs: np.ndarray) -> Iterator[np.ndarray]:
        """`errors`, candidate by candidate."""
        inputs = self.surface.evidence.inputs_of(logs)
        for candidate, parameters in zip(self.surface.candidates, self.parameters, strict=True):
            yield candidate.form.predict(parameters, inputs)

    def best(self, logs: np.ndarray) -> np.ndarray:
        """Which of the points has the least error on each surface, int [draws]."""
        return np.concatenate([part.argmin(axis=0) for part in self.parts(logs)])


def draw(surface: Surface, draws: int, seed: int) -> Draws:
    """Surfaces refitted to resampled errors.

    Networks are resampled, with all their trainings: a residual of the mean of a network, scaled by
    its leverage, is put in place of another's. Each draw is then scaled by a draw of the noise
    itself, which makes the differences to the fit follow Student's t with the noise's degrees of
    freedom. Forms get draws by their shares, so that they are spread by what form is right, too.
    """
    random = np.random.default_rng(seed)
    counts = _split(draws, np.array([each.share for each in surface.candidates]))
    return Draws(
        surface=surface,
        parameters=tuple(
            np.hstack(
                [
                    _refitted(surface, candidate, some, random)
                    for some in _chunks(count, len(surface.evidence.errors))
                ]
            )
            for candidate, count in zip(surface.candidates, counts, strict=True)
        ),
    )


def _refitted(
    surface: Surface, candidate: Candidate, draws: int, random: np.random.Generator
) -> np.ndarray:
    evidence = surface.evidence
    kept = candidate.weights > 0
    codes = np.unique(evidence.networks[kept], return_inverse=True)[1]
    weights = candidate.weights[kept]
    totals = np.bincount(codes, weights)
    residuals = (evidence.errors - candidate.fit.fitted)[kept]
    means = np.bincount(codes, weights * residuals) / totals
    leverage = np.bincount(codes, candidate.fit.leverage[kept])
    standard = np.sqrt(totals) * means / np.sqrt(np.maximum(1 - leverage, 0.05))
    standard -= standard.mean()
    spread = float(np.sqrt(np.mean(standard**2)))
    shape = (len(totals), draws)
    if len(totals) >= _POOL and spread > 1e-12:
        deviates = random.choice(standard / spread, shape)
    else:
        deviates = random.standard_normal(shape)
    scale = candidate.noise * np.sqrt(
        candidate.freedom / random.chisquare(candidate.freedom, draws)
    )
    changes = np.zeros((len(evidence.errors), draws))
    changes[kept] = (deviates * scale / np.sqrt(totals)[:, None])[codes]
    return candidate.form.refit(candidate.fit, evidence.inputs, changes, candidate.weights)


def _chunks(draws: int, rows: int) -> list[int]:
    """Numbers of draws that are refitted together, so that memory stays small: one of few rows."""
    each = max(1, _CELLS // rows)
    return [min(each, draws - start) for start in range(0, max(1, draws), each)]


def _split(total: int, shares: np.ndarray) -> np.ndarray:
    """Whole numbers by shares that sum to `total`."""
    counts = np.floor(total * shares).astype(int)
    order = np.argsort(counts - total * shares, kind="stable")
    counts[order[: total - counts.sum()]] += 1
    return counts
