"""One small study with numbers that can be checked by eye, and one of everyday size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scalesearch.arch.published import published
from scalesearch.cost.limits import Limit
from scalesearch.report.contents import Contents
from scalesearch.scaling.coefficients import Coefficients

SEARCH = [  # number, state, accuracy, FLOPs
    (0, "assessed", 0.90, 1_000_000),
    (1, "refused", None, 4_000_000),
    (2, "assessed", 0.94, 2_000_000),
    (3, "failed", None, 1_500_000),
    (4, "assessed", 0.92, 2_500_000),  # behind trial 2
    (5, "assessed", 0.95, 2_900_000),
    (6, "reused", 0.90, 1_000_000),
    (7, "refused", None, 9_000_000),
    (8, "stopped", 0.50, 1_200_000),
]
GRID = [  # alpha, beta, gamma, accuracy
    (1.2, 1.1, 1.15, 0.955),
    (2.0, 1.0, 1.0, 0.941),
    (1.0, 1.4, 1.0, 0.947),
    (1.0, 1.0, 1.4, 0.944),
    (1.4, 1.1, 1.1, 0.953),
]
FAMILY = [  # strategy, phi, accuracy, FLOPs
    ("compound", 0, 0.960, 2_900_000),
    ("compound", 1, 0.970, 5_800_000),
    ("compound", 2, 0.978, 11_600_000),
    ("depth", 1.1, 0.964, 5_800_000),
    ("depth", 2.2, 0.966, 12_180_000),
    ("width", 1, 0.966, 5_742_000),
]


def _row(phase, number, state, accuracy, flops, **more):
    costs = {"flops": flops, "flops_total": flops + 50_000, "params": flops // 50}
    costs |= {"activations": flops // 20, "inference_bytes": 3 * 2**20, "training_bytes": 2**27}
    row = {"phase": phase, "number": number, "state": state, "reason": "", **costs, **more}
    if accuracy is not None:
        row |= {"accuracy": accuracy, "objective": accuracy, "loss": 1 - accuracy, "seconds": 4.0}
    if state == "refused":
        row |= {"reason": "flops.max is 33.3 % over", "excess": flops / 3e6 - 1}
    if state == "failed":
        row |= {"reason": "error: loss is not a number <after> epoch 2 & 'later'"}
    return row


@pytest.fixture
def small():
    rows = [_row("search", *trial) for trial in SEARCH]
    for number, (alpha, beta, gamma, accuracy) in enumerate(GRID):
        triple = {"alpha": alpha, "beta": beta, "gamma": gamma}
        rows.append(_row("grid", number, "assessed", accuracy, 5_600_000 + number, **triple))
    for number, (strategy, phi, accuracy, flops) in enumerate(FAMILY):
        member = {"strategy": strategy, "phi": phi}
        rows.append(_row("family", number, "assessed", accuracy, flops, **member))
    return Contents(
        name="a <b>&'small'\" study",
        trials=pd.DataFrame(rows),
        limits={"search": {"flops": Limit(max=3e6), "training_bytes": Limit(max=2**29)}},
        baseline=published("efficientnet_b0", num_classes=10, in_channels=1, resolution=28),
        baseline_trial=5,
        coefficients=Coefficients(1.2, 1.1, 1.15),
        environment={"python": "3.11.2", "seed": 7, "machine": "<two> cores"},
        study_text="name: small\nseed: 7 # <&>\n",
        exports=["export/baseline.py"],
        notes=["The search was <interrupted> once."],
    )


@pytest.fixture
def empty():
    return Contents(name="nothing yet", trials=pd.DataFrame())


@pytest.fixture
def refused(small):
    trials = small.trials[small.trials["state"] == "refused"]
    return replace(small, trials=trials, baseline=None, baseline_trial=None, coefficients=None)


@pytest.fixture
def large():
    """A search of 3,000 trials, seeded."""
    draw = np.random.default_rng(0)
    flops = np.exp(draw.uniform(np.log(3e5), np.log(6e6), 3000)).astype(int)
    accuracy = 0.97 - 40 / np.sqrt(flops) - abs(draw.normal(0, 0.01, 3000))
    cheap = flops < 4e6
    trials = pd.DataFrame(
        {
            "phase": "search",
            "number": range(3000),
            "state": np.where(cheap, "assessed", "refused"),
            "accuracy": np.where(cheap, accuracy, np.nan),
            "flops": flops,
        }
    )
    return Contents(name="large", trials=trials, limits={"search": {"flops": Limit(max=4e6)}})
