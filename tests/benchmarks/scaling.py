"""What it takes to realise all strategies of a family, and the largest network within limits.

Each in a process of its own, where nothing is cached yet; `error` is the largest share by which a
member misses the FLOPs of its target. `python -m tests.benchmarks scaling` from the repository
prints the table.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from scalesearch.arch.detector import Detector
from scalesearch.arch.published import published
from scalesearch.cost.counts import counts
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import DetectorCoefficients, Scaling
from scalesearch.scaling.family import DETECTOR_STRATEGIES, members
from scalesearch.scaling.strategies import STRATEGIES

TARGETS = (0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4)
GOALS = {"efficientnet_b0": 1.0, "efficientdet_d0": 5.0}  # seconds
COMMANDS = (
    ("--flops", "1.8G"),
    ("--flops", "1.8G", "--params", "12M", "--memory", "3GiB"),
)
COMMAND_GOAL = 1.0


def rows() -> list[dict[str, Any]]:
    """Seconds of families and of whole commands."""
    families = [_in_process(f"print(json.dumps(family({name!r})))") for name in GOALS]
    return [*families, *(command(*limits) for limits in COMMANDS)]


def family(name: str) -> dict[str, Any]:
    """Seconds for all strategies of one network at eight targets."""
    net = published(name)
    detects = isinstance(net, Detector)
    strategies = DETECTOR_STRATEGIES if detects else (*STRATEGIES, "d1_w1_r1")
    coefficients: Scaling = DetectorCoefficients()
    if not detects:
        coefficients = Coefficients(1.2, 1.1, 1.15, match="measured", budget=2.0)
    start = time.perf_counter()
    made = members(net, coefficients, TARGETS, strategies)
    seconds = time.perf_counter() - start
    compound = {m.phi: counts(m.architecture).flops for m in made if m.strategy == "compound"}
    errors = [abs(counts(m.architecture).flops / compound[m.phi] - 1) for m in made]
    return {
        "what": f"{name}, {len(strategies)} strategies, {len(TARGETS)} targets",
        "seconds": seconds,
        "goal": GOALS[name],
        "error": max(errors),
    }


def command(*limits: str) -> dict[str, Any]:
    """Seconds of `scalesearch scale efficientnet_b0`, the start of Python included."""
    start = time.perf_counter()
    arguments = ["-m", "scalesearch", "scale", "efficientnet_b0", *limits]
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return {
        "what": f"scalesearch scale efficientnet_b0 {' '.join(limits)}",
        "seconds": time.perf_counter() - start,
        "goal": COMMAND_GOAL,
    }


def _in_process(code: str) -> dict[str, Any]:
    head = "import json; from tests.benchmarks.scaling import family; "
    ran = subprocess.run([sys.executable, "-c", head + code], stdout=subprocess.PIPE, check=True)
    row: dict[str, Any] = json.loads(ran.stdout)
    return row
