"""The candidates of a search as their repeated trainings rank them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scalesearch.history.confidence import confidence, fewest
from scalesearch.history.ranking import ranked
from scalesearch.history.trials import Trial, overall


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One of the best networks of a search, trained again several times.

    Attributes:
        trial: of the search.
        trainings: those that have a result, the best first.
        failed: how many have none.
        mean: of the objective; of a Pareto pair, of the metric. NaN without a result.
        error: standard error of the mean; None with fewer than two results.
        probability: of being the best of the candidates; None with fewer than two results, or where
            no other has two.
        is_close: within one standard error of the difference to the best.
    """

    trial: Trial
    trainings: tuple[Trial, ...]
    failed: int
    mean: float
    error: float | None
    probability: float | None
    is_close: bool

    @property
    def scores(self) -> dict[str, float]:
        """The mean of each metric that all of its trainings have."""
        every = [overall(training.scores) for training in self.trainings]
        names = [n for n in every[0] if all(n in scores for scores in every)] if every else []
        return {name: float(np.mean([scores[name] for scores in every])) for name in names}


@dataclass(frozen=True)
class Confirmation:
    """The candidates, the highest mean first; those with fewer than two results come last."""

    candidates: tuple[Candidate, ...]

    @property
    def baseline(self) -> Candidate | None:
        """The candidate with the highest mean; None before there is a result."""
        first = self.candidates[0]
        return first if first.trainings else None

    @property
    def alternative(self) -> Candidate | None:
        """Of the others within one standard error of the difference, that with the fewest FLOPs."""
        close = [n for n, each in enumerate(self.candidates) if n and each.is_close]
        chosen = fewest(close, [each.trial.cost.flops for each in self.candidates])
        return None if chosen is None else self.candidates[chosen]

    @property
    def sentence(self) -> str:
        """How sure the baseline is, in a few words."""
        baseline = self.baseline
        if baseline is None:
            return "no candidate of the search has a second training yet"
        count = len(baseline.trainings)
        times = f"{count} training{'s' * (count > 1)}"
        failed = f" ({baseline.failed} failed)" if baseline.failed else ""
        if baseline.probability is None:
            why = "two are needed" if count < 2 else "no other candidate has two"
            return f"no probability known: {times} of the baseline{failed}, and {why}"
        return (
            f"probability {probability_words(baseline.probability)} of being the best of "
            f"{len(self.candidates)} candidates, by {times} of it{failed}"
        )


def confirmed(phases: Mapping[str, Sequence[Trial]]) -> Confirmation | None:
    """What the trials of the phase `confirm` say of the search's; None if there are none."""
    repeats = phases.get("confirm", ())
    if not repeats:
        return None
    searched = {trial.number: trial for trial in phases.get("search", ())}
    numbers = list(dict.fromkeys(trial.parameters["candidate"] for trial in repeats))
    own = [[t for t in repeats if t.parameters["candidate"] == number] for number in numbers]
    results = [[t.objective[0] for t in trials if t.state == "assessed"] for trials in own]
    flops = [trials[0].cost.flops for trials in own]
    found = confidence(results, flops)
    candidates = [
        Candidate(
            trial=searched[number],
            trainings=tuple(ranked(own[n])),
            failed=sum(trial.state == "failed" for trial in own[n]),
            mean=found.means[n],
            error=found.errors[n],
            probability=found.probabilities[n],
            is_close=n in found.close,
        )
        for n, number in enumerate(numbers)
    ]

    def order(n: int) -> tuple[bool, bool, float, int, int]:
        few = len(results[n]) < 2, not results[n]
        return (*few, -found.means[n] if results[n] else 0.0, flops[n], n)

    return Confirmation(tuple(candidates[n] for n in sorted(range(len(numbers)), key=order)))


def probability_words(probability: float) -> str:
    """`83 %`; at the ends `above 99 %` and `below 1 %`, as draws say no more."""
    if probability > 0.99:
        return "above 99 %"
    return "below 1 %" if probability < 0.01 else f"{probability:.0%}".replace("%", " %")
