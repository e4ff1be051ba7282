"""From results of scaled networks to the best coefficients and their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scalesearch.errors import UserError
from scalesearch.scaling.budget import Budget, refinements
from scalesearch.scaling.evidence import DIMENSIONS, Evidence
from scalesearch.scaling.interval import Draws, draw
from scalesearch.scaling.response import FLAT, Comparison, Range, Response, Values, named, ranges
from scalesearch.scaling.surface import Surface, fit_forms

PAPER = {"depth": 1.2, "width": 1.1, "resolution": 1.15}  # Tan & Le 2019, section 4.2
_LEAST_DRAWS = 100
_ENDS = (0.025, 0.975)
_CHUNK = 60  # points whose distance to the rows is found at once
_WIDTH = 0.05  # share of growth about the best point of the grid that is searched more finely
_SAME = 0.005  # share of growth that makes no difference


def fit_surface(
    errors: Values,
    *,
    depth: Values | None = None,
    width: Values | None = None,
    resolution: Values | None = None,
    budget: float = 2.0,
    networks: Sequence[object] | np.ndarray | None = None,
    weights: Values | None = None,
    growth: Values | None = None,
    fitted_cost: bool = False,
    noise: float | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
    cost: str = "FLOPs",
    draws: int = 1000,
    seed: int = 0,
) -> Response:
    """The best coefficients for a base network, from results of networks scaled from it.

    Args:
        errors: 1 - accuracy of each result, shares between 0 and 1, [rows].
        depth: what the base's depth was multiplied with, [rows]; leave out what does not vary.
        width: the same of width.
        resolution: the same of resolution.
        budget: what FLOPs may be multiplied with; below 1 to shrink the network.
        networks: an identity for each row, which repeated trainings of a network share; by default
            rows with the same multipliers are one network.
        weights: how much each row counts, [rows].
        growth: measured FLOPs (or latency) over the base's, [rows]. Of rows at one budget it
            corrects for what differs.
        fitted_cost: take from `growth` how the cost grows with each dimension, too, instead of
            depth * width^2 * resolution^2.
        noise: standard deviation over seeds as a share, where it is known and seeds are missing.
        limits: of coefficients, such as `{"beta": (1.0, 1.3)}`.
        cost: what the budget is of, in words.
        draws: surfaces drawn for intervals and probabilities.
        seed: of the draws.

    Raises:
        UserError: arrays of different lengths, errors that are no shares, a dimension with one
            value, fewer networks than terms, or limits that nothing meets.
    """
    if draws < _LEAST_DRAWS:
        raise UserError(f"{draws} are too few", key="draws", allowed=f"at least {_LEAST_DRAWS}")
    evidence = Evidence.of(
        errors,
        {
            name: column
            for name, column in zip(DIMENSIONS, (depth, width, resolution), strict=True)
            if column is not None
        },
        budget=budget,
        networks=networks,
        weights=weights,
        growth=growth,
        noise=noise,
        fitted_cost=fitted_cost,
        cost=cost,
    )
    return respond(evidence, limits or {}, draws, seed)


def respond(
    evidence: Evidence, limits: Mapping[str, tuple[float, float]], draws: int, seed: int
) -> Response:
    """`fit_surface` of evidence that is checked already."""
    where = Budget.of(evidence, limits)
    surface = fit_forms(evidence)
    drawn = draw(surface, draws, seed)
    points = where.points()
    errors = surface.errors(where.logs(points))
    shares = _refined(surface, where, _first_reached(evidence, where, points, errors))
    least = float(surface.errors(where.logs(shares)[None])[0])
    near = points[(errors <= least + FLAT / 100)]
    near = np.vstack([shares, near[evidence.reaches(where.logs(near))]])
    # Draws are asked everywhere: beyond the results they differ most, which the interval shows.
    tops = points[drawn.best(where.logs(points))]
    ends = np.quantile(where.logs(tops), _ENDS, axis=0)
    own = where.logs(shares)
    low, high = np.minimum(ends[0], own), np.maximum(ends[1], own)
    return Response(
        surface=surface,
        draws=drawn,
        budget=where,
        shares=shares,
        intervals=ranges(evidence, np.stack([low, high])),
        region=ranges(evidence, where.logs(near)),
        comparisons=_comparisons(evidence, surface, drawn, where, shares),
    )


def _first_reached(
    evidence: Evidence, where: Budget, points: np.ndarray, errors: np.ndarray
) -> np.ndarray:
    """Shares [dimensions] of the point with the least error that is not far beyond the rows."""
    for chunk in np.array_split(np.argsort(errors, kind="stable"), 1 + len(errors) // _CHUNK):
        near = evidence.reaches(where.logs(points[chunk]))
        if near.any():
            first: np.ndarray = points[chunk[int(near.argmax())]]
            return first
    growth = np.exp(evidence.logs @ evidence.exponents)
    raise UserError(
        f"no row comes near {evidence.budget:g} times the base's cost: "
        f"they have {growth.min():.3g} to {growth.max():.3g} times",
        key="budget",
        hint="choose a base, a budget or limits among the rows",
    )


def _refined(surface: Surface, where: Budget, shares: np.ndarray) -> np.ndarray:
    """The best point in ever smaller surroundings of a good one."""
    width, evidence = _WIDTH, surface.evidence
    inside = evidence.covers(where.logs(shares))
    for _ in range(refinements()):
        points = np.vstack([shares, where.around(shares, width)])
        if not inside:
            points = points[evidence.reaches(where.logs(points))]
        shares = points[int(surface.errors(where.logs(points)).argmin())]
        width /= 4
    return np.where(np.abs(shares) < 1e-4, 0.0, shares)


def _comparisons(
    evidence: Evidence, surface: Surface, drawn: Draws, where: Budget, shares: np.ndarray
) -> tuple[Comparison, ...]:
    if len(shares) < 2:
        return ()
    paper = np.log([PAPER[name] for name in evidence.dimensions]) * where.exponents
    rivals = {"paper": paper / paper.sum()}
    rivals |= {name: np.eye(len(shares))[i] for i, name in enumerate(evidence.dimensions)}
    points = where.logs(np.stack([shares, *rivals.values()]))
    fitted, errors = surface.errors(points), drawn.errors(points)
    found = []
    for row, (name, rival) in enumerate(rivals.items(), start=1):
        gains = 100 * (errors[row] - errors[0])
        same = bool(np.abs(rival - shares).max() < _SAME)
        low, high = np.quantile(gains, _ENDS)
        found.append(
            Comparison(
                name=name,
                coefficients=named(evidence, points[row]),
                covered=evidence.covers(points[row]),
                probability=0.5 if same else float(np.mean(gains > 0)),
                gain=float(100 * (fitted[row] - fitted[0])),
                interval=Range(low=float(low), high=float(high)),
                same=same,
            )
        )
    return tuple(found)
