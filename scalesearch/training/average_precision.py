"""COCO's average precision, by faster-coco-eval: what pycocotools gives, several times faster."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.interfaces import hook

if TYPE_CHECKING:
    from scalesearch.interfaces import BoxImages
    from scalesearch.nn.postprocess import Detections

# As COCOeval puts them out.
_NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


def average_precision(
    images: BoxImages, found: Mapping[int, Detections], classes: Sequence[str]
) -> dict[str, float]:
    """AP from 0 to 1: `ap` over IoU .5 to .95, `ap50`, `ap75`, by size, and `ap/NAME` by class.

    Args:
        images: with their objects.
        found: detections by the index of their image, of which the best 100 count; one that is
            missing has none.
        classes: names, in the order of the labels.

    Nothing found is 0. What has no object to be found (a size, a class) is left out.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth = COCO()
        truth.dataset = truth_of(images, classes)
        truth.createIndex()
        # Without any row there is nothing that could be loaded: one that is never right.
        rows = results_of(images, found) or [[images.ids[0], 0.0, 0.0, 0.0, 0.0, 0.0, 1]]
        run = COCOeval_faster(truth, truth.loadRes(_as_results(rows)), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    values = dict(zip(_NAMES, map(float, run.stats[:6]), strict=True))
    precision = run.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class; all sizes, 100 each
    for label, name in enumerate(classes):
        of_class = precision[:, :, label]
        values[f"ap/{name}"] = float(of_class.mean()) if (of_class > -1).all() else -1.0
    return {name: value for name, value in values.items() if value > -1}


def _as_results(rows: list[list[float]]) -> list[dict[str, Any]]:
    """Results as `loadRes` takes them fastest: as an array it takes them apart value by value, and
    to those without a segmentation, which nothing here looks at, it adds one.
    """
    return [
        {
            "image_id": number,
            "category_id": category,
            "bbox": box,
            "score": score,
            "segmentation": None,
        }
        for number, *box, score, category in rows
    ]


def truth_of(
    images: BoxImages, classes: Sequence[str], category_ids: Sequence[int] = ()
) -> dict[str, Any]:
    """The objects as a COCO file of instances.

    Args:
        images: with their objects; where they say so with the `paths` of their files.
        classes: names, in the order of the labels.
        category_ids: of each label; by default k + 1 for label k.
    """
    ids = category_ids or range(1, len(classes) + 1)
    paths = hook(images, "paths")
    entries: list[dict[str, Any]] = []
    pictures = []
    for index, number in enumerate(images.ids):
        height, width = images.size(index)
        name = {} if paths is None else {"file_name": str(Path(paths[index]).resolve())}
        pictures.append({"id": number, "height": height, "width": width, **name})
        objects = images.targets(index)
        columns = (objects.boxes, objects.labels, objects.crowd, objects.areas)
        for (x0, y0, x1, y1), label, crowd, area in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            entries.append(
                {
                    "id": len(entries) + 1,
                    "image_id": number,
                    "category_id": ids[label],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": area,
                    "iscrowd": int(crowd),
                }
            )
    categories = [{"id": ids[label], "name": name} for label, name in enumerate(classes)]
    return {"images": pictures, "annotations": entries, "categories": categories}


def results_of(images: BoxImages, found: Mapping[int, Detections]) -> list[list[float]]:
    """Rows of image id, x, y, width, height, score, label + 1."""
    rows: list[list[float]] = []
    for index, detections in found.items():
        number = images.ids[index]
        for (x0, y0, x1, y1), score, label in zip(
            *(column.tolist() for column in detections), strict=True
        ):
            rows.append([number, x0, y0, x1 - x0, y1 - y0, score, label + 1])
    return rows


def results_file(
    images: BoxImages, found: Mapping[int, Detections], category_ids: Sequence[int]
) -> bytes:
    """Detections as a COCO results file, in the ids of the data set's own annotations."""
    results = [
        {
            "image_id": number,
            "category_id": category_ids[int(category) - 1],
            "bbox": box,
            "score": score,
        }
        for number, *box, score, category in results_of(images, found)
    ]
    return json.dumps(results).encode()
