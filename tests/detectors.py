"""Detectors drawn by hypothesis, for every test that must hold for any description."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from scalesearch import plugins
from scalesearch.arch.backbone import ACTIVATIONS, PADDINGS, Backbone, Stem
from scalesearch.arch.detector import NORMS, Anchors, Detector, Heads
from scalesearch.arch.neck import FUSIONS, Neck
from scalesearch.arch.stage import BLOCK_FIELDS
from tests.strategies import stages

KINDS = plugins.names("necks")
SIDES = st.integers(1, 70)


@st.composite
def detectors(draw: st.DrawFn) -> Detector:
    """A small detector of any neck and fusion that costs milliseconds to build and to run."""
    kind = draw(st.sampled_from(KINDS))
    first = draw(st.integers(1, 2))
    count = draw(st.integers({"nas_fpn": 5, "bifpn": 2}.get(kind, 1), 6))
    feeding = draw(st.integers(1, min(count, 3)))
    # One stage for each level that feeds, some before them at the finest level's stride or below.
    width = draw(st.integers(1, 12))
    drawn = [draw(stages(BLOCK_FIELDS)) for _ in range(feeding + draw(st.integers(0, 1)))]
    strides = [1] * (len(drawn) - feeding) + [1] + [2] * (feeding - 1)
    body = tuple(replace(s, stride=stride) for s, stride in zip(drawn, strides, strict=True))
    backbone = Backbone(
        stem=Stem(width=draw(st.integers(1, 8)), stride=2, pool=first),
        stages=body,
        resolution=draw(st.integers(8, 70)),
        in_channels=draw(st.sampled_from([1, 3])),
        padding=draw(st.sampled_from(PADDINGS)),
        activation=draw(st.sampled_from(ACTIVATIONS)),
    )
    neck = Neck(
        kind=kind,
        # Now and then as wide as a stage, which then needs no projection.
        width=draw(st.sampled_from([width, body[-1].width])),
        depth=draw(st.integers(1, 2)),
        fusion=draw(st.sampled_from(FUSIONS)),
        min_level=first,
        max_level=first + count - 1,
    )
    return Detector(
        backbone=backbone,
        neck=neck,
        heads=Heads(depth=draw(st.integers(0, 2))),
        anchors=Anchors(octaves=draw(st.integers(1, 2)), ratios=draw(RATIOS)),
        num_classes=draw(st.integers(1, 4)),
        activation=draw(st.sampled_from(ACTIVATIONS)),
        norm=draw(st.sampled_from(NORMS if neck.width % 2 == 0 else NORMS[:1])),
        norm_bias=draw(st.booleans()),
        norm_eps=draw(st.sampled_from([1e-3, 1e-5])),
    )


RATIOS = st.sampled_from([(1.0,), (1.0, 2.0, 0.5), ((1.0, 1.0), (1.4, 0.7))])
