"""Results of networks that were scaled from one base: what a response surface is fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import POWERS

DIMENSIONS = ("depth", "width", "resolution")
_SAME = 0.3  # rows are at one budget if growth differs by so little of what each dimension adds
_NEAR = 0.05  # share of growth; points as near to the rows are within them
_REACH = 0.25  # share of growth; further beyond the rows a surface says nothing
_SUM = 1e3  # how strictly weights of a mean sum to 1
_MANY = 60  # rows from which only the corners of their convex hull are looked at
_SPREAD = 0.01  # differences of log FLOPs that are worth a term


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """Errors of networks by what their base was multiplied with.

    Attributes:
        dimensions: those that vary, of `depth`, `width` and `resolution`.
        logs: logarithms of their multipliers relative to the base, float [rows, dimensions].
        errors: 1 - accuracy, shares between 0 and 1, float [rows].
        budget: what FLOPs may be multiplied with; below 1 to shrink.
        weights: how much each row counts, such as the number of images, float [rows].
        networks: which network each row is of, int [rows]; repeated trainings share it. By default
            rows with the same multipliers are the same network.
        growth: measured FLOPs (or latency) relative to the base's, float [rows], or None.
        noise: the standard deviation over seeds, as a share, where it is known from elsewhere.
        fitted_cost: whether `growth` also says how the cost grows with each dimension; else FLOPs
            grow with depth * width^2 * resolution^2.
        cost: what `growth` and the budget are of, in words.
    """

    dimensions: tuple[str, ...]
    logs: np.ndarray
    errors: np.ndarray
    budget: float
    weights: np.ndarray
    networks: np.ndarray
    growth: np.ndarray | None = None
    noise: float | None = None
    fitted_cost: bool = False
    cost: str = "FLOPs"

    @classmethod
    def of(
        cls,
        errors: Sequence[float] | np.ndarray,
        multipliers: dict[str, Sequence[float] | np.ndarray],
        *,
        budget: float = 2.0,
        weights: Sequence[float] | np.ndarray | None = None,
        networks: Sequence[object] | np.ndarray | None = None,
        growth: Sequence[float] | np.ndarray | None = None,
        noise: float | None = None,
        fitted_cost: bool = False,
        cost: str = "FLOPs",
    ) -> Evidence:
        """Evidence from plain arrays; see `fit_surface` for their meaning.

        Raises:
            UserError: arrays that do not fit together or hold what cannot be.
        """
        values = _column("errors", errors)
        rows = len(values)
        dimensions = tuple(name for name in DIMENSIONS if multipliers.get(name) is not None)
        if not dimensions:
            raise UserError("no dimension varies", allowed="depth, width, resolution")
        columns = [_column(name, multipliers[name], rows, above=0.0) for name in dimensions]
        logs = np.log(np.stack(columns, axis=1))
        _check_errors(values)
        _check_budget(budget)
        for name, column in zip(dimensions, logs.T, strict=True):
            if np.ptp(column) < 1e-9:
                raise UserError(
                    f"there is one distinct value, {np.exp(column[0]):g} times the base's: "
                    "what it does cannot be seen",
                    key=name,
                    allowed="several values, or leave this dimension out",
                )
        if noise is not None and not 0 < noise < 1:
            raise UserError(f"{noise!r} is no standard deviation", key="noise", allowed="a share")
        if fitted_cost and growth is None:
            raise UserError("the cost of each row is missing", key="growth")
        return cls(
            dimensions=dimensions,
            logs=logs,
            errors=values,
            budget=budget,
            weights=np.ones(rows)
            if weights is None
            else _column("weights", weights, rows, above=0.0),
            networks=_identities(logs.round(9) if networks is None else np.asarray(networks), rows),
            growth=None if growth is None else _column("growth", growth, rows, above=0.0),
            noise=noise,
            fitted_cost=fitted_cost,
            cost=cost,
        )

    @cached_property
    def exponents(self) -> np.ndarray:
        """The power of each multiplier with which the cost grows, float [dimensions].

        Rows at one budget cannot show it: there it is the nominal one.

        Raises:
            UserError: the measured cost does not grow with each dimension.
        """
        if not self.fitted_cost or self.growth is None or self.at_one_budget:
            return self._nominal
        design = np.column_stack([np.ones(len(self.logs)), self.logs])
        powers: np.ndarray = np.linalg.lstsq(design, np.log(self.growth), rcond=None)[0][1:]
        for name, power in zip(self.dimensions, powers, strict=True):
            if power < 0.05:
                raise UserError(
                    f"the cost does not grow with {name}: its power is {power:.2f}",
                    key="growth",
                    hint="take the nominal cost, depth * width^2 * resolution^2",
                )
        return powers

    @property
    def _nominal(self) -> np.ndarray:
        return np.array([POWERS[name] for name in self.dimensions])

    @property
    def log_budget(self) -> float:
        """The logarithm of what the cost may be multiplied with."""
        return float(np.log(self.budget))

    @cached_property
    def at_one_budget(self) -> bool:
        """Whether all rows have about the budget's nominal growth: two dimensions are free, not 3.

        Raises:
            UserError: all have one growth, but another than the budget.
        """
        parts = self.logs * self._nominal
        growth = parts.sum(axis=1)
        if len(self.dimensions) < 2 or np.ptp(growth) > _SAME * np.ptp(parts, axis=0).max():
            return False
        if abs(growth.mean() - self.log_budget) > _SAME * abs(self.log_budget):
            raise UserError(
                f"all rows are at about {np.exp(growth.mean()):.2f} times the base's FLOPs",
                key="budget",
                allowed="their own budget, as nothing is known of others",
            )
        return True

    @cached_property
    def inputs(self) -> np.ndarray:
        """What the surface is a function of, float [rows, inputs]; see `inputs_of`."""
        inputs = self.inputs_of(self.logs)
        if self.corrected:
            assert self.growth is not None
            inputs[:, -1] = np.log(self.growth) - self.log_budget
        return inputs

    def inputs_of(self, logs: np.ndarray) -> np.ndarray:
        """The surface's inputs at log multipliers [points, dimensions], at the budget's FLOPs.

        Columns: log multipliers; growth in FLOPs by each dimension, as a share of the budget's, in
        logs; and 0 for the excess of FLOPs over the budget if `corrected`.
        """
        logs = np.asarray(logs, dtype=float)
        growth = logs * self.exponents / self.log_budget
        return np.hstack([logs, growth, np.zeros((len(logs), int(self.corrected)))])

    def distances(self, logs: np.ndarray) -> np.ndarray:
        """How far points [points, dimensions] are from any mean of the rows, as shares of growth.

        0 within their convex hull.
        """
        from scipy.optimize import nnls

        scale = self.exponents / self.log_budget
        corners = self.logs[self._corners] * scale
        hull = np.vstack([corners.T, np.full(len(corners), _SUM)])
        return np.array([nnls(hull, np.append(point, _SUM))[1] for point in logs * scale])

    @cached_property
    def _corners(self) -> np.ndarray:
        """Rows whose means all others are, int [corners]; every row of a small table."""
        return corners(self.logs) if len(self.logs) > _MANY else np.arange(len(self.logs))

    def reaches(self, logs: np.ndarray) -> np.ndarray:
        """Which points are so near to the rows that the surface is asked there, bool [points]."""
        return self.distances(logs) <= _REACH

    def covers(self, logs: np.ndarray) -> bool:
        """Whether a point [dimensions] is within the rows, give or take a twentieth of growth."""
        return bool(self.distances(logs[None])[0] < _NEAR)

    @cached_property
    def corrected(self) -> bool:
        """Whether measured FLOPs of rows at one budget differ, so that they are worth a term."""
        if not self.at_one_budget or self.growth is None:
            return False
        return bool(np.std(np.log(self.growth)) > _SPREAD)


def corners(points: np.ndarray) -> np.ndarray:
    """Places of the corners of the convex hull of points [points, dimensions], int [corners].

    Points on a line or a plane have corners, too.
    """
    from scipy.spatial import ConvexHull, QhullError

    axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[1:]
    along = (points - points.mean(axis=0)) @ axes[1][axes[0] > 1e-9 * max(axes[0][0], 1e-300)].T
    if along.shape[1] < 2:
        return np.unique([along[:, :1].argmin(), along[:, :1].argmax()]) if along.size else np.r_[0]
    try:
        found: np.ndarray = ConvexHull(along).vertices
    except QhullError:  # too thin for it: all different points will do
        found = np.unique(points, axis=0, return_index=True)[1]
    return np.sort(found)


def _column(
    name: str, values: Sequence[float] | np.ndarray, rows: int = 0, above: float | None = None
) -> np.ndarray:
    try:
        column = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise UserError("holds something else than numbers", key=name) from None
    if column.ndim != 1 or not len(column):
        raise UserError(f"has the shape {column.shape}", key=name, allowed="one number for a row")
    if rows and len(column) != rows:
        raise UserError(f"{len(column)} values for {rows} rows", key=name)
    wrong = ~np.isfinite(column) if above is None else ~(np.isfinite(column) & (column > above))
    if wrong.any():
        row = int(np.argmax(wrong))
        allowed = "numbers" if above is None else f"numbers above {above:g}"
        raise UserError(f"{column[row]:g} in row {row + 1}", key=name, allowed=allowed)
    return column


def _check_errors(errors: np.ndarray) -> None:
    wrong = (errors <= 0) | (errors >= 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{errors[row]:g} in row {row + 1}",
            key="errors",
            allowed="shares between 0 and 1",
            hint="divide percent by 100" if errors.max() > 1 else "",
        )
    if np.ptp(errors) < 1e-9:
        raise UserError(f"all are {errors[0]:g}: nothing can be learnt of them", key="errors")


def _check_budget(budget: float) -> None:
    if not 0 < budget < 1e6 or abs(np.log(budget)) < 1e-3:
        raise UserError(
            f"{budget!r} cannot be used",
            key="budget",
            allowed="what FLOPs are multiplied with: above 1 to grow, between 0 and 1 to shrink",
        )


def _identities(values: np.ndarray, rows: int) -> np.ndarray:
    if len(values) != rows:
        raise UserError(f"{len(values)} values for {rows} rows", key="networks")
    codes: np.ndarray = np.unique(values, axis=0, return_inverse=True)[1]
    return codes.reshape(rows)
