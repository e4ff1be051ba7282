"""The scores of reported networks on test images, beside those that they were chosen by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    """The networks with a test score, in the order of scoring, by the trials of each phase."""
    every = []
    for trial in phases.get("test", ()):
        if not trial.has_result:
            continue
        strategy, phi = (trial.parameters.get(key) for key in ("strategy", "phi"))
        name = "baseline" if strategy is None else f"{strategy}_phi{phi:.12g}"
        chosen = _chosen(phases, trial)
        if chosen is not None:
            every.append(FinalScores(name=name, chosen=chosen, test=trial))
    return every


def _chosen(phases: Mapping[str, Sequence[Trial]], test: Trial) -> Trial | None:
    """The trial with the weights that were scored; a network that was trained again has several."""
    if "strategy" in test.parameters:
        family = phases.get("family", ())
        return next((one for one in family if one.parameters == test.parameters), None)
    for phase in ("confirm", "search"):  # of several trainings the best one's weights are kept
        for one in ranked(phases.get(phase, ())):
            if one.digest == test.digest:
                return one
    return None
