"""The response surface: what the error is as a function of depth, width and resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from scalesearch.errors import UserError
from scalesearch.scaling.evidence import Evidence
from scalesearch.scaling.forms import Fit, Form, forms

_FAILED = 0.01  # probability with which a sound training is taken for a failed one
_FAILED_LEAST = 0.005  # share of error that a failed training is off at least
_TOGETHER = 500  # rows for each further one that is left out at once
_MOST_FAILED = 0.1  # share of rows
_TRUST = 0.5  # of the leave-one-out likelihood: the same errors have chosen the form
_WORTH = 0.02  # weight below which a form is left out


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """One form fitted to the evidence.

    Attributes:
        form, fit: what was fitted, and how.
        weights: of each row; 0 of one that failed, float [rows].
        left_out: differences of each row's error to what the other networks say of it, float
            [rows].
        noise: standard deviation of an error of weight 1, as a share.
        freedom: degrees of freedom of `noise`.
        share: its weight among all forms; they sum to 1.
    """

    form: Form
    fit: Fit
    weights: np.ndarray
    left_out: np.ndarray
    noise: float
    freedom: float
    share: float = 1.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Surface:
    """The mean of several forms, each with the weight that its leave-one-out errors give it.

    Attributes:
        evidence: what it was fitted to.
        candidates: forms with their weights, the heaviest first.
        failed: rows that are left out as failed trainings, counted from 0.
    """

    evidence: Evidence
    candidates: tuple[Candidate, ...]
    failed: tuple[int, ...]

    def errors(self, logs: np.ndarray) -> np.ndarray:
        """Errors (shares) at log multipliers [points, dimensions], at the FLOPs that they have."""
        inputs = self.evidence.inputs_of(logs)
        return sum(  # type: ignore[return-value]
            each.share * each.form.predict(each.fit.parameters[:, None], inputs)[:, 0]
            for each in self.candidates
        )

    @cached_property
    def leave_one_out(self) -> float:
        """Root mean square of leave-one-out errors, as a share, of rows that did not fail.

        To first order: the forms keep their weights, and a row's weight stays as it is.
        """
        left_out = sum(each.share * each.left_out for each in self.candidates)
        kept = np.delete(left_out, self.failed)
        return float(np.sqrt(np.mean(kept**2)))

    @property
    def name(self) -> str:
        """The heaviest form in words."""
        return self.candidates[0].form.name

    def worst(self, row: int) -> float:
        """How much worse a row is than the surface, as a share."""
        return float(self.evidence.errors[row] - self.errors(self.evidence.logs[[row]])[0])


def fit_forms(evidence: Evidence) -> Surface:
    """The surface of all forms for which there are enough networks.

    A row whose error is not to be believed beside all others (a failed training) is left out.

    Raises:
        UserError: fewer networks than terms of the simplest form.
    """
    kept, fits = np.full(len(evidence.errors), True), _Fits(evidence)
    failed = _failed_rows(_able_forms(fits, kept), fits)
    kept[list(failed)] = False
    weights = kept * evidence.weights
    candidates = [
        candidate
        for form in _able_forms(fits, kept)
        if (candidate := _candidate(form, fits, weights)) is not None
    ]
    weighted = _weighted(candidates, evidence.networks, weights)
    return Surface(evidence=evidence, candidates=weighted, failed=failed)


@dataclass(frozen=True)
class _Fits:
    """Forms fitted to the evidence: to the same weights each of them once."""

    evidence: Evidence
    known: dict[tuple[Form, bytes], Fit | None] = field(default_factory=dict)

    def of(self, form: Form, weights: np.ndarray) -> Fit | None:
        """A form fitted to all rows, each with its weight [rows]."""
        key = form, weights.tobytes()
        if key not in self.known:
            self.known[key] = form.fit(self.evidence.inputs, self.evidence.errors, weights)
        return self.known[key]


def _able_forms(fits: _Fits, kept: np.ndarray) -> tuple[Form, ...]:
    """Forms with fewer terms than there are networks; with known noise as many will do."""
    evidence = fits.evidence
    networks = len(np.unique(evidence.networks[kept]))
    every = forms(len(evidence.dimensions), evidence.at_one_budget, evidence.corrected)
    seeds = evidence.noise is not None or int(kept.sum()) > networks
    able = tuple(
        form
        for form in every
        if form.terms + (0 if seeds else 1 + (form.terms > every[0].terms)) <= networks
    )
    if not able:
        least = every[0].terms + (not seeds)
        raise UserError(
            f"{networks} different network{'s' * (networks > 1)} for the {every[0].terms} terms "
            f"of the simplest surface of {' and '.join(evidence.dimensions)}",
            key="rows",
            allowed=f"at least {least}, and about {4 * least} for an interval of use",
        )
    weights = kept * evidence.weights
    if fits.of(every[0], weights) is None:
        raise UserError(
            "the rows do not tell the dimensions apart: those that vary do so together",
            key="rows",
            allowed="rows in which each dimension varies by itself",
        )
    told = [form for form in able if fits.of(form, weights) is not None]
    # Straight lines say that one dimension alone is best, whatever the noise: only if need be.
    return tuple(form for form in told if form is not every[0]) or tuple(told)


def _failed_rows(able: Sequence[Form], fits: _Fits) -> tuple[int, ...]:
    """Rows that the form which agrees best with nearly all others cannot believe."""
    evidence, trials = fits.evidence, []
    for form in able:
        weights = evidence.weights.copy()
        failed: list[int] = []
        before: tuple[int, ...] = ()
        while len(failed) <= max(1, int(_MOST_FAILED * len(weights))):
            fit = fits.of(form, weights)
            if fit is None:
                break
            left_out = _left_out(evidence.errors, fit)
            middle = np.sort(np.abs(left_out))[: max(1, int(0.8 * len(left_out)))]
            before = tuple(failed)
            trials.append((float(np.mean(middle**2)), before))
            worst = _unbelievable(evidence, form, fit, weights)
            if not worst:
                break
            weights[worst] = 0.0
            failed += worst
        else:  # as many as that are no accident, but a form that does not fit
            trials = [trial for trial in trials if trial[1] != before]
    if not trials:
        return ()
    return tuple(sorted(min(trials, key=lambda trial: trial[0])[1]))


def _unbelievable(evidence: Evidence, form: Form, fit: Fit, weights: np.ndarray) -> list[int]:
    """The row whose deleted residual no sound training among so many would have (Bonferroni).

    Of many rows the worst few at once.
    """
    from scipy.special import stdtrit  # `scipy.stats` takes a second to load

    kept = weights > 0
    freedom = int(kept.sum()) - form.terms - 1
    if freedom < 2:
        return []
    residuals = np.where(kept, evidence.errors - fit.fitted, 0.0)
    room = np.maximum(1 - fit.leverage, 1e-6)
    squares = weights * residuals**2
    variance = np.maximum(squares.sum() - squares / room, 0.0) / freedom
    deviations = np.sqrt(squares / room / np.maximum(variance, 1e-16))
    worst = np.argsort(-deviations, kind="stable")[: 1 + int(kept.sum()) // _TOGETHER]
    limit = -stdtrit(freedom, _FAILED / 2 / kept.sum())
    far = np.abs(residuals[worst]) / room[worst] > _FAILED_LEAST
    found: list[int] = worst[(deviations[worst] > limit) & far].tolist()
    return found


def _candidate(form: Form, fits: _Fits, weights: np.ndarray) -> Candidate | None:
    """One form fitted, with its noise."""
    evidence, fit = fits.evidence, fits.of(form, weights)
    if fit is None:
        return None
    noise, freedom = _noise(evidence, form, fit, weights)
    return Candidate(
        form=form,
        fit=fit,
        weights=weights,
        left_out=_network_left_out(evidence, fit),
        noise=noise,
        freedom=freedom,
    )


def _left_out(errors: np.ndarray, fit: Fit) -> np.ndarray:
    """Residuals of rows left out one by one, to first order."""
    return (errors - fit.fitted) / np.maximum(1 - fit.leverage, 0.02)


def _network_left_out(evidence: Evidence, fit: Fit) -> np.ndarray:
    """Residuals of rows whose networks are left out with all of their repeats, to first order.

    Rows of one network move every fitted error of it alike, each by its leverage, so that the
    inverse of what is left when all of them go has a closed form.
    """
    residuals = evidence.errors - fit.fitted
    codes = np.unique(evidence.networks, return_inverse=True)[1]
    moved = np.bincount(codes, fit.leverage * residuals)
    room = np.maximum(1 - np.bincount(codes, fit.leverage), 0.02)
    left_out: np.ndarray = residuals + (moved / room)[codes]
    return left_out


def _noise(evidence: Evidence, form: Form, fit: Fit, weights: np.ndarray) -> tuple[float, float]:
    """Standard deviation of a row of weight 1 and its degrees of freedom.

    Of seeds and of networks about the surface together, unless networks are further off than seeds
    explain (F test): then the surface is not all, and networks alone say how far off it is.
    """
    from scipy.special import fdtri

    kept = weights > 0
    codes = np.unique(evidence.networks[kept], return_inverse=True)[1]
    row_weights, residuals = weights[kept], (evidence.errors - fit.fitted)[kept]
    totals = np.bincount(codes, row_weights)
    means = np.bincount(codes, row_weights * residuals) / totals
    of_networks = float(totals @ means**2)
    of_seeds = float(row_weights @ (residuals - means[codes]) ** 2)
    networks = len(totals) - form.terms
    seeds = int(kept.sum()) - len(totals)
    if evidence.noise is not None:
        known = evidence.noise * float(np.sqrt(np.mean(row_weights)))
        if networks < 1 or of_networks / networks < fdtri(networks, 1e6, 0.9) * known**2:
            return known, 1e6
    if networks < 1:
        return float(np.sqrt(of_seeds / seeds)), float(seeds)
    if seeds and of_networks / networks < fdtri(networks, seeds, 0.9) * of_seeds / seeds:
        return float(np.sqrt((of_networks + of_seeds) / (networks + seeds))), networks + seeds
    return float(np.sqrt(of_networks / networks)), float(networks)


def _weighted(
    candidates: Sequence[Candidate], networks: np.ndarray, weights: np.ndarray
) -> tuple[Candidate, ...]:
    """Weights by leave-one-out squares, as likelihoods (pseudo Bayesian model averaging).

    Of networks and not of their trainings: how trainings of one network differ says of no form how
    it does.
    """
    codes = np.unique(networks, return_inverse=True)[1]
    totals = np.bincount(codes, weights)
    known = totals > 0
    squares = []
    for each in candidates:
        means = np.bincount(codes, weights * each.left_out)[known] / totals[known]
        squares.append(float(np.average(means**2, weights=totals[known])))
    equal = float(totals.sum() ** 2 / (totals**2).sum())  # as many networks of equal weight
    logs = -_TRUST * equal / 2 * np.log(np.maximum(squares, 1e-18))
    shares = np.exp(logs - logs.max())
    shares = np.where(shares < _WORTH * shares.sum(), 0.0, shares)
    shares /= shares.sum()
    order = np.argsort(-shares, kind="stable")
    return tuple(replace(candidates[i], share=float(shares[i])) for i in order if shares[i] > 0)
