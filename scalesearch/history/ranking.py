"""Which trials are the best, and what to say when there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scalesearch.errors import UserError
from scalesearch.history.trials import Trial


def best_of(trials: Sequence[Trial]) -> Trial:
    """The trial with the highest first objective; fewer FLOPs, then the earlier one, break ties.

    In a Pareto search that is the most accurate network of the front.
    """
    return max(trials, key=lambda t: (t.objective[0], -t.cost.flops, -t.number))


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Trials with a result of their own, best first: each network once."""
    own = [trial for trial in trials if trial.state == "assessed"]
    return sorted(own, key=lambda t: (-t.objective[0], t.cost.flops, t.number))


def require_results(trials: Sequence[Trial], phase: str) -> list[Trial]:
    """The trials with a result.

    Raises:
        UserError: there is none; the commonest reasons are told, and the smallest violations.
    """
    done = [trial for trial in trials if trial.has_result]
    if done:
        return done
    ended = [trial for trial in trials if trial.state in ("failed", "stopped")]
    reasons = Counter(trial.reason for trial in ended if trial.source is None)
    hints = [f"{count} x {reason}" for reason, count in reasons.most_common(3)]
    over = [max(trial.violations.values()) for trial in trials if trial.state == "infeasible"]
    if over:
        hints.append(f"{len(over)} infeasible, the closest over its limits by {min(over):.1%}")
    raise UserError(f"no trial of the {phase} has a result", hint="; ".join(hints))
