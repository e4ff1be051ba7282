"""The walk over a described detector: backbone, neck and heads, in forward order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from scalesearch.arch.detector import Detector, norm_groups, wiring
from scalesearch.arch.neck import Node, outputs
from scalesearch.arch.op import Op, Size, shrink
from scalesearch.arch.walk import Part, walk_stage, walk_stem

Map = tuple[int, Size]  # channels and size of a feature map


class Frame(NamedTuple):
    """What the operations of neck and heads depend on beside the sizes of their maps.

    Attributes:
        kind, levels, width, fusion: as in `Neck`.
        activation, norm, norm_bias: as in `Detector`.
    """

    kind: str
    levels: range
    width: int
    fusion: str
    activation: str
    norm: str
    norm_bias: bool

    @classmethod
    def of(cls, net: Detector) -> Frame:
        """That of a detector."""
        neck = net.neck
        own = (net.activation, net.norm, net.norm_bias)
        return cls(neck.kind, neck.levels, neck.width, neck.fusion, *own)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The fusions of one layer of the neck."""
        return wiring(self.kind, self.levels)

    @property
    def learnt(self) -> bool:
        """A fusion learns a weight for each of its inputs."""
        return self.fusion != "sum"

    @property
    def norm_groups(self) -> int:
        """Groups of each norm; 0 is a batch norm."""
        return norm_groups(self.width) if self.norm == "group" else 0


def walk_detector(net: Detector, size: Size | None = None) -> Iterator[Part]:
    """The parts of a detector for an image of `size` (by default its square resolution)."""
    maps: list[Map] = []
    size = size or (net.resolution, net.resolution)
    for parts, after, tapped in walk_backbone(net, size):
        yield from parts
        maps += [after] if tapped else []
    frame, sizes = Frame.of(net), level_sizes(net.neck.levels, size)
    yield from _walk_neck(frame, net.neck.depth, maps, sizes)
    for head, values in (("class_head", net.num_classes), ("box_head", 4)):
        name, last = head, values * net.anchors.count
        for level, part in zip(
            net.neck.levels, walk_head(name, frame, net.heads.depth, last, sizes), strict=True
        ):
            yield part._replace(name=f"{head}.p{level}")


def walk_backbone(net: Detector, size: Size) -> Iterator[tuple[tuple[Part, ...], Map, bool]]:
    """The parts of the stem and of each stage, what they put out, and whether it feeds the neck."""
    part, size = walk_stem(net.backbone.stem, net.backbone.in_channels, size)
    width, sources = net.backbone.stem.width, net.sources
    yield (part,), (width, size), False
    for index, stage in enumerate(net.backbone.stages):
        parts, size = walk_stage(f"stage{index + 1}", stage, width, size)
        width = stage.width
        yield parts, (width, size), index in sources


def walk_head(
    name: str, frame: Frame, depth: int, outputs: int, sizes: Sequence[Size]
) -> Iterator[Part]:
    """A head at each level: `depth` convolutions, then one to `outputs` channels."""
    rule = _predict
    for size in sizes:
        yield Part(name, 1, rule, (frame, depth, outputs, size))
        rule = predict_again


def level_sizes(levels: range, size: Size) -> tuple[Size, ...]:
    """The size of each level for an image of `size`: each halves the one below, rounded up."""
    return tuple(shrink(size, 2**level) for level in levels)


def project(frame: Frame, inputs: int, size: Size) -> tuple[Op, ...]:
    """The convolution that brings a map to the width of the neck; none if it has it."""
    if inputs == frame.width:
        return ()
    return (_normed("conv", inputs, frame, size),)


def fuse(frame: Frame, sources: tuple[Map, ...], size: Size) -> tuple[Op, ...]:
    """One node of a layer."""
    width = frame.width
    ops = [op for source in sources for op in _resample(frame, source, size)]
    several = (1, len(sources), frame.learnt)
    fused = Op("fuse", "fusion", width, width, size, size, *several, active=True)
    return (*ops, fused, *_separable(frame, size))


def _walk_neck(
    frame: Frame, depth: int, maps: Sequence[Map], sizes: Sequence[Size]
) -> Iterator[Part]:
    known = list(maps)
    for number in range(len(maps), len(sizes)):
        rule_args = (frame, known[-1], sizes[number])
        yield Part(f"neck.extra{number}", 1, _resample, rule_args)
        known.append((frame.width, sizes[number]))
    for layer in range(depth):
        held = list(known)
        for node in frame.nodes:
            size = sizes[node.level - frame.levels.start]
            inputs = tuple(held[i] for i in node.inputs)
            yield Part(f"neck.layer{layer + 1}", 1, fuse, (frame, inputs, size))
            held.append((frame.width, size))
        known = [held[i] for i in outputs(frame.nodes, frame.levels)]


def _resample(frame: Frame, source: Map, size: Size) -> tuple[Op, ...]:
    (inputs, before), width = source, frame.width
    ops = project(frame, inputs, before)
    if before == size:
        return ops
    larger = before[0] <= size[0] and before[1] <= size[1]
    strides = [-(-side // wanted) for side, wanted in zip(before, size, strict=True)]
    kind, stride = ("upsample", 1) if larger else ("max_pool", max(strides))
    return (*ops, Op(kind, kind, width, width, before, size, stride + 1, stride=stride))


def _separable(frame: Frame, size: Size) -> tuple[Op, Op]:
    width = frame.width
    depthwise = Op("conv", "depthwise", width, width, size, size, 3, width)
    return depthwise, _normed("pointwise", width, frame, size)


def _normed(name: str, inputs: int, frame: Frame, size: Size) -> Op:
    groups, flags = frame.norm_groups, (1, 1, frame.norm_bias, True)
    return Op("conv", name, inputs, frame.width, size, size, *flags, norm_groups=groups)


def _predict(frame: Frame, depth: int, outputs: int, size: Size) -> tuple[Op, ...]:
    depthwise, pointwise = _separable(frame, size)
    own = (depthwise, pointwise._replace(active=True))
    last = Op("conv", "pointwise", frame.width, outputs, size, size, bias=True)
    return (*own * depth, depthwise, last)


def predict_again(frame: Frame, depth: int, outputs: int, size: Size) -> tuple[Op, ...]:
    """A head at another level: the convolutions of the first once more, norms of its own."""
    return _predict(frame, depth, outputs, size)
