"""COCO's average precisions of 5,000 images' detections, beside faster-coco-eval alone.

Drawn so that the numbers are COCO's: 80 classes, 36,000 objects, 100 detections an image. Loading
is counted on both sides: ours takes objects and tensors from memory, as a training has them; the
peer is given the objects as COCO's dictionary, and the results as a file (its use by the manual) or
as a list of fresh dictionaries (whose making is not counted).
`python -m tests.benchmarks coco_evaluation` from the repository prints the table.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalesearch.interfaces import Targets
from scalesearch.nn.postprocess import Detections
from scalesearch.training.average_precision import average_precision, truth_of
from tests.benchmarks.duels import row, take_turns

IMAGES, OBJECTS, FOUND, CLASSES = 5000, 36_000, 100, 80
HEIGHT, WIDTH = 480, 640
NAMES = tuple(f"class {label}" for label in range(CLASSES))


class Images:
    """Objects without pixels."""

    def __init__(self, draws: np.random.Generator) -> None:
        counts = np.bincount(draws.integers(0, IMAGES, OBJECTS), minlength=IMAGES)
        self.objects = [_objects(draws, int(count)) for count in counts]
        self.ids = range(1, IMAGES + 1)

    def __len__(self) -> int:
        return IMAGES

    def targets(self, index: int) -> Targets:
        return self.objects[index]

    def size(self, index: int) -> tuple[int, int]:
        return (HEIGHT, WIDTH)


def rows(rounds: int = 3) -> list[dict[str, Any]]:
    """Ours beside the peer; both must find the same."""
    draws = np.random.default_rng(0)
    images = Images(draws)
    found = {index: _found(draws, objects) for index, objects in enumerate(images.objects)}
    truth = truth_of(images, NAMES)
    results = [one for number in images.ids for one in _columns(number, found[number - 1])]
    made: dict[str, float] = {}

    def ours() -> None:
        made["ours"] = average_precision(images, found, NAMES)["ap"]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        path.write_text(json.dumps(results), encoding="utf-8")
        # Loading writes into what it is given: each round has its own.
        lists = [[dict(one) for one in results] for _ in range(rounds + 1)]

        def from_file() -> None:
            made["file"] = _alone(truth, str(path))

        def from_list() -> None:
            made["list"] = _alone(truth, lists.pop())

        times = take_turns({"ours": ours, "file": from_file, "list": from_list}, rounds)
    assert max(made.values()) - min(made.values()) < 1e-6, made
    name = f"AP of {IMAGES} images, {OBJECTS} objects, {FOUND} detections each"
    goals = {"file": "at least 1.0", "list": "shown"}
    return [
        row(f"{name} (faster-coco-eval from a {peer})", times, "ours", peer, goal)
        for peer, goal in goals.items()
    ]


def _alone(truth: dict[str, Any], results: str | list[dict[str, Any]]) -> float:
    """AP as its manual computes it."""
    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO(truth)
        run = COCOeval_faster(annotations, annotations.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return float(run.stats[0])


def _objects(draws: np.random.Generator, count: int) -> Targets:
    sides = np.exp(draws.normal(4.0, 1.0, (count, 2))).clip(4, 470)
    corner = draws.random((count, 2)) * (np.array([WIDTH, HEIGHT]) - sides)
    boxes = np.concatenate([corner, corner + sides], 1).astype(np.float32)
    crowd = draws.random(count) < 0.01
    labels = draws.integers(0, CLASSES, count)
    return Targets(boxes, labels, crowd, sides.prod(1) * 0.6)


def _found(draws: np.random.Generator, objects: Targets) -> Detections:
    """Most objects a bit off, the rest anywhere; scores of what is right are higher."""
    anywhere = _objects(draws, FOUND)
    boxes, labels = anywhere.boxes.copy(), anywhere.labels.copy()
    scores = draws.random(FOUND) ** 3 * 0.5
    count = min(len(objects.labels), FOUND)
    near = objects.boxes[:count]
    sides = np.concatenate([near[:, 2:] - near[:, :2]] * 2, 1)
    boxes[:count] = near + draws.normal(0, 0.08, near.shape) * sides
    boxes[:count, 2:] = np.maximum(boxes[:count, 2:], boxes[:count, :2] + 1)
    labels[:count], scores[:count] = objects.labels[:count], draws.random(count)
    order = (-scores).argsort()
    parts = (boxes[order].astype(np.float32), scores[order].astype(np.float32), labels[order])
    return Detections(*map(torch.from_numpy, parts))


def _columns(number: int, found: Detections) -> list[dict[str, Any]]:
    """The results of one image as a file of results has them."""
    return [
        {
            "image_id": number,
            "category_id": label + 1,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "score": score,
        }
        for (x0, y0, x1, y1), score, label in zip(*(part.tolist() for part in found), strict=True)
    ]
