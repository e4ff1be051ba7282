"""Forms that a response surface may have: what its error is as a function of log multipliers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import Protocol

import numpy as np

_LEAST = 1e-4  # errors nearer to 0 or 1 have no use in logarithms
# Of the descent: steps, steps of a draw, the relative gain that is none, and how often there is
# none before it ends: after a step that fails the next one is shorter.
_STEPS, _REFITS, _TOLERANCE, _CALM = 80, 15, 1e-7, 5
_EXPONENTS = (0.15, 0.5, 1.5, 6.0)  # where the search for the exponents of a power law starts


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit:
    """A form fitted to rows.

    Attributes:
        parameters: float [terms].
        fitted: errors on the surface, float [rows].
        projection: how the parameters move with the error of each row, float [terms, rows].
        leverage: how a fitted error moves with the row's own, float [rows].
    """

    parameters: np.ndarray
    fitted: np.ndarray
    projection: np.ndarray
    leverage: np.ndarray


class Form(Protocol):
    """A family of surfaces with so many parameters."""

    @property
    def name(self) -> str:
        """In words."""

    @property
    def terms(self) -> int:
        """The number of parameters."""

    def fit(self, inputs: np.ndarray, errors: np.ndarray, weights: np.ndarray) -> Fit | None:
        """The surface with the least weighted squares of errors; None if rows do not settle it."""

    def refit(
        self, fit: Fit, inputs: np.ndarray, changes: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """Parameters [terms, draws] when the errors are the fitted ones plus [rows, draws]."""

    def predict(self, parameters: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Errors [points, draws] of surfaces with parameters [terms, draws]."""


# Polynomials by rising number of terms.
POLYNOMIALS = ("linear", "common curvature", "squares", "quadratic")


@dataclass(frozen=True)
class Polynomial:
    """A polynomial of low order for log(-log accuracy); solved exactly.

    -log accuracy is the loss of a classifier that gives this probability to what is right, and for
    small errors the error itself. Its logarithm is nearer to a polynomial than that of the error
    where the error is large, as of small MobileNets.

    Attributes:
        order: `linear`; with one `common curvature`; with `squares` of each input; `quadratic`,
            with products.
        dimensions: how many vary.
        at_one_budget: whether all rows are at one budget, so that growth of the first dimension
            follows from that of the others.
        corrected: whether the inputs end with an excess of FLOPs, which is linear.
    """

    order: str
    dimensions: int
    at_one_budget: bool
    corrected: bool

    @property
    def name(self) -> str:
        """In words."""
        return f"log(-log accuracy), {self.order}"

    @property
    def terms(self) -> int:
        """The number of parameters."""
        return self._design(np.zeros((1, 2 * self.dimensions + self.corrected))).shape[1]

    def fit(self, inputs: np.ndarray, errors: np.ndarray, weights: np.ndarray) -> Fit | None:
        """Weighted least squares, where a row weighs as much as its error does in points."""
        design = self._design(inputs)
        kept = weights > 0
        if np.linalg.matrix_rank(design[kept], tol=1e-6) < design.shape[1]:
            return None
        errors = np.clip(errors, _LEAST, 1 - _LEAST)
        responses = _loss_log(errors)
        fitted = np.full(len(errors), np.median(errors[kept]))
        for _ in range(3):
            slopes = _slope(np.clip(fitted, _LEAST, 1 - _LEAST))
            root = slopes * np.sqrt(weights)
            inverse = np.linalg.pinv(design * root[:, None]) * root
            parameters = inverse @ responses
            fitted = _error(design @ parameters)
        return Fit(
            parameters=parameters,
            fitted=fitted,
            projection=inverse / slopes,
            leverage=np.einsum("ij,ji->i", design, inverse),
        )

    def refit(
        self, fit: Fit, inputs: np.ndarray, changes: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """All draws at once: they share the projection."""
        return fit.parameters[:, None] + fit.projection @ changes

    def predict(self, parameters: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Errors [points, draws]."""
        return _error(self._design(inputs) @ parameters)

    def _design(self, inputs: np.ndarray) -> np.ndarray:
        growth = inputs[:, self.dimensions : 2 * self.dimensions]
        free = growth[:, int(self.at_one_budget) :]
        columns = [np.ones((len(inputs), 1)), free, inputs[:, 2 * self.dimensions :]]
        if self.order == "common curvature":
            columns.append((growth**2).sum(axis=1, keepdims=True))
        elif self.order != "linear":
            columns.append(free**2)
        if self.order == "quadratic":
            pairs = combinations(range(free.shape[1]), 2)
            columns += [free[:, [i]] * free[:, [j]] for i, j in pairs]
        return np.hstack(columns)


@dataclass(frozen=True)
class PowerLaw:
    """error = E + sum of A_j * exp(-a_j * input_j), all of them positive.

    The exponents are searched and the rest is solved exactly, as non-negative least squares, for
    where to start; a damped Gauss-Newton descent on logarithms of all ends it.
    """

    inputs: int

    @property
    def name(self) -> str:
        """In words."""
        return "sum of power laws"

    @property
    def terms(self) -> int:
        """The number of parameters."""
        return 1 + 2 * self.inputs

    def fit(self, inputs: np.ndarray, errors: np.ndarray, weights: np.ndarray) -> Fit | None:
        """The best of several starts."""
        from scipy.optimize import nnls

        inputs = self._columns(inputs)
        root = np.sqrt(weights)
        starts = []
        for exponents in product(_EXPONENTS, repeat=self.inputs):
            design = np.hstack([np.ones((len(inputs), 1)), np.exp(-inputs * np.array(exponents))])
            linear, distance = nnls(design * root[:, None], errors * root)
            starts.append((distance, np.concatenate([linear, exponents])))
        starts.sort(key=lambda pair: pair[0])
        first = np.log(np.maximum(np.stack([p for _, p in starts[:4]], axis=1), 1e-3))
        targets = np.repeat(errors[:, None], first.shape[1], axis=1)
        ends, squares = self._descend(first, inputs, targets, weights)
        parameters = ends[:, np.argmin(squares)]
        slopes = self._slopes(parameters[:, None], inputs)[0]
        inverse = np.linalg.pinv(slopes * root[:, None], rcond=1e-6) * root
        return Fit(
            parameters=parameters,
            fitted=self.predict(parameters[:, None], inputs)[:, 0],
            projection=inverse,
            leverage=np.einsum("ij,ji->i", slopes, inverse),
        )

    def refit(
        self, fit: Fit, inputs: np.ndarray, changes: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """All draws at once, each from the parameters of the fit."""
        first = np.repeat(fit.parameters[:, None], changes.shape[1], axis=1)
        inputs = self._columns(inputs)
        return self._descend(first, inputs, fit.fitted[:, None] + changes, weights, steps=_REFITS)[
            0
        ]

    def predict(self, parameters: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Errors [points, draws]."""
        inputs = self._columns(inputs)
        level, factors, exponents = self._split(parameters)
        total = np.repeat(level[None], len(inputs), axis=0)
        for factor, exponent, column in zip(factors, exponents, inputs.T, strict=True):
            total += factor * np.exp(-np.outer(column, exponent))
        return total

    def _columns(self, inputs: np.ndarray) -> np.ndarray:
        return inputs[:, : self.inputs]

    def _split(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        positive = np.exp(parameters)
        return positive[0], positive[1 : 1 + self.inputs], positive[1 + self.inputs :]

    def _slopes(self, parameters: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Derivatives of the errors by the parameters, float [draws, rows, terms]."""
        level, factors, exponents = self._split(parameters)
        parts = np.stack(
            [
                f[:, None] * np.exp(-np.outer(a, x))
                for f, a, x in zip(factors, exponents, inputs.T, strict=True)
            ]
        )  # [inputs, draws, rows]
        bends = -parts * exponents[:, :, None] * inputs.T[:, None, :]
        levels = np.broadcast_to(level[:, None], parts.shape[1:])[None]
        return np.moveaxis(np.concatenate([levels, parts, bends]), 0, -1)

    def _descend(
        self,
        parameters: np.ndarray,
        inputs: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        steps: int = _STEPS,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Levenberg-Marquardt for all draws at once: parameters, and weighted squares [draws]."""
        damping = np.full(parameters.shape[1], 1e-2)
        low = np.log(np.r_[np.full(1 + self.inputs, 1e-6), np.full(self.inputs, 0.02)])[:, None]
        high = np.log(np.r_[np.full(1 + self.inputs, 3.0), np.full(self.inputs, 40.0)])[:, None]
        parameters = np.clip(parameters, low, high)

        def squares(at: np.ndarray) -> np.ndarray:
            return weights @ (targets - self.predict(at, inputs)) ** 2

        now, calm = squares(parameters), 0
        for _ in range(steps):
            slopes = self._slopes(parameters, inputs)
            residuals = targets - self.predict(parameters, inputs)
            pulled = np.swapaxes(slopes * weights[None, :, None], 1, 2)
            normal = pulled @ slopes
            gradient = (pulled @ residuals.T[:, :, None])[:, :, 0]
            scale = np.einsum("dpp->dp", normal)
            ridge = damping[:, None] * (scale + 1e-9 * scale.max(axis=1, keepdims=True) + 1e-300)
            normal = normal + ridge[:, :, None] * np.eye(self.terms)
            moves = np.linalg.solve(normal, gradient[:, :, None])[:, :, 0].T
            there = np.clip(parameters + np.clip(moves, -1.0, 1.0), low, high)
            then = squares(there)
            better = then < now
            gain = np.max(np.where(better, now - then, 0.0) / (now + 1e-300))
            calm = calm + 1 if gain < _TOLERANCE else 0
            parameters = np.where(better, there, parameters)
            now = np.where(better, then, now)
            damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-9, 1e6)
            if calm == _CALM:
                break
        return parameters, now


def _loss_log(errors: np.ndarray) -> np.ndarray:
    return np.log(-np.log1p(-errors))


def _error(loss_log: np.ndarray) -> np.ndarray:
    return -np.expm1(-np.exp(np.minimum(loss_log, 30.0)))


def _slope(errors: np.ndarray) -> np.ndarray:
    """What an error moves by with the logarithm of its loss."""
    return -(1 - errors) * np.log1p(-errors)


def forms(dimensions: int, at_one_budget: bool, corrected: bool) -> tuple[Form, ...]:
    """Every form for evidence of that kind; see `Evidence.inputs_of` for its inputs.

    Of one free input, squares and products add nothing to a common curvature. Power laws have no
    term for FLOPs that differ from the budget.
    """
    free = dimensions - at_one_budget
    orders: tuple[str, ...] = POLYNOMIALS if free > 1 else POLYNOMIALS[:2]
    if free > 1 and at_one_budget:  # squares of two of three growths say nothing by themselves
        orders = tuple(order for order in orders if order != "squares")
    polynomials = tuple(Polynomial(order, dimensions, at_one_budget, corrected) for order in orders)
    return polynomials if corrected else (*polynomials, PowerLaw(dimensions))
