"""Two or more ways to one end that take turns, and the ratio of their times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Times = dict[str, list[float]]


def take_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> Times:
    """Seconds of each call; one of each way in every round, after one that does not count.

    So what else the machine does falls on all of them alike.
    """
    times: Times = {name: [] for name in ways}
    for step in range(rounds + 1):
        for name, call in ways.items():
            start = time.perf_counter()
            call()
            if step:  # the first warms caches and makes an optimizer's state
                times[name].append(time.perf_counter() - start)
    return times


def row(name: str, times: Times, ours: str, peer: str, goal: str) -> dict[str, Any]:
    """Milliseconds of both, and how many times as fast ours is: medians over the rounds.

    `spread` holds the quartiles of the ratio within a round, `best` is that of the fastest calls,
    which tells most on a machine that also does something else.
    """
    ratios = [b / a for a, b in zip(times[ours], times[peer], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "benchmark": name,
        "ours": round(1e3 * statistics.median(times[ours]), 1),
        "peer": round(1e3 * statistics.median(times[peer]), 1),
        "unit": "ms",
        "ratio": round(middle, 2),
        "spread": f"{low:.2f} to {high:.2f}",
        "best": round(min(times[peer]) / min(times[ours]), 2),
        "goal": goal,
    }
