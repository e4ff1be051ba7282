"""Networks drawn by hypothesis, for every test that must hold for any description."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from scalesearch.arch.backbone import ACTIVATIONS, PADDINGS, Backbone, Head, Stem
from scalesearch.arch.stage import BLOCK_FIELDS, Stage

KERNELS = st.sampled_from([1, 3, 5, 7])
# Neither multiples of 8 nor even: the arithmetic must not lean on round widths.
WIDTHS = st.integers(1, 24)
STRIDES = st.integers(1, 3)
# A stage's fields beyond its block, width and stride, whichever of them its block reads.
FIELDS = {
    "depth": st.integers(1, 3),
    "kernel": KERNELS,
    "expand": st.sampled_from([1, 2, 3, 6]),
    "se": st.sampled_from([0.0, 0.04, 0.25, 0.5, 1.0]),
    "reduce": st.integers(1, 5),
}
SIZES = st.tuples(st.integers(1, 33), st.integers(1, 33))


@st.composite
def stages(draw: st.DrawFn, blocks: Iterable[str] = BLOCK_FIELDS) -> Stage:
    """A stage of any of these block kinds with all that its block reads."""
    block = draw(st.sampled_from(sorted(blocks)))
    fields = {key: draw(FIELDS[key]) for key in BLOCK_FIELDS[block]}
    return Stage(block=block, width=draw(WIDTHS), stride=draw(STRIDES), **fields)


@st.composite
def backbones(draw: st.DrawFn, blocks: Iterable[str] = BLOCK_FIELDS) -> Backbone:
    """A small network that costs milliseconds to build and to run, odd in every way it can be."""
    stem = Stem(
        width=draw(WIDTHS),
        kernel=draw(KERNELS),
        stride=draw(STRIDES),
        pool=draw(st.integers(1, 3)),
        norm=draw(st.booleans()),
    )
    head = Head(
        width=draw(st.one_of(st.just(0), st.integers(1, 40))),
        dropout=draw(st.sampled_from([0.0, 0.3])),
        norm=draw(st.booleans()),
    )
    return Backbone(
        stages=tuple(draw(st.lists(stages(blocks), min_size=1, max_size=4))),
        stem=stem,
        head=head,
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
