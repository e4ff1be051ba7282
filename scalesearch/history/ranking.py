"""The ranking of networks: of the search's baseline, the grid's winner, the report, the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from scalesearch.errors import UserError
from scalesearch.history.trials import Trial

_SHOWN = 3  # of the networks closest to their limits


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """The trials with a result of their own, best first: each network once.

    The highest objective comes first, of a Pareto search the metric; fewer FLOPs, then the earlier
    trial, break ties. A `reused` result is left out, as its network is there already.
    """
    own = (trial for trial in trials if trial.state == "assessed")
    return sorted(own, key=lambda t: (-t.objective[0], t.cost.flops, t.number))


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
    over = [trial for trial in trials if trial.state == "infeasible"]
    if over and len(over) == len(trials):
        raise UserError(
            f"no trial of the {phase} has a result: none of {len(over)} was within the limits",
            hint="\n  ".join(["the closest:", *map(_over, _closest(over))]),
        )
    if over:
        least = max(_closest(over)[0].violations.values())
        hints.append(f"{len(over)} infeasible, the closest over its limits by {least:.1%}")
    raise UserError(f"no trial of the {phase} has a result", hint="; ".join(hints))


def _closest(infeasible: Sequence[Trial]) -> list[Trial]:
    """Of infeasible trials those that violate their limits least, of each network one."""
    ordered = sorted(infeasible, key=lambda t: (max(t.violations.values()), t.number))
    networks = {trial.digest: trial for trial in reversed(ordered)}
    return [trial for trial in ordered if networks[trial.digest] is trial][:_SHOWN]


def _over(trial: Trial) -> str:
    """`trial 4, flops.max by 12.0%: width 8, depth 2`."""
    over = ", ".join(f"{key} by {v:.1%}" for key, v in trial.violations.items() if v > 0)
    parameters = ", ".join(f"{name} {value}" for name, value in trial.parameters.items())
    return f"trial {trial.number}, over {over}: {parameters}"
