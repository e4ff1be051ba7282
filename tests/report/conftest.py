"""Small studies whose numbers can be checked by eye, and one of everyday size."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scalesearch.arch.published import published
from scalesearch.cost.cost import Cost
from scalesearch.cost.limits import Limit
from scalesearch.datasets import mnist_canvas
from scalesearch.history.ranking import ranked
from scalesearch.history.trials import Trial
from scalesearch.report.contents import Contents, Detections
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.scaling.family import Member

SEARCH = [  # number, state, accuracy, FLOPs
    (0, "assessed", 0.90, 1_000_000),
    (1, "infeasible", None, 4_000_000),
    (2, "assessed", 0.94, 2_000_000),
    (3, "failed", None, 1_500_000),
    (4, "assessed", 0.92, 2_500_000),  # behind trial 2
    (5, "assessed", 0.95, 2_900_000),
    (6, "reused", 0.90, 1_000_000),
    (7, "infeasible", None, 9_000_000),
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
    if state == "infeasible":
        row |= {"reason": "flops.max is 33.3 % over", "violations": flops / 3e6 - 1}
    if state == "failed":
        row |= {"reason": "error: loss is not a number <after> epoch 2 & 'later'"}
    return row


def rankings(trials):
    """Each phase's numbers in the order of `ranked`, as a run folder gives them to its report."""
    phases = {}
    for row in trials.to_dict("records"):
        trial = Trial(
            number=row["number"],
            state=row["state"],
            parameters={},
            digest="",
            cost=Cost(*(int(row["flops"]) for _ in range(6))),
            objective=(row["objective"],),
        )
        phases.setdefault(row["phase"], []).append(trial)
    return {phase: [trial.number for trial in ranked(every)] for phase, every in phases.items()}


@pytest.fixture
def small():
    rows = [_row("search", *trial) for trial in SEARCH]
    for number, (alpha, beta, gamma, accuracy) in enumerate(GRID):
        triple = {"alpha": alpha, "beta": beta, "gamma": gamma}
        rows.append(_row("grid", number, "assessed", accuracy, 5_600_000 + number, **triple))
    for number, (strategy, phi, accuracy, flops) in enumerate(FAMILY):
        member = {"strategy": strategy, "phi": phi}
        rows.append(_row("family", number, "assessed", accuracy, flops, **member))
    trials = pd.DataFrame(rows)
    return Contents(
        name="a <b>&'small'\" study",
        trials=trials,
        rankings=rankings(trials),
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
def infeasible(small):
    trials = small.trials[small.trials["state"] == "infeasible"]
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
            "state": np.where(cheap, "assessed", "infeasible"),
            "accuracy": np.where(cheap, accuracy, np.nan),
            "flops": flops,
        }
    )
    trials["objective"] = trials["accuracy"]
    return Contents(name="large", trials=trials, limits={"search": {"flops": Limit(max=4e6)}})


DETECTORS = [  # phase, number, AP, FLOPs, parameters
    ("search", 0, 0.21, 2_000_000, {"neck": "fpn sum w16 d1 p3-p5"}),
    ("search", 1, 0.34, 3_000_000, {"neck": "bifpn fast w16 d2 p3-p5"}),
    ("search", 2, 0.30, 3_500_000, {"neck": "panet sum w16 d2 p3-p5"}),
    ("grid", 0, 0.41, 5_000_000, {"neck_width": 1.2, "resolution": 32.0}),
    ("grid", 1, 0.44, 6_000_000, {"neck_width": 1.35, "resolution": 32.0}),
    ("grid", 2, 0.40, 5_500_000, {"neck_width": 1.35, "resolution": 64.0}),
    ("family", 0, 0.36, 3_000_000, {"strategy": "compound", "phi": 0.0}),
    ("family", 1, 0.47, 6_000_000, {"strategy": "compound", "phi": 1.0}),
    ("family", 2, 0.39, 6_100_000, {"strategy": "neck_width", "phi": 1.0}),
]
CLASSES = tuple(map(str, range(10)))


def _scores(ap):
    sizes = {"ap": ap, "ap50": ap + 0.3, "ap75": ap - 0.05, "ap_small": ap / 2, "ap_medium": ap}
    return sizes | {f"ap/{name}": ap + (int(name) - 4) / 50 for name in CLASSES}


@pytest.fixture(scope="session")
def canvases(tmp_path_factory):
    """Drawn digits as a run folder has them: `truth.json`, and detections of two networks."""
    folder = tmp_path_factory.mktemp("run") / "detections"
    folder.mkdir()
    drawn = tmp_path_factory.mktemp("canvases")
    options = {"train": 1, "validation": 30, "side": 96, "largest": 40, "digits": 4}
    mnist_canvas.Dataset(path=drawn, **options).load(0)
    dataset = next(drawn.iterdir())
    truth = json.loads((dataset / "validation.json").read_text())
    for image in truth["images"]:
        image["file_name"] = str(dataset / "validation" / image["file_name"])
    (folder / "truth.json").write_text(json.dumps(truth))
    for name, noise, seed in (("search-1", 5, 0), ("family-1", 2, 1)):
        detections = guesses(truth, noise, np.random.default_rng(seed))
        (folder / f"{name}.json").write_text(json.dumps(detections))
    return folder


def guesses(truth, noise, draw):
    """Each object with its box a few pixels off, weaker the more so, and as many at random."""
    detections = []
    for box in truth["annotations"]:
        for sure in (True, False):
            shift = draw.normal(0, noise if sure else 20, 4)
            x, y, width, height = np.array(box["bbox"]) + shift
            score = np.exp(-abs(shift).mean() / 8) * draw.uniform(0.6, 1)
            label = box["category_id"] if sure else int(draw.integers(1, 11))
            entry = {"image_id": box["image_id"], "category_id": label, "score": float(score)}
            detections.append(entry | {"bbox": [x, y, max(width, 2.0), max(height, 2.0)]})
    return detections


@pytest.fixture
def detectors(canvases):
    """A study of detectors; D0 and D1 of the paper stand for its networks."""
    rows = []
    for phase, number, ap, flops, parameters in DETECTORS:
        row = _row(phase, number, "assessed", None, flops, **_scores(ap), **parameters)
        rows.append(row | {"objective": ap, "seconds": 60.0})
    named = {n: published(f"efficientdet_d{n}", num_classes=10) for n in (0, 1)}
    wide = replace(named[0], neck=replace(named[0].neck, width=88))
    trials = pd.DataFrame(rows)
    return Contents(
        name="detectors",
        task="detection",
        metric="ap",
        objective="ap * (flops / 3,000,000) ^ -0.07",
        trials=trials,
        rankings=rankings(trials),
        limits={"search": {"flops": Limit(max=4e6)}},
        baseline=named[0],
        baseline_trial=1,
        coefficients=DetectorCoefficients(resolution=32.0),
        members=(
            *(Member("compound", float(n), network) for n, network in named.items()),
            Member("neck_width", 1.0, wide),
        ),
        detections=(
            Detections("baseline", "search", 1, canvases / "search-1.json"),
            Detections("compound_phi1", "family", 1, canvases / "family-1.json"),
        ),
        truth=canvases / "truth.json",
    )
