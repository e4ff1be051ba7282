"""For each block kind a module of others that computes the same, and where its weights go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import timm.layers
import torch
from pytorchcv.models.preresnet import PreResUnit
from timm.models._efficientnet_blocks import (
    ConvBnAct,
    DepthwiseSeparableConv,
    EdgeResidual,
    InvertedResidual,
)
from torch import Tensor, nn
from torchvision.models.efficientnet import FusedMBConv, FusedMBConvConfig
from torchvision.models.resnet import BasicBlock, Bottleneck

from scalesearch.arch.stage import Stage

# What a block of this test takes: 8 channels. timm makes inner widths multiples of 8.
WIDTH = 8
ACTIVATION_LAYERS = {"silu": nn.SiLU, "relu": nn.ReLU}


@dataclass(frozen=True)
class Peer:
    """A stage, and what makes the module of others for its first block.

    Attributes:
        stage: at most one block deep; its block takes `WIDTH` channels.
        make: the module of others.
        names: our module's name within the block to theirs.
        activation: of the network.
    """

    stage: Stage
    make: Callable[[Stage], nn.Module]
    names: dict[str, str]
    activation: str = "relu"


def _squeeze(stage: Stage) -> Callable[..., nn.Module] | None:
    """timm's squeeze-excite with channels as a share of the block's input, as MnasNet has it."""
    if not stage.se:
        return None
    return lambda channels, act_layer, **_: timm.layers.SqueezeExcite(
        channels, rd_channels=int(WIDTH * stage.se), act_layer=act_layer
    )


def _inverted(stage: Stage) -> nn.Module:
    # timm, like the official code, has a block of its own for an expansion of 1.
    common = {
        "dw_kernel_size": stage.kernel,
        "stride": stage.stride,
        "act_layer": nn.SiLU,
        "se_layer": _squeeze(stage),
    }
    if stage.expand == 1:
        return DepthwiseSeparableConv(WIDTH, stage.width, **common)
    return InvertedResidual(WIDTH, stage.width, exp_ratio=float(stage.expand), **common)


def _edge(stage: Stage) -> nn.Module:
    return EdgeResidual(
        WIDTH,
        stage.width,
        exp_kernel_size=stage.kernel,
        stride=stage.stride,
        exp_ratio=float(stage.expand),
        act_layer=nn.SiLU,
        se_layer=_squeeze(stage),
    )


def _conv_bn_act(stage: Stage) -> nn.Module:
    return ConvBnAct(
        WIDTH, stage.width, stage.kernel, stride=stage.stride, skip=True, act_layer=nn.SiLU
    )


class SqueezedFirst(nn.Module):
    """Of PyTorch's and timm's parts, as nobody publishes it: squeeze-excite, then one convolution.

    The official EfficientNetV2 code has this order for an expansion of 1.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.se = timm.layers.SqueezeExcite(
            WIDTH, rd_channels=int(WIDTH * stage.se), act_layer=nn.SiLU
        )
        padding = stage.kernel // 2
        self.conv = nn.Conv2d(WIDTH, stage.width, stage.kernel, stage.stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(stage.width)
        self.skip = stage.stride == 1 and stage.width == WIDTH

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.silu(self.bn1(self.conv(self.se(x))))
        return x + y if self.skip else y


def _torchvision_fused(stage: Stage) -> nn.Module:
    config = FusedMBConvConfig(stage.expand, stage.kernel, stage.stride, WIDTH, stage.width, 1)
    return FusedMBConv(config, 0.0, nn.BatchNorm2d)


def _separable(stage: Stage) -> nn.Module:
    # What timm calls "dsa" in its description of MobileNetV1: no skip, both convolutions active.
    return DepthwiseSeparableConv(
        WIDTH,
        stage.width,
        dw_kernel_size=stage.kernel,
        stride=stage.stride,
        noskip=True,
        pw_act=True,
    )


def _downsample(stage: Stage) -> nn.Module | None:
    if stage.stride == 1 and stage.width == WIDTH:
        return None
    conv = nn.Conv2d(WIDTH, stage.width, 1, stage.stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(stage.width))


def _basic(stage: Stage) -> nn.Module:
    return BasicBlock(WIDTH, stage.width, stage.stride, _downsample(stage))


def _bottleneck(stage: Stage) -> nn.Module:
    # torchvision's wide_resnet50_2 has a base width of 128: inner channels are half of the output.
    base_width = 64 * 4 // stage.reduce
    return Bottleneck(
        WIDTH, stage.width // 4, stage.stride, _downsample(stage), base_width=base_width
    )


def _wide(stage: Stage) -> nn.Module:
    return PreResUnit(WIDTH, stage.width, stage.stride, bottleneck=False)


class Selecting(nn.Module):
    """The identity block as a convolution: a 1x1 kernel that is the identity matrix, strided."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stride = stage.stride
        kernel = torch.eye(stage.width, WIDTH, dtype=torch.float64)[:, :, None, None]
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.kernel, stride=self.stride)


INVERTED = {
    "expand.conv": "conv_pw",
    "expand.norm": "bn1",
    "depthwise.conv": "conv_dw",
    "depthwise.norm": "bn2",
    "project.conv": "conv_pwl",
    "project.norm": "bn3",
}
SEPARABLE = {
    "depthwise.conv": "conv_dw",
    "depthwise.norm": "bn1",
    "project.conv": "conv_pw",
    "project.norm": "bn2",
}
SQUEEZE = {"squeeze.reduce": "se.fc1", "squeeze.expand": "se.fc2"}
EDGE = {
    "expand.conv": "conv_exp",
    "expand.norm": "bn1",
    "project.conv": "conv_pwl",
    "project.norm": "bn2",
}
CONV_BN_ACT = {"project.conv": "conv", "project.norm": "bn1"}
TORCHVISION_FUSED = {
    "expand.conv": "block.0.0",
    "expand.norm": "block.0.1",
    "project.conv": "block.1.0",
    "project.norm": "block.1.1",
}
BASIC = {
    "first.conv": "conv1",
    "first.norm": "bn1",
    "second.conv": "conv2",
    "second.norm": "bn2",
    "shortcut.conv": "downsample.0",
    "shortcut.norm": "downsample.1",
}
BOTTLENECK = {
    "reduce.conv": "conv1",
    "reduce.norm": "bn1",
    "spatial.conv": "conv2",
    "spatial.norm": "bn2",
    "expand.conv": "conv3",
    "expand.norm": "bn3",
    "shortcut.conv": "downsample.0",
    "shortcut.norm": "downsample.1",
}
WIDE = {
    "entry.norm": "body.conv1.bn",
    "first.conv": "body.conv1.conv",
    "first.norm": "body.conv2.bn",
    "second.conv": "body.conv2.conv",
    "shortcut.conv": "identity_conv",
}
# Equal ends (a residual), a stride, other channels, and both.
ENDS = ((8, 1), (8, 2), (24, 1), (16, 2))


def _stages(block: str, ends: tuple[tuple[int, int], ...] = ENDS, **fields: object) -> list[Stage]:
    return [Stage(block=block, width=w, stride=s, **fields) for w, s in ends]


def _peers() -> list[Peer]:
    peers = []
    for se in (0.0, 0.25):
        more = SQUEEZE if se else {}
        for stage in _stages("mbconv", kernel=5, expand=3, se=se):
            peers.append(Peer(stage, _inverted, INVERTED | more, "silu"))
        for stage in _stages("mbconv", expand=1, se=se):
            peers.append(Peer(stage, _inverted, SEPARABLE | more, "silu"))
        for stage in _stages("fused_mbconv", expand=4, se=se):
            peers.append(Peer(stage, _edge, EDGE | more, "silu"))
    for stage in _stages("fused_mbconv", expand=4):
        peers.append(Peer(stage, _torchvision_fused, TORCHVISION_FUSED, "silu"))
    for stage in _stages("fused_mbconv", expand=1, kernel=5):
        peers.append(Peer(stage, _conv_bn_act, CONV_BN_ACT, "silu"))
    for stage in _stages("fused_mbconv", expand=1, se=0.25):
        peers.append(Peer(stage, SqueezedFirst, CONV_BN_ACT | SQUEEZE, "silu"))
    for stage in _stages("fused_mbconv", expand=1):
        names = {"project.conv": "block.0.0", "project.norm": "block.0.1"}
        peers.append(Peer(stage, _torchvision_fused, names, "silu"))
    peers += [Peer(s, _separable, SEPARABLE) for s in _stages("separable", kernel=5)]
    peers += [Peer(s, _basic, BASIC) for s in _stages("basic")]
    for reduce in (4, 2):
        peers += [Peer(s, _bottleneck, BOTTLENECK) for s in _stages("bottleneck", reduce=reduce)]
    peers += [Peer(s, _wide, WIDE) for s in _stages("wide")]
    shortened = (*ENDS, (5, 1), (5, 2), (8, 3))
    peers += [Peer(s, Selecting, {}) for s in _stages("identity", shortened)]
    return peers


PEERS = _peers()


def padded_same(peer: nn.Module) -> nn.Module:
    """The same module with timm's TensorFlow padding in its convolutions."""
    for module in list(peer.modules()):
        for name, conv in list(module.named_children()):
            if isinstance(conv, nn.Conv2d) and conv.kernel_size[0] > 1:
                same = timm.layers.Conv2dSame(
                    conv.in_channels,
                    conv.out_channels,
                    conv.kernel_size,
                    conv.stride,
                    groups=conv.groups,
                    bias=conv.bias is not None,
                )
                setattr(module, name, same)
    return peer


def theirs(name: str, names: dict[str, str]) -> str:
    """Their name of one of our parameters or buffers."""
    module, _, leaf = name.rpartition(".")
    return f"{names[module]}.{leaf}"


def copy_weights(own: nn.Module, peer: nn.Module, names: dict[str, str]) -> None:
    """Puts all of our weights into the peer, which must have a place for each and no other."""
    peer.load_state_dict({theirs(name, names): t for name, t in own.state_dict().items()})
