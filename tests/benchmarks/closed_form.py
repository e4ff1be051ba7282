"""What the closed form takes for EfficientNet-B0 and for a space, beside fvcore on built models.

`python -m tests.benchmarks.closed_form` from the repository prints the table.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost, stage_cost
from scalesearch.cost.composition import block_cost
from scalesearch.cost.cost import Workload
from scalesearch.cost.counts import block_counts, counts
from scalesearch.cost.measured import measure_counts
from scalesearch.nn.build import build
from scalesearch.population.space_tables import of_slots
from scalesearch.spaces.backbone import BackboneSpace

SHAPE = (1, 3, 224, 224)
SPACE, NETWORKS = "search_spaces/mnasnet_imagenet.yaml", 10_000


def rows() -> list[dict[str, Any]]:
    """Milliseconds of a cost for the first time and again, beside two ways to run fvcore."""
    torch.set_num_threads(1)  # the peer's best: threads cost a trace more than they give
    net = published("efficientnet_b0")
    model, images = build(net).eval(), torch.zeros(SHAPE)
    if measure_counts(model, SHAPE) != cost(net).counts():
        raise AssertionError("the two counts differ: there is nothing to compare")

    def cold_counts() -> None:
        forget()
        counts(net)

    def cold() -> None:
        forget()
        cost(net)

    def fvcore() -> None:
        with torch.no_grad():
            for analysis in (FlopCountAnalysis, ActivationCountAnalysis):
                counted = analysis(model, images)
                counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
                counted.total()

    peer = milliseconds(fvcore, runs=5, calls=1)
    traced = milliseconds(lambda: measure_counts(model, SHAPE), runs=5, calls=1)
    return [
        row("counts of B0, nothing cached", milliseconds(cold_counts), peer, "fvcore", 0.25),
        row("cost of B0 with memory, nothing cached", milliseconds(cold), peer, "fvcore", None),
        row("cost of B0, again", milliseconds(lambda: cost(net)), peer, "fvcore", 0.2),
        row("measured counts of B0, one trace", traced, peer, "fvcore, two traces", None),
        *space_rows(peer),
    ]


def space_rows(peer: float) -> list[dict[str, Any]]:
    """Milliseconds for each of 10,000 random networks of a space; B0, the peer's, is one of it."""
    space = BackboneSpace.load(SPACE)
    rows = space.tables().uniform(NETWORKS, np.random.default_rng(0))
    networks = [space.at(row) for row in rows]
    forget()
    start = time.perf_counter()
    costs = [cost(network) for network in networks]
    alone = 1000 * (time.perf_counter() - start) / NETWORKS
    if space.tables().cost(rows).flops.tolist() != [one.flops for one in costs]:
        raise AssertionError("the two costs differ: there is nothing to compare")

    def tables() -> None:
        forget()
        of_slots(space.slots, space._make, Workload())

    made = milliseconds(tables, calls=1)
    each = milliseconds(lambda: space.tables().cost(rows), calls=5) / NETWORKS
    return [
        row("one of 10,000 networks of a space, in turn", alone, peer, "fvcore, B0", 0.2),
        row("one of 10,000 networks of a space, all at once", each, peer, "fvcore, B0", 0.001),
        row("the tables for all at once, made one time", made, peer, "fvcore, B0", None),
    ]


def forget() -> None:
    """Nothing is cached."""
    for cached in (block_counts, block_cost, stage_cost):
        cached.cache_clear()


def row(what: str, ours: float, peer: float, name: str, goal: float | None) -> dict[str, Any]:
    """One line of the table; the ratio says how many times faster ours is."""
    wanted = "" if goal is None else f"at most {goal} ms and 1,000 times faster"
    return {
        "benchmark": f"{what} (beside {name})",
        "ours": float(f"{ours:.3g}"),
        "peer": round(peer, 2),
        "unit": "ms",
        "ratio": round(peer / ours, 1),
        "goal": wanted,
    }


def milliseconds(call: Callable[[], object], *, runs: int = 20, calls: int = 50) -> float:
    """The best of several runs: what the machine's other work adds is left out."""
    call()
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        best = min(best, (time.perf_counter() - start) / calls)
    return 1000 * best


if __name__ == "__main__":
    from tests.benchmarks.__main__ import table

    table("closed_form", rows())
