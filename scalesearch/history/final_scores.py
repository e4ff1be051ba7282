"""The scores of reported networks on test images, beside those that they were chosen by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scalesearch.history.confirmed import confirmed
from scalesearch.history.ranking import ranked
from scalesearch.history.trials import Trial


@dataclass(frozen=True, kw_only=True)
class FinalScores:
    """A network that was scored on test images.

    Attributes:
        name: `baseline`, or that of a member of the family: `compound_phi1`.
        chosen: the trial that left its weights, with scores on the validation images.
        test: its trial of the phase `test`.
    """

    name: str
    chosen: Trial
    test: Trial


def final_scores(phases: Mapping[str, Sequence[Trial]]) -> list[FinalScores]:
    """The networks with a test score, in the order of scoring, by the trials of each phase.

    A score of other weights than those that are reported now, of a training before trials that had
    failed were tried again, is none of theirs.
    """
    every = []
    for trial in phases.get("test", ()):
        if not trial.has_result:
            continue
        strategy, phi = (trial.parameters.get(key) for key in ("strategy", "phi"))
        name = "baseline" if strategy is None else f"{strategy}_phi{phi:.12g}"
        for phase, chosen in _chosen(phases, trial):
            if trial.weights_of == weights_name(phase, chosen):
                every.append(FinalScores(name=name, chosen=chosen, test=trial))
    return every


def current(phases: Mapping[str, Sequence[Trial]]) -> dict[str, list[Trial]]:
    """The trials of each phase without test scores of weights that are not reported."""
    shown = [one.test.number for one in final_scores(phases)]
    return {
        phase: [
            trial
            for trial in trials
            if phase != "test" or not trial.has_result or trial.number in shown
        ]
        for phase, trials in phases.items()
    }


def weights_name(phase: str, trial: Trial) -> str:
    """What the weights of a trial's network are called: by the trial that was trained."""
    return f"{phase} {trial.number if trial.source is None else trial.source}"


def _chosen(phases: Mapping[str, Sequence[Trial]], test: Trial) -> list[tuple[str, Trial]]:
    """Phase and trial of the weights that are reported of a network; none before they are."""
    if "strategy" in test.parameters:
        family = phases.get("family", ())
        own = [one for one in family if one.parameters == test.parameters and one.has_result]
        return [("family", one) for one in own[:1]]
    best = ranked(phases.get("search", ()))[:1]
    if (confirmation := confirmed(phases)) is not None:
        baseline = confirmation.baseline
        best = [] if baseline is None else [baseline.trial]
    trained = [
        (phase, one)
        for phase in ("confirm", "search")  # of several trainings the best one's weights are kept
        for one in ranked(phases.get(phase, ()))
        if best and one.digest == best[0].digest
    ]
    return trained[:1]
