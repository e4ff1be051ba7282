"""A response in sentences and as entries of a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.scaling.coefficients import COEFFICIENTS
from scalesearch.scaling.evidence import DIMENSIONS

if TYPE_CHECKING:
    from scalesearch.scaling.response import Comparison, Range, Response

_SURE = 0.95  # probability from which a difference is called one
_EDGE = 1e-3  # share of growth below which a dimension gets nothing
_NARROW = 0.25  # of what the budget allows: an interval that settles that a dimension gets nothing
_ENOUGH, _PLENTY = 2.5, 4  # networks for each term from which intervals hold, and hold easily


def lines(response: Response) -> tuple[str, ...]:
    """What can and what cannot be concluded, a sentence each."""
    return tuple(_lines(response))


def _lines(response: Response) -> Iterator[str]:
    yield best_line(response)
    yield model_line(response)
    yield from _failed_lines(response)
    yield from _flat_lines(response)
    for comparison in response.comparisons:
        yield comparison_line(comparison)
    yield from _warnings(response)


def best_line(response: Response) -> str:
    """The best coefficients with their intervals."""
    evidence = response.evidence
    parts = [
        f"{name} {value:.2f} ({response.intervals[name]})" for name, value in response.best.items()
    ]
    return (
        f"best at {evidence.budget:g} times the {evidence.cost}, with 95 % intervals: "
        f"{', '.join(parts)}; accuracy {100 * response.accuracy:.2f} %"
    )


def model_line(response: Response) -> str:
    """What was fitted to what, and how well it predicts."""
    surface, evidence = response.surface, response.evidence
    rows, networks = len(evidence.errors), len(np.unique(evidence.networks))
    heaviest = surface.candidates[0]
    others = f" ({100 * heaviest.share:.0f} % of the weight)" if heaviest.share < 0.995 else ""
    error = leave_one_out(response)
    how_well = (
        "as many terms as networks, so that nothing checks it"
        if error is None
        else f"leave-one-out error {error:.2f} points"
    )
    return (
        f"surface: {surface.name}{others} of {rows} results of {networks} networks; {how_well}; "
        f"noise {100 * heaviest.noise:.2f} points"
    )


def leave_one_out(response: Response) -> float | None:
    """Root mean square of leave-one-out errors in points; None if the surface meets every row."""
    networks = len(np.unique(np.delete(response.evidence.networks, response.surface.failed)))
    if any(each.form.terms >= networks for each in response.surface.candidates):
        return None
    return 100 * response.surface.leave_one_out


def comparison_line(comparison: Comparison) -> str:
    """How the best coefficients do against others."""
    against = (
        "the paper's coefficients" if comparison.name == "paper" else f"{comparison.name} alone"
    )
    values = ", ".join(f"{name} {value:.2f}" for name, value in comparison.coefficients.items())
    if comparison.same:
        return f"the best is {against}"
    low, high = comparison.interval.low, comparison.interval.high
    sure = max(comparison.probability, 1 - comparison.probability) >= _SURE
    return (
        f"against {against} ({values}): better with probability {comparison.probability:.2f}, "
        f"by {comparison.gain:.2f} points ({low:.2f} to {high:.2f})"
        + ("" if sure else ": not known")
        + ("" if comparison.covered else "; those lie beyond the results")
    )


def _failed_lines(response: Response) -> Iterator[str]:
    surface = response.surface
    for row in surface.failed:
        off = 100 * surface.worst(row)
        name = response.rows[row] if response.rows else f"result {row + 1}"
        yield (
            f"{name} is left out as a failed training: it is {abs(off):.1f} points "
            f"{'worse' if off > 0 else 'better'} than the others say"
        )


def _flat_lines(response: Response) -> Iterator[str]:
    from scalesearch.scaling.response import FLAT

    if len(response.shares) < 2:
        return
    if leave_one_out(response) is None:
        yield "what lies near the best is as good as unknown: nothing checks the surface's shape"
        return
    region = ", ".join(f"{name} {each}" for name, each in response.region.items())
    word = "flat: anything in this region" if response.flat else "the region that"
    yield f"{word} is within {FLAT:g} points of the best: {region}"


def _warnings(response: Response) -> Iterator[str]:
    evidence, names = response.evidence, response.evidence.dimensions
    if len(names) == 1:
        yield f"only {names[0]} varies: within a budget there is nothing to choose"
        return
    yield from _unchanged_lines(response)
    if response.surface.name.endswith("linear"):
        yield (
            "warning: too few networks to see diminishing returns: with straight lines one "
            "dimension alone always comes out best, whether it is or not"
        )
    networks = len(np.unique(np.delete(evidence.networks, response.surface.failed)))
    terms = response.surface.candidates[0].form.terms
    if evidence.noise is None and networks < _ENOUGH * terms:
        yield (
            f"warning: {networks} networks for {terms} terms are few: the intervals may be too "
            f"narrow; {_PLENTY * terms} networks would do"
        )
    if response.outside:
        yield (
            "warning: these coefficients lie beyond the networks that there are results of, and "
            "the search ends there: train some there before you believe them"
        )
    if response.base_outside:
        yield "warning: the base lies beyond the networks that there are results of"
    if evidence.fitted_cost and not evidence.at_one_budget:
        powers = ", ".join(
            f"{name}^{power:.2f}" for name, power in zip(names, evidence.exponents, strict=True)
        )
        yield f"{evidence.cost} of these networks grow with {powers}"


def _unchanged_lines(response: Response) -> Iterator[str]:
    """Dimensions that get nothing of the budget, by whether the evidence settles that."""
    names = response.evidence.dimensions
    allowed = response.budget.logs(response.budget.points())
    sure: list[str] = []
    unsure: list[str] = []
    for row, (name, share) in enumerate(zip(names, response.shares, strict=True)):
        if share >= _EDGE:
            continue
        interval = response.intervals[COEFFICIENTS[name]]
        widest = float(np.ptp(allowed[:, row]))
        known = float(np.log(interval.high / interval.low)) <= _NARROW * widest
        (sure if known else unsure).append(name)
    if sure:
        stays = "stay as they are" if len(sure) > 1 else "stay as it is"
        yield f"{' and '.join(sure)} should {stays} at this budget"
    if unsure:
        stays = "leaves them as they are" if len(unsure) > 1 else "leaves it as it is"
        yield f"whether to scale {' and '.join(unsure)} is not known: the best point {stays}"


def file_entries(response: Response) -> dict[str, Any]:
    """As a `coefficients.yaml` holds it: coefficients first, then how sure they are."""
    evidence, surface = response.evidence, response.surface
    error = leave_one_out(response)
    entries: dict[str, Any] = response.coefficients.file_entries()
    entries["interval"] = {name: _pair(each) for name, each in response.intervals.items()}
    entries["within_0.1_points"] = {name: _pair(each) for name, each in response.region.items()}
    entries["flat"] = response.flat
    entries["accuracy"] = round(response.accuracy, 5)
    entries["better_than"] = {
        each.name: {
            "coefficients": {name: round(value, 4) for name, value in each.coefficients.items()},
            "probability": round(each.probability, 3),
            "points": round(each.gain, 3),
            "interval": _pair(each.interval),
            "covered": each.covered,
        }
        for each in response.comparisons
    }
    entries["surface"] = {
        "forms": {each.form.name: round(each.share, 3) for each in surface.candidates},
        "leave_one_out_points": None if error is None else round(error, 3),
        "noise_points": round(100 * surface.candidates[0].noise, 3),
        "draws": response.draws.count,
        "cost": {
            name: round(float(power), 3)
            for name, power in zip(evidence.dimensions, evidence.exponents, strict=True)
        },
    }
    entries["evidence"] = {
        "results": len(evidence.errors),
        "networks": len(np.unique(evidence.networks)),
        "failed": [row + 1 for row in surface.failed],
        "budget": evidence.budget,
        "constant": [COEFFICIENTS[name] for name in DIMENSIONS if name not in evidence.dimensions],
        "beyond_results": response.outside,
        "base_beyond_results": response.base_outside,
    }
    return entries


def _pair(each: Range) -> list[float]:
    return [round(each.low, 4), round(each.high, 4)]
