"""The tables that account for every trial: how it ended, and why."""

from __future__ import annotations

import re
from collections import Counter

from scalesearch.cost.cost import UNITS
from scalesearch.cost.limits import Limits
from scalesearch.report.contents import Contents
from scalesearch.report.numbers import NAMES, NONE, cost, seconds
from scalesearch.report.tables import Table

PHASES = ("search", "grid", "family")
STATES = ("assessed", "reused", "infeasible", "stopped", "failed", "running")
MOST_FAILURES = 40
# An infeasible trial's reason names the bounds that it oversteps, such as `flops.max`; a latency may be
# predicted to, before it is measured.
_BOUND = re.compile(rf"\b(?:predicted_)?({'|'.join(UNITS)})\.(min|max)\b")


def progress(contents: Contents) -> Table:
    """How the trials of each phase ended, and the time they took."""
    rows = []
    for phase in PHASES:
        trials = contents.phase(phase)
        if trials.empty:
            continue
        ended = Counter(trials["state"])
        spent = float(trials["seconds"].sum()) if "seconds" in trials else float("nan")
        counts = [f"{ended[state]}" if ended[state] else NONE for state in STATES]
        rows.append([phase, f"{len(trials)}", *counts, seconds(spent)])
    return Table(
        caption="Trials by phase",
        head=["phase", "trials", *STATES, "time on workers"],
        rows=rows,
        words=frozenset({0}),
        note="Infeasible: outside a limit, never trained. Reused: the same network had a score.",
    )


def limits(contents: Contents) -> Table:
    """The limits of each phase, and how many infeasible trials each bound turned away."""
    rows = []
    for phase in PHASES:
        turned = _turned_away(contents, phase)
        for name, side, bound in _bounds(contents.limits.get(phase, {})):
            words = f"{'at most' if side == 'max' else 'at least'} {cost(name, bound)}"
            count = f"{turned[(name, side)]}" if turned else NONE
            rows.append([phase, NAMES[name], words, count])
    return Table(
        caption="Limits",
        head=["phase", "cost", "limit", "infeasible by it"],
        rows=rows,
        words=frozenset({0, 1}),
        note="One trial may be outside several limits.",
    )


def failures(contents: Contents) -> Table:
    """The trials that gave no score, with their reasons."""
    rows = []
    for phase in PHASES:
        for _, row in contents.in_state(phase, "failed").iterrows():
            reason = row.get("reason")
            text = reason if isinstance(reason, str) and reason else "no reason was recorded"
            rows.append([phase, f"{row['number']:.0f}", text])
    hidden = len(rows) - MOST_FAILURES
    return Table(
        caption=f"Failed trials ({len(rows)})",
        head=["phase", "trial", "reason"],
        rows=rows[:MOST_FAILURES],
        words=frozenset({0, 2}),
        note=f"{hidden} more are in trials.csv." if hidden > 0 else "",
    )


def _bounds(limits: Limits) -> list[tuple[str, str, float]]:
    """Cost, side and value of each bound."""
    found = []
    for name, limit in limits.items():
        for side, bound in (("min", limit.min), ("max", limit.max)):
            if bound is not None:
                found.append((name, side, bound))
    return found


def _turned_away(contents: Contents, phase: str) -> Counter[tuple[str, str]]:
    """Bound to the number of infeasible trials whose reason names it."""
    infeasible = contents.in_state(phase, "infeasible")
    if "reason" not in infeasible:
        return Counter()
    texts = infeasible["reason"].dropna().astype(str)
    return Counter(bound for text in texts for bound in set(_BOUND.findall(text)))
