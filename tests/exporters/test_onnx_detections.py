"""ONNX files of detectors: raw outputs and detections by ONNX Runtime, held against torch's."""

from __future__ import annotations

import json
from dataclasses import replace

import onnx
import onnxruntime
import pytest
import torch

from scalesearch.arch.detector import Heads
from scalesearch.arch.neck import Neck
from scalesearch.arch.published import published
from scalesearch.errors import UserError
from scalesearch.exporters import export
from scalesearch.exporters._export_task import export_task
from scalesearch.exporters._onnx_detections import check_detections
from scalesearch.exporters._onnx_file import OnnxFile, check_file
from scalesearch.exporters.onnx import Exporter
from scalesearch.nn.anchors import anchor_boxes
from scalesearch.nn.boxes import encode
from scalesearch.nn.postprocess import Selection
from tests.exporters.networks import (
    NECKS,
    detections,
    difference,
    lone_threshold,
    of_size,
    shortened,
    spread,
    tiny_detector,
)

NET = tiny_detector(neck=Neck(kind="bifpn", width=8, depth=1, max_level=5))
# One of them by default: each takes seconds to translate.
RAW = [
    pytest.param(*both, marks=[] if both == ("fpn", "softmax") else [pytest.mark.slow])
    for both in NECKS
]


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    values = session.run(None, {"images": images.numpy()})
    return dict(zip(names, map(torch.from_numpy, values), strict=True))


def shapes(path):
    graph = onnx.load(path, load_external_data=False).graph
    return {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


def assert_same(found, ours):
    """`found`: padded outputs of the file, the same as a list of detections."""
    assert found["counts"].tolist() == [len(one.scores) for one in ours]
    for index, one in enumerate(ours):
        count = len(one.scores)
        assert torch.equal(found["labels"][index, :count], one.labels)
        torch.testing.assert_close(found["scores"][index, :count], one.scores, rtol=0, atol=1e-5)
        torch.testing.assert_close(found["boxes"][index, :count], one.boxes, rtol=0, atol=1e-3)
        assert (found["labels"][index, count:] == -1).all()
        assert (found["scores"][index, count:] == 0).all()
        assert (found["boxes"][index, count:] == 0).all()


@pytest.mark.parametrize(("kind", "fusion"), RAW)
def test_raw_outputs_are_the_networks(tmp_path, kind, fusion):
    net = tiny_detector(neck=Neck(kind=kind, fusion=fusion, width=16, depth=1))
    model = spread(net)
    (path,) = export(net, tmp_path / "net.onnx", "onnx", model.state_dict(), size=(64, 96))
    anchors = 9 * (8 * 12 + 4 * 6 + 2 * 3 + 1 * 2 + 1 * 1)
    assert shapes(path) == {
        "images": ["batch", 3, 64, 96],
        "logits": ["batch", anchors, 3],
        "box_deltas": ["batch", anchors, 4],
    }
    for batch in (1, 3):
        images = of_size(net, batch, (64, 96))
        with torch.no_grad():
            logits, box_deltas = model(images)
        found = run(path, images)
        assert difference(found["logits"], logits) < 1e-3
        assert difference(found["box_deltas"], box_deltas) < 1e-3


FACTS = {"category_ids": [4, 5, 9], "classes": ["a", "b", "c"], "ap": 0.25, "trial": "search 1"}


def test_detections_are_ours(tmp_path, monkeypatch):
    # All else of such a file is as of others, so this one has its weights beside it.
    monkeypatch.setattr("scalesearch.exporters._onnx_file.MOST_INSIDE", 1000)
    model, size = spread(NET), (96, 64)
    images = of_size(NET, 3, size)
    least = lone_threshold(NET, model, images)
    words = {"outputs": "detections", "size": size, "min_score": least}
    files = export(NET, tmp_path / "net.onnx", "onnx", model.state_dict(), FACTS, **words)
    assert [file.name for file in files] == ["net.onnx", "net.onnx.data"]
    counts = []
    for some in (images, images[:1]):
        ours = detections(NET, model, some, Selection(min_score=least))
        counts += [len(one.scores) for one in ours]
        assert_same(run(files[0], some), ours)
    assert counts[:3].count(0) == 1
    assert shapes(files[0]) == {
        "images": ["batch", 3, 96, 64],
        "boxes": ["batch", 100, 4],
        "scores": ["batch", 100],
        "labels": ["batch", 100],
        "counts": ["batch"],
    }
    onnx.checker.check_model(files[0], full_check=True)
    facts = {entry.key: entry.value for entry in onnx.load(files[0]).metadata_props}
    assert json.loads(facts["category_ids"]) == [4, 5, 9]
    assert (facts["ap"], facts["trial"]) == ("0.25", "search 1")
    assert json.loads(facts["input_size"]) == [3, 96, 64]
    assert "boxes [batch, M, 4] as x0, y0, x1, y1 in pixels" in facts["description"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "size", "options"),
    [
        (NET, (64, 64), {"candidates": 50, "detections": 9, "overlap": 0.2, "fold": False}),
        (published("efficientdet_d0"), (128, 256), {}),
    ],
    ids=["few and unfolded", "d0"],
)
def test_detections_of_other_options_are_ours(tmp_path, net, size, options):
    model = spread(net)
    words = {"outputs": "detections", "size": size, **options}
    (path,) = export(net, tmp_path / "net.onnx", "onnx", model.state_dict(), **words)
    options.pop("fold", None)
    for batch in (1, 3):
        images = of_size(net, batch, size)
        assert_same(run(path, images), detections(net, model, images, Selection(**options)))


@pytest.mark.slow
def test_there_may_be_fewer_predictions_than_detections(tmp_path):
    """What there is at most is put out: nine anchors at each of three places, one class."""
    net = replace(NET, num_classes=1, neck=replace(NET.neck, kind="fpn", min_level=4))
    net = replace(net, heads=Heads(depth=0))
    model, size = spread(net), (16, 32)
    (path,) = export(
        net, tmp_path / "net.onnx", "onnx", model.state_dict(), outputs="detections", size=size
    )
    assert shapes(path)["scores"] == ["batch", 9 * (1 * 2 + 1 * 1)]
    images = of_size(net, 2, size)
    assert_same(run(path, images), detections(net, model, images))


def test_detections_that_do_not_follow_are_refused(tmp_path):
    """By a runtime that puts out what torch finds, and by one whose boxes are a pixel off."""
    model = spread(NET)
    file = OnnxFile(
        task=export_task(NET), path=tmp_path / "net.onnx", fold=True, selection=Selection()
    )

    def runtime(shift):
        def run(images):
            with torch.no_grad():
                raw = model(images)
            found = detections(NET, model, images)
            boxes, scores, labels = (torch.stack(parts) for parts in zip(*found, strict=True))
            return boxes + shift, scores, labels, torch.full((len(images),), 100), *raw

        return run

    check_file(file, runtime(0.0), model)
    with pytest.raises(UserError, match="other detections in a random image: 100, not the"):
        check_file(file, runtime(1.0), model)


def test_an_overlap_at_the_limit_may_fall_on_either_side(tmp_path):
    """Two boxes of which one is half of the other, and one a hair more or less."""
    anchors = anchor_boxes(NET.anchors, NET.neck.levels, (64, 64))
    logits = torch.full((1, len(anchors), 3), -30.0)
    box_deltas = torch.zeros(1, len(anchors), 4)
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0], [0.0, 0.0, 40.0, 20.0]])
    logits[0, :2, 0] = torch.tensor([2.0, 1.0])
    box_deltas[0, :2] = encode(boxes, anchors[:2])
    scores = torch.tensor([2.0, 1.0]).sigmoid()
    selection = Selection(min_score=0.1)

    def checked(count, slope):
        padded = [
            torch.cat([part[:count], part.new_zeros(5 - count, *part.shape[1:])])[None]
            for part in (boxes + slope, scores, torch.zeros(2, dtype=torch.int64))
        ]
        outputs = (*padded, torch.tensor([count]), logits, box_deltas)
        check_detections(outputs, export_task(NET), selection, tmp_path / "net.onnx")

    checked(1, 0.0)
    checked(2, 0.0)
    for count, slope in ((0, 0.0), (2, 0.1)):
        with pytest.raises(UserError, match="other detections"):
            checked(count, slope)


def test_options_that_make_no_sense_are_refused(subtests):
    for options, key, allowed in (
        ({"outputs": "boxes"}, "outputs", "raw, detections"),
        ({"size": 64}, "size", "height, width"),
        ({"size": [64]}, "size", "height, width"),
        ({"size": [64, 0.5]}, "size", "whole number"),
        ({"outputs": "detections", "overlap": 2}, "overlap", "from 0 to 1"),
        ({"outputs": "detections", "detections": 0}, "detections", "whole number"),
        ({"min_score": 0.5}, "min_score", "outputs: detections"),
    ):
        with subtests.test(str(options)):
            with pytest.raises(UserError, match=allowed) as caught:
                Exporter(**options)
            assert caught.value.key == key


def test_a_classifier_detects_nothing(tmp_path):
    with pytest.raises(UserError, match="a classifier has no detections") as caught:
        export(shortened("wrn_10_1", "same"), tmp_path / "net.onnx", "onnx", outputs="detections")
    assert caught.value.key == "outputs"
