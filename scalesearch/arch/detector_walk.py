"""The walk over a described detector: backbone, neck and heads, in forward order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scalesearch.arch.detector import Detector
from scalesearch.arch.neck import outputs
from scalesearch.arch.op import Op, Size, shrink
from scalesearch.arch.walk import Part, walk_stage, walk_stem

Map = tuple[int, Size]  # channels and size of a feature map


def walk_detector(net: Detector, size: Size | None = None) -> Iterator[Part]:
    """The parts of a detector for an image of `size` (by default its square resolution)."""
    size = size or (net.resolution, net.resolution)
    maps: list[Map] = []
    part, size = walk_stem(net.backbone.stem, net.backbone.in_channels, size)
    yield part
    width = net.backbone.stem.width
    for index, stage in enumerate(net.backbone.stages[: net.sources[-1] + 1]):
        parts, size = walk_stage(f"stage{index + 1}", stage, width, size)
        yield from parts
        width = stage.width
        if index in net.sources:
            maps.append((width, size))
    yield from _neck(net, maps)
    sizes = [size for _, size in level_maps(net, maps)]
    for head, values in (("class_head", net.num_classes), ("box_head", 4)):
        rule = _predict
        for level, of_level in zip(net.neck.levels, sizes, strict=True):
            yield Part(f"{head}.p{level}", 1, rule, (net, values, of_level))
            rule = predict_again


def level_maps(net: Detector, maps: Sequence[Map]) -> list[Map]:
    """What the neck takes: the backbone's maps, and those made from the last where it has none."""
    made = list(maps)
    while len(made) < len(net.neck.levels):
        made.append((net.neck.width, shrink(made[-1][1], 2)))
    return made


def _neck(net: Detector, maps: Sequence[Map]) -> Iterator[Part]:
    known = level_maps(net, maps)
    for number in range(len(maps), len(known)):
        yield Part(f"neck.extra{number}", 1, _resample, (net, known[number - 1], known[number][1]))
    sizes = {level: size for level, (_, size) in zip(net.neck.levels, known, strict=True)}
    for layer in range(net.neck.depth):
        held = list(known)
        for node in net.nodes:
            inputs = tuple(held[i] for i in node.inputs)
            yield Part(f"neck.layer{layer + 1}", 1, _joint, (net, inputs, sizes[node.level]))
            held.append((net.neck.width, sizes[node.level]))
        known = [held[i] for i in outputs(net.nodes, net.neck.levels)]


def _resample(net: Detector, source: Map, size: Size) -> tuple[Op, ...]:
    (inputs, before), width = source, net.neck.width
    ops: list[Op] = []
    if inputs != width:
        flags = (1, 1, net.norm_bias, True)
        ops.append(Op("conv", "conv", inputs, width, before, before, *flags))
    if before != size:
        larger = before[0] <= size[0] and before[1] <= size[1]
        strides = [-(-side // wanted) for side, wanted in zip(before, size, strict=True)]
        kind, stride = ("upsample", 1) if larger else ("max_pool", max(strides))
        ops.append(Op(kind, kind, width, width, before, size, stride + 1, stride=stride))
    return tuple(ops)


def _joint(net: Detector, sources: tuple[Map, ...], size: Size) -> tuple[Op, ...]:
    width, learnt = net.neck.width, net.neck.fusion != "sum"
    ops = [op for source in sources for op in _resample(net, source, size)]
    fused = Op("fuse", "fusion", width, width, size, size, 1, len(sources), learnt, active=True)
    return (*ops, fused, *_separable(width, width, size, bias=net.norm_bias, norm=True))


def _separable(width: int, outputs: int, size: Size, *, bias: bool, norm: bool) -> tuple[Op, Op]:
    depthwise = Op("conv", "depthwise", width, width, size, size, 3, width)
    return depthwise, Op("conv", "pointwise", width, outputs, size, size, 1, 1, bias, norm)


def _predict(net: Detector, values: int, size: Size) -> tuple[Op, ...]:
    width = net.neck.width
    depthwise, pointwise = _separable(width, width, size, bias=net.norm_bias, norm=True)
    own = (depthwise, pointwise._replace(active=True))
    last = _separable(width, values * net.anchors.count, size, bias=True, norm=False)
    return (*own * net.heads.depth, *last)


def predict_again(net: Detector, values: int, size: Size) -> tuple[Op, ...]:
    """A head at another level: the convolutions of the first once more, norms of its own."""
    return _predict(net, values, size)
