"""How other libraries name the weights of our networks; our names are on the left."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from scalesearch.nn.weight_sets import is_wrapper

_BLOCK = re.compile(r"stages\.(\d+)\.(\d+)\.(.+)")
_BACKBONE = "backbone."  # a detector's, in our names and in effdet's
_LONGEST = 1000  # characters of a name, whose every ending is looked up


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one library names the layers of one family.

    A pattern may hold the number of a block's stage, of the block in its stage, and of the block
    in the whole network, each counted from 0 or from 1: `{stage0}`, `{stage1}`, `{index0}`,
    `{index1}`, `{block0}`, `{block1}`. Outside of blocks they count as for one more stage.

    Attributes:
        outside: layers outside of blocks.
        block: pattern of a block's layer; `{layer}` is its name inside the block.
        kinds: one table for each kind of block. That of a block is the smallest that names all of
            its layers, so that a block without expansion may have other names than one with it.
    """

    outside: Mapping[str, str]
    block: str
    kinds: tuple[Mapping[str, str], ...]


class Names(NamedTuple):
    """Where the weights of a network are in another state dict.

    Attributes:
        theirs: each of our names to the name of the same weight there.
        prefixes: what stands before the names of the network or of its parts; what has none of
            them belongs to something else, such as a loss that was saved with the network.
        candidates: prefixes below each of which there is such a network, if it is more than one.
    """

    theirs: dict[str, str]
    prefixes: tuple[str, ...]
    candidates: tuple[str, ...] = ()


def names_in(given: Iterable[str], needed: Iterable[str]) -> Names:
    """Where the weights of a network with our names `needed` are in another state dict.

    The library is the one by whose names most weights are found in `given`, below whatever prefix
    (`model.`, `student.encoder.`); our own names are the first choice. A layer that the library
    does not have is left out. A detector's backbone has names of its own, as it may come from a
    classifier.
    """
    ours, names = list(needed), list(given)
    backbone = [name for name in ours if name.startswith(_BACKBONE)]
    if not backbone:
        return _best(names, _libraries(ours))
    rest = [name for name in ours if not name.startswith(_BACKBONE)]
    alone = [name.removeprefix(_BACKBONE) for name in backbone]
    inside = _best(names, [dict(zip(alone, backbone, strict=True)), *_libraries(alone)])
    outside = _best(names, [{name: name for name in rest}, effdet_names(rest)])
    theirs = {_BACKBONE + name: other for name, other in inside.theirs.items()} | outside.theirs
    return Names(theirs, inside.prefixes + outside.prefixes, inside.candidates + outside.candidates)


def _libraries(ours: list[str]) -> list[dict[str, str]]:
    """Names of a classifier's weights: our own, and those of each library."""
    own = {name: name for name in ours}
    return [own, *(_backbone_names(layout, ours) for layout in LAYOUTS)]


def _best(given: list[str], libraries: list[dict[str, str]]) -> Names:
    """The names of the library that finds most in `given` below one prefix, with that prefix."""
    having: dict[str, list[int]] = {}
    for library, names in enumerate(libraries):
        for name in names.values():
            having.setdefault(name, []).append(library)
    found: Counter[tuple[int, str]] = Counter()
    for name in given:
        if len(name) > _LONGEST:
            continue
        start = 0
        while True:
            for library in having.get(name[start:], ()):
                found[library, name[:start]] += 1
            if not (start := name.find(".", start) + 1):
                break
    # Blocks repeat names: `layer1.0.bn1` is not the first norm of a network within `layer1.0.`.
    likely = [
        (library, prefix)
        for library, prefix in found
        if is_wrapper(prefix) or 2 * found[library, prefix] >= len(libraries[library])
    ]
    if not likely:
        return Names(libraries[0], ())
    best = max(likely, key=lambda pair: (found[pair], -pair[0], -len(pair[1])))
    library, prefix = best
    # Where another prefix has the network, too, nothing says which one is meant.
    alike = [pair for pair in likely if pair[0] == library and 2 * found[pair] >= found[best]]
    names = {ours: prefix + theirs for ours, theirs in libraries[library].items()}
    if len(alike) == 1:
        return Names(names, (prefix,))
    return Names(names, ("",), tuple(other for _, other in alike))


def _backbone_names(layout: Layout, ours: list[str]) -> dict[str, str]:
    layers = {name: name.rpartition(".")[0] for name in ours}
    blocks: dict[tuple[int, int], set[str]] = {}  # by stage and index to the layers in it
    for layer in layers.values():
        if match := _BLOCK.fullmatch(layer):
            blocks.setdefault((int(match[1]), int(match[2])), set()).add(match[3])
    stages = 1 + max((stage for stage, _ in blocks), default=-1)
    numbers = _numbers(stage=stages, index=0, block=len(blocks))
    theirs = {layer: pattern.format(**numbers) for layer, pattern in layout.outside.items()}
    for block, (stage, index) in enumerate(sorted(blocks)):
        numbers = _numbers(stage=stage, index=index, block=block)
        fitting = [kind for kind in layout.kinds if blocks[stage, index] <= kind.keys()]
        for layer, name in min(fitting, key=len, default={}).items():
            theirs[f"stages.{stage}.{index}.{layer}"] = layout.block.format(layer=name, **numbers)
    return {
        name: theirs[layer] + name.removeprefix(layer)
        for name, layer in layers.items()
        if layer in theirs
    }


def _numbers(**numbers: int) -> dict[str, int]:
    """Each number counted from 0 and from 1."""
    return {f"{key}{first}": number + first for key, number in numbers.items() for first in (0, 1)}


def effdet_names(names: Iterable[str]) -> dict[str, str]:
    """Each of our names of weights of a neck or a head to the same weight's in effdet."""
    return {name: theirs for name in names if (theirs := _effdet_name(name))}


def _effdet_name(name: str) -> str:
    for pattern, theirs in _EFFDET.items():
        if match := re.match(pattern, name):
            layer, dot, rest = name[match.end() :].partition(".")
            return match.expand(theirs) + _EFFDET_LAYERS.get(layer, layer) + dot + rest
    return ""


def _layers(**names: tuple[str, str]) -> dict[str, str]:
    """`expand=("conv_pw", "bn1")` to the names of `expand.conv` and `expand.norm`."""
    return {
        f"{layer}.{part}": name
        for layer, pair in names.items()
        for part, name in zip(_PARTS.get(layer, ("conv", "norm")), pair, strict=True)
    }


_PARTS = {"squeeze": ("reduce", "expand")}

# A node of a neck; the layers of separable convolutions and their norms are in `_EFFDET_LAYERS`.
_NODE = r"neck\.layers\.(\d+)\.joints\.(\d+)\."
_EFFDET = {
    r"neck\.extra\.(\d+)\.": r"fpn.resample.\1.conv.",
    _NODE + r"resample\.(\d+)\.": r"fpn.cell.\1.fnode.\2.combine.resample.\3.conv.",
    _NODE + r"fusion\.weights": r"fpn.cell.\1.fnode.\2.combine.edge_weights",
    _NODE + r"(?:conv\.)?": r"fpn.cell.\1.fnode.\2.after_combine.conv.",
    r"(class|box)_head\.convs\.(\d+)\.": r"\1_net.conv_rep.\2.",
    r"(class|box)_head\.norms\.(\d+)\.(\d+)\.": r"\1_net.bn_rep.\2.\3.bn.",
    r"(class|box)_head\.predict\.": r"\1_net.predict.",
}
_EFFDET_LAYERS = {"depthwise": "conv_dw", "pointwise": "conv_pw", "norm": "bn"}

_TIMM_SQUEEZE = ("se.conv_reduce", "se.conv_expand")
_TORCHVISION_OUTSIDE = {"classifier": "classifier.1"} | _layers(
    stem=("features.0.0", "features.0.1")
)
_DOWNSAMPLE = ("downsample.0", "downsample.1")

LAYOUTS = (
    # timm's EfficientNets, V2 among them, and its MobileNets.
    Layout(
        outside={"classifier": "classifier"}
        | _layers(stem=("conv_stem", "bn1"), head=("conv_head", "bn2")),
        block="blocks.{stage0}.{index0}.{layer}",
        kinds=(
            _layers(
                expand=("conv_pw", "bn1"),
                depthwise=("conv_dw", "bn2"),
                squeeze=_TIMM_SQUEEZE,
                project=("conv_pwl", "bn3"),
            ),
            _layers(
                depthwise=("conv_dw", "bn1"), squeeze=_TIMM_SQUEEZE, project=("conv_pw", "bn2")
            ),
            _layers(expand=("conv_exp", "bn1"), squeeze=_TIMM_SQUEEZE, project=("conv_pwl", "bn2")),
            _layers(project=("conv", "bn1")),
        ),
    ),
    # torchvision's EfficientNets, V2 among them.
    Layout(
        outside=_TORCHVISION_OUTSIDE | _layers(head=("features.{stage1}.0", "features.{stage1}.1")),
        block="features.{stage1}.{index0}.block.{layer}",
        kinds=(
            _layers(
                expand=("0.0", "0.1"),
                depthwise=("1.0", "1.1"),
                squeeze=("2.fc1", "2.fc2"),
                project=("3.0", "3.1"),
            ),
            _layers(depthwise=("0.0", "0.1"), squeeze=("1.fc1", "1.fc2"), project=("2.0", "2.1")),
            _layers(expand=("0.0", "0.1"), project=("1.0", "1.1")),
            _layers(project=("0.0", "0.1")),
        ),
    ),
    # torchvision's MobileNets.
    Layout(
        outside=_TORCHVISION_OUTSIDE | _layers(head=("features.{block1}.0", "features.{block1}.1")),
        block="features.{block1}.conv.{layer}",
        kinds=(
            _layers(expand=("0.0", "0.1"), depthwise=("1.0", "1.1"), project=("2", "3")),
            _layers(depthwise=("0.0", "0.1"), project=("1", "2")),
        ),
    ),
    # ResNets of timm and of torchvision.
    Layout(
        outside={"classifier": "fc"} | _layers(stem=("conv1", "bn1")),
        block="layer{stage1}.{index0}.{layer}",
        kinds=(
            _layers(first=("conv1", "bn1"), second=("conv2", "bn2"), shortcut=_DOWNSAMPLE),
            _layers(
                reduce=("conv1", "bn1"),
                spatial=("conv2", "bn2"),
                expand=("conv3", "bn3"),
                shortcut=_DOWNSAMPLE,
            ),
        ),
    ),
    # The package `efficientnet_pytorch`, and checkpoints of Lite in its manner.
    Layout(
        outside={"classifier": "_fc"}
        | _layers(stem=("_conv_stem", "_bn0"), head=("_conv_head", "_bn1")),
        block="_blocks.{block0}.{layer}",
        kinds=(
            _layers(
                expand=("_expand_conv", "_bn0"),
                depthwise=("_depthwise_conv", "_bn1"),
                squeeze=("_se_reduce", "_se_expand"),
                project=("_project_conv", "_bn2"),
            ),
        ),
    ),
    # pytorchcv's wide residual networks for CIFAR, where a norm is its next convolution's.
    Layout(
        outside={
            "stem.conv": "features.init_block",
            "head.norm": "features.post_activ.bn",
            "classifier": "output",
        },
        block="features.stage{stage1}.unit{index1}.{layer}",
        kinds=(
            {
                "entry.norm": "body.conv1.bn",
                "first.conv": "body.conv1.conv",
                "first.norm": "body.conv2.bn",
                "second.conv": "body.conv2.conv",
                "shortcut.conv": "identity_conv",
            },
        ),
    ),
)
