"""The Pareto front of trials."""

from __future__ import annotations

from collections.abc import Sequence

from scalesearch.errors import UserError

Point = tuple[float, ...]
_SIGNS = {"minimize": 1, "maximize": -1}


def front(points: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """Indices of the points that no other point dominates, in the order they came.

    A point dominates another when it is at least as good in every value and better in one. Equal
    points do not dominate each other, so all copies of a front point are returned (as Optuna's
    `best_trials` does). Takes O(n log n) for two values, O(n * front) otherwise.

    Args:
        points: each with as many values as there are directions; infinities are allowed.
        directions: `maximize` or `minimize` for each value.

    Raises:
        UserError: an unknown direction, a point of another length, or a value that is not a number.
    """
    costs = _as_costs(points, directions)
    # Every dominator of a point sorts before it.
    order = sorted(range(len(costs)), key=costs.__getitem__)
    keep = _front_of_two if len(directions) == 2 else _front_of_many
    return sorted(keep(costs, order))


def _as_costs(points: Sequence[Sequence[float]], directions: Sequence[str]) -> list[Point]:
    """The points with their signs changed where more is better."""
    for direction in directions:
        if direction not in _SIGNS:
            raise UserError(f"{direction!r} is not a direction", allowed=", ".join(_SIGNS))
    signs = [_SIGNS[direction] for direction in directions]
    for index, point in enumerate(points):
        if len(point) != len(signs):
            raise UserError(f"point {index} has {len(point)} values for {len(signs)} directions")
        if any(value != value for value in point):
            raise UserError(
                f"point {index} is {tuple(point)!r}: a value that is not a number has no rank",
                hint="leave failed trials out",
            )
    return [tuple(s * value for s, value in zip(signs, point, strict=True)) for point in points]


def _front_of_two(points: list[Point], order: list[int]) -> list[int]:
    """Front by one sweep: behind its dominators a point has no smaller second value."""
    kept: list[int] = []
    for index in order:
        last = points[kept[-1]] if kept else None
        if last is None or points[index][1] < last[1] or points[index] == last:
            kept.append(index)
    return kept


def _front_of_many(points: list[Point], order: list[int]) -> list[int]:
    """Front by comparing each point with the front so far."""
    kept: list[int] = []
    for index in order:
        if not any(_dominates(points[other], points[index]) for other in kept):
            kept.append(index)
    return kept


def _dominates(one: Point, other: Point) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
