"""Networks drawn by hypothesis, for every test that must hold for any description."""

from __future__ import annotations

from hypothesis import strategies as st

from scalesearch.arch.backbone import ACTIVATIONS, PADDINGS, Backbone, Head, Stem
from scalesearch.arch.stage import Stage

KERNELS = st.sampled_from([1, 3, 5, 7])
# Neither multiples of 8 nor even: the arithmetic must not lean on round widths.
WIDTHS = st.integers(1, 24)
RATIOS = st.sampled_from([0.0, 0.04, 0.25, 0.5, 1.0])


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    """A stage of either block kind."""
    width, stride = draw(WIDTHS), draw(st.integers(1, 3))
    if draw(st.integers(0, 3)) == 0:
        return Stage(block="identity", width=width, stride=stride)
    return Stage(
        width=width,
        stride=stride,
        depth=draw(st.integers(1, 3)),
        kernel=draw(KERNELS),
        expand=draw(st.sampled_from([1, 2, 3, 6])),
        se=draw(RATIOS),
    )


@st.composite
def backbones(draw: st.DrawFn) -> Backbone:
    """A small network that costs milliseconds to build and to run, odd in every way it can be."""
    return Backbone(
        stages=tuple(draw(st.lists(stages(), min_size=1, max_size=4))),
        stem=Stem(width=draw(WIDTHS), kernel=draw(KERNELS), stride=draw(st.integers(1, 3))),
        head=Head(width=draw(st.integers(1, 40)), dropout=draw(st.sampled_from([0.0, 0.3]))),
        resolution=draw(st.integers(8, 40)),
        in_channels=draw(st.sampled_from([1, 3])),
        num_classes=draw(st.integers(1, 12)),
        activation=draw(st.sampled_from(ACTIVATIONS)),
        padding=draw(st.sampled_from(PADDINGS)),
        drop_path=draw(st.sampled_from([0.0, 0.2])),
        norm_eps=draw(st.sampled_from([1e-5, 1e-3])),
        norm_momentum=draw(st.sampled_from([0.1, 0.01])),
        width_divisor=draw(st.sampled_from([1, 4, 8])),
    )


SIZES = st.tuples(st.integers(1, 33), st.integers(1, 33))
