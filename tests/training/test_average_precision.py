"""COCO's AP as pycocotools gives it for the same files, and small cases by hand."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from scalesearch.datasets.coco import Dataset
from scalesearch.datasets.mnist_canvas import Dataset as Canvases
from scalesearch.interfaces import Targets
from scalesearch.nn.postprocess import Detections
from scalesearch.training.average_precision import average_precision, results_file, truth_of

NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


@dataclass
class Pictures:
    """Images of 200 x 200 pixels that nobody looks at, with their objects."""

    objects: list[Targets]

    @property
    def ids(self):
        return [10 * i + 3 for i in range(len(self.objects))]

    def __len__(self):
        return len(self.objects)

    def targets(self, index):
        return self.objects[index]

    def size(self, index):
        return (200, 200)


def objects(*rows, areas=None):
    """Targets of rows x0, y0, x1, y1, label, crowd."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    boxes = table[:, :4].astype(np.float32)
    own = (boxes[:, 2:] - boxes[:, :2]).prod(1).astype(np.float64)
    labels, crowd = table[:, 4].astype(np.int64), table[:, 5].astype(bool)
    return Targets(boxes, labels, crowd, own if areas is None else np.array(areas, np.float64))


def found(*rows):
    """Detections of rows x0, y0, x1, y1, score, label."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].long())


def by_hand(annotations, results):
    """pycocotools on two files: its six numbers of AP, and AP of each category."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        run = COCOeval(truth, truth.loadRes(str(results)), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    precision = run.eval["precision"][:, :, :, 0, -1]
    classes = [truth.cats[key]["name"] for key in run.params.catIds]
    values = dict(zip(NAMES, run.stats[:6].tolist(), strict=True))
    for k, name in enumerate(classes):
        values[f"ap/{name}"] = float(precision[:, :, k].mean())
    return {name: value for name, value in values.items() if value > -1}


def as_files(folder, data, detections):
    """What a run keeps: the truth about its validation images, and what was found in them."""
    truth, results = folder / "truth.json", folder / "results.json"
    truth.write_text(json.dumps(truth_of(data.validation, data.classes, data.category_ids)))
    results.write_bytes(results_file(data.validation, detections, data.category_ids))
    return truth, results


def guesses(images, classes, seed, crowded=True):
    """Boxes near the true ones and elsewhere, with few different scores, so that many tie."""
    draws = np.random.default_rng(seed)
    detections = {}
    for index in range(len(images)):
        if draws.random() < 0.1:
            continue  # an image in which nothing is found
        rows = []
        for box, label in zip(
            images.targets(index).boxes, images.targets(index).labels, strict=True
        ):
            for _ in range(draws.integers(0, 4)):
                moved = box + draws.normal(0, 0.12, 4) * np.tile(box[2:] - box[:2], 2)
                right = draws.random() < 0.8
                rows.append([*moved, draws.integers(1, 8) / 8, label if right else 0])
        for _ in range(draws.integers(0, 5)):
            corner = draws.uniform(0, 60, 2)
            rows.append(
                [*corner, *(corner + 20), draws.integers(1, 8) / 8, draws.integers(classes)]
            )
        detections[index] = found(*sorted(rows, key=lambda row: -row[4]))
    return detections


def test_is_what_pycocotools_says_of_canvases(tmp_path):
    options = {"train": 10, "validation": 60, "side": 96, "digits": 4, "smallest": 16}
    data = Canvases(**options, largest=48, path=tmp_path).load(0)
    annotations = next(tmp_path.glob("*/validation.json"))
    for seed in range(2):
        detections = guesses(data.validation, 10, seed)
        truth, results = as_files(tmp_path, data, detections)
        ours = average_precision(data.validation, detections, data.classes)
        assert ours == pytest.approx(by_hand(annotations, results), abs=1e-6)
        assert ours == pytest.approx(by_hand(truth, results), abs=1e-6)
        assert 0.1 < ours["ap"] < ours["ap50"] < 0.95
        assert "ap_large" not in ours  # no digit has 96 x 96 pixels


def crowded_content():
    """Ids out of order and with gaps, crowds over objects, areas that are not those of boxes."""
    draws = np.random.default_rng(5)
    images = [
        {"id": i, "file_name": f"{i}.png", "height": 64, "width": 64} for i in (9, 2, 40, 7, 1)
    ]
    boxes = []
    for image in images[:4]:  # the last has none
        for k in range(8):
            x, y = draws.integers(0, 40, 2).tolist()
            w, h = draws.integers(4, 24, 2).tolist()
            box = {"id": len(boxes) + 1, "image_id": image["id"], "bbox": [x, y, w, h]}
            kind = {"category_id": int(draws.choice([3, 17, 20])), "iscrowd": int(k % 4 == 0)}
            boxes.append(box | kind | {"area": w * h * 0.6 if k % 3 else w * h * 4.0})
    categories = [{"id": i, "name": f"kind {i}"} for i in (17, 3, 20)]
    return {"images": images, "annotations": boxes, "categories": categories}


def validated(folder, annotations):
    """A data set that validates with the images of a folder, and trains on copies of them."""
    shutil.copytree(folder, folder / "train")
    parts = {"validation_images": folder, "validation_annotations": annotations}
    return Dataset(images=folder / "train", annotations=annotations, channels=1, **parts).load(0)


def test_is_what_pycocotools_says_of_crowds_and_ties(tmp_path):
    content = crowded_content()
    for image in content["images"]:
        Image.new("L", (64, 64)).save(tmp_path / image["file_name"])
    annotations = tmp_path / "instances.json"
    annotations.write_text(json.dumps(content))
    data = validated(tmp_path, annotations)
    for seed in range(5):
        detections = guesses(data.validation, 3, seed)
        truth, results = as_files(tmp_path, data, detections)
        ours = average_precision(data.validation, detections, data.classes)
        assert ours == pytest.approx(by_hand(annotations, results), abs=1e-6)
        assert ours == pytest.approx(by_hand(truth, results), abs=1e-6)
        assert {"ap_small", "ap_medium", "ap/kind 3", "ap/kind 17", "ap/kind 20"} <= set(ours)


def test_the_truth_is_a_file_of_instances_in_the_data_sets_own_ids(tmp_path, monkeypatch):
    """With the places of the images, wherever it is read from."""
    monkeypatch.chdir(tmp_path)
    content = crowded_content()
    for image in content["images"]:
        Image.new("L", (64, 64)).save(image["file_name"])
    Path("instances.json").write_text(json.dumps(content))
    data = validated(Path(), Path("instances.json"))
    truth = truth_of(data.validation, data.classes, data.category_ids)
    assert truth["images"] == [
        image | {"file_name": str(tmp_path / image["file_name"])} for image in content["images"]
    ]
    assert truth["categories"] == sorted(content["categories"], key=lambda c: c["id"])
    key = itemgetter("image_id")  # ours come image by image
    wanted = sorted(content["annotations"], key=lambda a: data.validation.ids.index(key(a)))
    assert [a | {"id": 0} for a in truth["annotations"]] == [a | {"id": 0} for a in wanted]
    assert [a["id"] for a in truth["annotations"]] == list(range(1, len(wanted) + 1))


def test_images_that_lie_in_no_file_have_no_name():
    images = Pictures([objects((0, 0, 10, 20, 1, 0))])
    truth = truth_of(images, ("a", "b"), (4, 9))
    assert truth["images"] == [{"id": 3, "height": 200, "width": 200}]
    box = {"id": 1, "image_id": 3, "category_id": 9, "bbox": [0, 0, 10, 20]}
    assert truth["annotations"] == [box | {"area": 200.0, "iscrowd": 0}]
    assert results_file(images, {0: found((0, 0, 5, 5, 0.5, 1))}, (4, 9)) == (
        b'[{"image_id": 3, "category_id": 9, "bbox": [0.0, 0.0, 5.0, 5.0], "score": 0.5}]'
    )


def test_neither_waits_for_torch():
    code = "import sys, scalesearch.training.average_precision; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_perfect_answer_is_1_and_nothing_found_is_0():
    images = Pictures([objects((10, 10, 60, 60, 0, 0), (80, 80, 100, 100, 1, 0)), objects()])
    right = {0: found((10, 10, 60, 60, 0.9, 0), (80, 80, 100, 100, 0.8, 1))}
    names = ("a", "b", "c")
    assert average_precision(images, right, names) == {
        **dict.fromkeys(("ap", "ap50", "ap75", "ap_small", "ap_medium"), 1.0),
        **{"ap/a": 1.0, "ap/b": 1.0},
    }
    zeros = {
        **dict.fromkeys(("ap", "ap50", "ap75", "ap_small", "ap_medium"), 0.0),
        **{"ap/a": 0.0, "ap/b": 0.0},
    }
    for nothing in ({}, {0: found(), 1: found()}, {1: found((0, 0, 5, 5, 0.5, 0))}):
        assert average_precision(images, nothing, names) == zeros


def test_an_overlap_by_hand():
    """60 x 100 of 100 x 100 pixels: right up to an IoU of .6, that is at 3 of 10 thresholds."""
    images = Pictures([objects((0, 0, 100, 100, 0, 0))])
    values = average_precision(images, {0: found((0, 0, 60, 100, 0.9, 0))}, ("a",))
    assert values["ap"] == pytest.approx(0.3)
    assert (values["ap50"], values["ap75"]) == (1.0, 0.0)


def test_a_wrong_box_before_a_right_one_halves_precision():
    images = Pictures([objects((0, 0, 100, 100, 0, 0))])
    wrong, right = (100, 100, 199, 199), (0, 0, 100, 100)
    for first, second, wanted in ((wrong, right, 0.5), (right, wrong, 1.0)):
        rows = found((*first, 0.9, 0), (*second, 0.8, 0))
        assert average_precision(images, {0: rows}, ("a",))["ap"] == pytest.approx(wanted)


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong():
    images = Pictures([objects((0, 0, 100, 100, 0, 0), (100, 100, 200, 200, 0, 1))])
    rows = [(110, 110, 130, 130, 0.9, 0), (0, 0, 100, 100, 0.8, 0)]
    assert average_precision(images, {0: found(*rows)}, ("a",))["ap"] == 1.0


def test_only_crowds_leave_nothing_to_be_found():
    images = Pictures([objects((0, 0, 100, 100, 0, 1))])
    assert average_precision(images, {0: found((0, 0, 9, 9, 0.5, 0))}, ("a",)) == {}
    assert average_precision(images, {}, ("a",)) == {}


def test_own_areas_decide_what_is_small():
    images = Pictures([objects((0, 0, 100, 100, 0, 0), areas=[500.0])])
    values = average_precision(images, {0: found((0, 0, 100, 100, 0.5, 0))}, ("a",))
    assert values["ap_small"] == 1.0
    assert not {"ap_medium", "ap_large"} & set(values)


def test_the_best_hundred_of_an_image_count():
    images = Pictures([objects((0, 0, 100, 100, 0, 0))])
    wrong = [(100, 100, 199, 199, 0.9, 0)] * 100
    values = average_precision(images, {0: found(*wrong, (0, 0, 100, 100, 0.8, 0))}, ("a",))
    assert values["ap"] == 0.0


def test_it_prints_nothing(capsys):
    images = Pictures([objects((0, 0, 100, 100, 0, 0))])
    average_precision(images, {}, ("a",))
    assert capsys.readouterr() == ("", "")
