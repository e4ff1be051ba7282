"""Forms that a response surface may have: what its error is as a function of log multipliers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import Protocol

import numpy as np
from numpy.polynomial.chebyshev import chebvander

_LEAST = 1e-4  # errors nearer to 0 or 1 have no use in logarithms
# Of the descent: steps, steps of a draw, the relative gain that is none, and how often there is
# none before it ends: after a step that fails the next one is shorter.
_STEPS, _REFITS, _TOLERANCE, _CALM = 80, 15, 1e-7, 5
# Rows from which a power law is fitted to sums of them, with so many nodes for each input; and an
# input at which every exponent leaves nothing.
_MANY, _NODES, _BEYOND = 400, 40, 1e5
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
        ends, squares = self._descend(first, *_condensed(inputs, targets, weights))
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
        rows = _condensed(self._columns(inputs), fit.fitted[:, None] + changes, weights)
        return self._descend(first, *rows, steps=_REFITS)[0]

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
        mixture: np.ndarray | None = None,
        steps: int = _STEPS,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Levenberg-Marquardt for all draws at once: parameters, and weighted squares [draws].

        With a mixture targets are of sums of rows; see `_condensed`.
        """
        damping = np.full(parameters.shape[1], 1e-2)
        low = np.log(np.r_[np.full(1 + self.inputs, 1e-6), np.full(self.inputs, 0.02)])[:, None]
        high = np.log(np.r_[np.full(1 + self.inputs, 3.0), np.full(self.inputs, 40.0)])[:, None]
        parameters = np.clip(parameters, low, high)

        def mixed(rows: np.ndarray) -> np.ndarray:
            return rows if mixture is None else mixture @ rows

        def squares(at: np.ndarray) -> np.ndarray:
            return weights @ (targets - mixed(self.predict(at, inputs))) ** 2

        now, calm = squares(parameters), 0
        for _ in range(steps):
            slopes = mixed(self._slopes(parameters, inputs))
            residuals = targets - mixed(self.predict(parameters, inputs))
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


def _condensed(
    inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Few rows with the weighted squares of many, for a sum of smooth functions of one input each.

    Such a sum at any row is a fixed mixture of its values at Chebyshev nodes of one input while the
    others are out of reach, so that an orthogonal factor of the mixtures holds all that its squares
    depend on. Interpolation is good to 1e-6 of the largest exponents of a power law and far better
    at usual ones.

    Args:
        inputs: float [rows, inputs].
        targets: float [rows, draws].
        weights: float [rows].

    Returns:
        Inputs [nodes, inputs], targets [sums, draws] and weights [sums], and the mixture
        [sums, nodes] that makes sums of values at the nodes; the arguments and None of few rows.
    """
    if len(inputs) <= _MANY:
        return inputs, targets, weights, None
    count = inputs.shape[1]
    places = np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)
    inverse = np.linalg.inv(chebvander(places, _NODES - 1))
    nodes = np.full((count * _NODES + 1, count), _BEYOND)
    mixture = np.full((len(inputs), len(nodes)), 1.0 - count)
    for which, column in enumerate(inputs.T):
        middle, half = (column.max() + column.min()) / 2, np.ptp(column) / 2
        own = slice(which * _NODES, (which + 1) * _NODES)
        nodes[own, which] = middle + half * places
        mixture[:, own] = chebvander((column - middle) / half, _NODES - 1) @ inverse
    root = np.sqrt(weights)[:, None]
    factor, triangle = np.linalg.qr(mixture * root)
    sums = (factor * root).T @ targets
    rest = np.maximum(weights @ targets**2 - (sums**2).sum(axis=0), 0.0)  # no surface reaches it
    return (
        nodes,
        np.vstack([sums, np.sqrt(rest)]),
        np.ones(len(sums) + 1),
        np.vstack([triangle, np.zeros(len(nodes))]),
    )


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
