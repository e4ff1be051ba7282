"""How other libraries name the layers of networks that we describe; our names stand on the left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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


_SQUEEZE = {"squeeze.reduce": "se.conv_reduce", "squeeze.expand": "se.conv_expand"}
# timm's EfficientNets, V2 among them, and its MobileNets.
TIMM = Layout(
    outside={
        "stem.conv": "conv_stem",
        "stem.norm": "bn1",
        "head.conv": "conv_head",
        "head.norm": "bn2",
        "classifier": "classifier",
    },
    block="blocks.{stage0}.{index0}.{layer}",
    kinds=(
        {
            "expand.conv": "conv_pw",
            "expand.norm": "bn1",
            "depthwise.conv": "conv_dw",
            "depthwise.norm": "bn2",
            **_SQUEEZE,
            "project.conv": "conv_pwl",
            "project.norm": "bn3",
        },
        {
            "depthwise.conv": "conv_dw",
            "depthwise.norm": "bn1",
            **_SQUEEZE,
            "project.conv": "conv_pw",
            "project.norm": "bn2",
        },
        {
            "expand.conv": "conv_exp",
            "expand.norm": "bn1",
            **_SQUEEZE,
            "project.conv": "conv_pwl",
            "project.norm": "bn2",
        },
        {"project.conv": "conv", "project.norm": "bn1"},
    ),
)
_FEATURES = {
    "stem.conv": "features.0.0",
    "stem.norm": "features.0.1",
    "classifier": "classifier.1",
}
# torchvision's EfficientNets, V2 among them.
TORCHVISION = Layout(
    outside=_FEATURES | {"head.conv": "features.{stage1}.0", "head.norm": "features.{stage1}.1"},
    block="features.{stage1}.{index0}.block.{layer}",
    kinds=(
        {
            "expand.conv": "0.0",
            "expand.norm": "0.1",
            "depthwise.conv": "1.0",
            "depthwise.norm": "1.1",
            "squeeze.reduce": "2.fc1",
            "squeeze.expand": "2.fc2",
            "project.conv": "3.0",
            "project.norm": "3.1",
        },
        {
            "depthwise.conv": "0.0",
            "depthwise.norm": "0.1",
            "squeeze.reduce": "1.fc1",
            "squeeze.expand": "1.fc2",
            "project.conv": "2.0",
            "project.norm": "2.1",
        },
        {
            "expand.conv": "0.0",
            "expand.norm": "0.1",
            "project.conv": "1.0",
            "project.norm": "1.1",
        },
        {"project.conv": "0.0", "project.norm": "0.1"},
    ),
)
TORCHVISION_MOBILENET = Layout(
    outside=_FEATURES | {"head.conv": "features.{block1}.0", "head.norm": "features.{block1}.1"},
    block="features.{block1}.conv.{layer}",
    kinds=(
        {
            "expand.conv": "0.0",
            "expand.norm": "0.1",
            "depthwise.conv": "1.0",
            "depthwise.norm": "1.1",
            "project.conv": "2",
            "project.norm": "3",
        },
        {
            "depthwise.conv": "0.0",
            "depthwise.norm": "0.1",
            "project.conv": "1",
            "project.norm": "2",
        },
    ),
)
_DOWNSAMPLE = {"shortcut.conv": "downsample.0", "shortcut.norm": "downsample.1"}
# ResNets of timm and of torchvision.
RESNET = Layout(
    outside={"stem.conv": "conv1", "stem.norm": "bn1", "classifier": "fc"},
    block="layer{stage1}.{index0}.{layer}",
    kinds=(
        {
            "first.conv": "conv1",
            "first.norm": "bn1",
            "second.conv": "conv2",
            "second.norm": "bn2",
            **_DOWNSAMPLE,
        },
        {
            "reduce.conv": "conv1",
            "reduce.norm": "bn1",
            "spatial.conv": "conv2",
            "spatial.norm": "bn2",
            "expand.conv": "conv3",
            "expand.norm": "bn3",
            **_DOWNSAMPLE,
        },
    ),
)
# The package `efficientnet_pytorch`, and checkpoints of Lite in its manner.
EFFICIENTNET_PYTORCH = Layout(
    outside={
        "stem.conv": "_conv_stem",
        "stem.norm": "_bn0",
        "head.conv": "_conv_head",
        "head.norm": "_bn1",
        "classifier": "_fc",
    },
    block="_blocks.{block0}.{layer}",
    kinds=(
        {
            "expand.conv": "_expand_conv",
            "expand.norm": "_bn0",
            "depthwise.conv": "_depthwise_conv",
            "depthwise.norm": "_bn1",
            "squeeze.reduce": "_se_reduce",
            "squeeze.expand": "_se_expand",
            "project.conv": "_project_conv",
            "project.norm": "_bn2",
        },
    ),
)
# pytorchcv's wide residual networks for CIFAR; a norm there belongs to the convolution after it.
PYTORCHCV_WIDE = Layout(
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
)

LAYOUTS = (
    TIMM,
    TORCHVISION,
    TORCHVISION_MOBILENET,
    RESNET,
    EFFICIENTNET_PYTORCH,
    PYTORCHCV_WIDE,
)
