"""The ranking of networks: of the search's baseline, the grid's winner, the report, the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scalesearch.errors import UserError
from scalesearch.history.trials import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a trial is ranked by: `value`, of a Pareto search its metric, is maximised."""

    state: str
    value: float
    flops: float
    number: int


def ranking(candidates: Iterable[Candidate]) -> list[int]:
    """Positions of the candidates with a result of their own, best first: each network once.

    The highest value comes first; fewer FLOPs, then the earlier trial, break ties. A `reused`
    result is left out, as the network that it belongs to is there already.
    """
    own = [(n, each) for n, each in enumerate(candidates) if each.state == "assessed"]
    own.sort(key=lambda pair: (-pair[1].value, pair[1].flops, pair[1].number))
    return [position for position, _ in own]


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with a result of their own, best first, as `ranking` orders them."""
    # Infeasible and failed trials have no objective.
    candidates = (
        Candidate(
            state=trial.state,
            value=trial.objective[0] if trial.objective else float("nan"),
            flops=trial.cost.flops,
            number=trial.number,
        )
        for trial in trials
    )
    return [trials[position] for position in ranking(candidates)]


def require_results(trials: Sequence[Trial], phase: str) -> None:
    """Checks that some trial of a phase has a result.

    Raises:
        UserError: none has; with the commonest reasons and the smallest violation.
    """
    if any(trial.has_result for trial in trials):
        return
    ended = [trial for trial in trials if trial.state in ("failed", "stopped")]
    reasons = Counter(trial.reason for trial in ended if trial.source is None)
    hints = [f"{count} x {reason}" for reason, count in reasons.most_common(3)]
    over = [max(trial.violations.values()) for trial in trials if trial.state == "infeasible"]
    if over:
        hints.append(f"{len(over)} infeasible, the closest over its limits by {min(over):.1%}")
    raise UserError(f"no trial of the {phase} has a result", hint="; ".join(hints))
