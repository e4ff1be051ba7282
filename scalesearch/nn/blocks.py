"""Blocks of a backbone: the modules of the graphs in `arch/blocks.py`, in the same words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.blocks import reduced_width, squeeze_width
from scalesearch.arch.stage import Stage
from scalesearch.nn.layers import Activation, ConvNormAct, DropPath, NormAct, SqueezeExcite


@dataclass(frozen=True, kw_only=True)
class BlockContext:
    """What a block depends on beside its stage; `drop_path` is the rate of its stochastic depth."""

    net: Backbone
    width: int
    stride: int
    drop_path: float = 0.0

    def keeps(self, stage: Stage) -> bool:
        """Whether the block's output has the size and channels of its input."""
        return self.stride == 1 and self.width == stage.width


class MBConv(nn.Module):
    """Inverted residual: expand, depthwise, squeeze-excite, project (MnasNet, Tan et al. 2019)."""

    def __init__(self, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        net, width, inner = context.net, context.width, context.width * stage.expand
        self.expand = ConvNormAct(net, width, inner) if stage.expand > 1 else nn.Identity()
        self.depthwise = ConvNormAct(
            net, inner, inner, kernel=stage.kernel, stride=context.stride, groups=inner
        )
        self.squeeze = _squeeze_excite(stage, context, inner)
        self.project = ConvNormAct(net, inner, stage.width, act=False)
        self.residual = context.keeps(stage)
        self.drop_path = DropPath(context.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        # Nested, not named: a name would keep an inner tensor alive and raise the memory peak.
        y = self.project(self.squeeze(self.depthwise(self.expand(x))))
        return self.drop_path(x, y) if self.residual else y


class FusedMBConv(nn.Module):
    """Inverted residual whose expansion is a full convolution (EfficientNetV2, Tan & Le 2021)."""

    def __init__(self, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        net, width, inner = context.net, context.width, context.width * stage.expand
        expands = stage.expand > 1
        # The stride is on the spatial convolution: the first, which without expansion projects.
        spatial = partial(ConvNormAct, net, kernel=stage.kernel, stride=context.stride)
        self.expand = spatial(width, inner) if expands else nn.Identity()
        self.squeeze = _squeeze_excite(stage, context, inner)
        self.project = (
            ConvNormAct(net, inner, stage.width, act=False)
            if expands
            else spatial(inner, stage.width)
        )
        self.residual = context.keeps(stage)
        self.drop_path = DropPath(context.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        y = self.project(self.squeeze(self.expand(x)))
        return self.drop_path(x, y) if self.residual else y


class Separable(nn.Module):
    """Depthwise-separable convolution (MobileNetV1, Howard et al. 2017)."""

    def __init__(self, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        net, width, stride = context.net, context.width, context.stride
        self.depthwise = ConvNormAct(
            net, width, width, kernel=stage.kernel, stride=stride, groups=width
        )
        self.project = ConvNormAct(net, width, stage.width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        return self.project(self.depthwise(x))


class Basic(nn.Module):
    """Residual block of two convolutions (He et al. 2016, Figure 5 left)."""

    def __init__(self, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        net, width, kernel = context.net, stage.width, stage.kernel
        self.first = ConvNormAct(net, context.width, width, kernel=kernel, stride=context.stride)
        self.second = ConvNormAct(net, width, width, kernel=kernel, act=False)
        self.shortcut = _projection(stage, context, norm=True)
        self.drop_path = DropPath(context.drop_path)
        self.active = Activation(net.activation)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        y = self.second(self.first(x))  # the branch before the shortcut: a lower memory peak
        return self.active(self.drop_path(self.shortcut(x), y))


class Bottleneck(nn.Module):
    """Residual block that reduces, convolves, expands (He et al. 2016, Figure 5 right).

    The stride is on the inner convolution, as in torchvision and timm.
    """

    def __init__(self, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        net, inner = context.net, reduced_width(stage.width, stage.reduce)
        self.reduce = ConvNormAct(net, context.width, inner)
        self.spatial = ConvNormAct(net, inner, inner, kernel=stage.kernel, stride=context.stride)
        self.expand = ConvNormAct(net, inner, stage.width, act=False)
        self.shortcut = _projection(stage, context, norm=True)
        self.drop_path = DropPath(context.drop_path)
        self.active = Activation(net.activation)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        y = self.expand(self.spatial(self.reduce(x)))
        return self.active(self.drop_path(self.shortcut(x), y))


class Wide(nn.Module):
    """Pre-activation residual block (Zagoruyko & Komodakis 2016, B(3,3)).

    A shortcut that is a projection takes the activated input, an identity the input itself.
    """

    def __init__(self, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        net, width, kernel = context.net, stage.width, stage.kernel
        self.entry = NormAct(net, context.width)
        self.first = ConvNormAct(net, context.width, width, kernel=kernel, stride=context.stride)
        self.second = ConvNormAct(net, width, width, kernel=kernel, norm=False, act=False)
        self.shortcut = _projection(stage, context, norm=False)
        self.projects = not context.keeps(stage)
        self.drop_path = DropPath(context.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        if self.projects:
            x = self.entry(x)
            y = self.second(self.first(x))
        else:
            y = self.second(self.first(self.entry(x)))
        return self.drop_path(self.shortcut(x), y)


class Shortcut(nn.Module):
    """The parameter-free shortcut: every stride-th pixel, channels padded with zeros or cut."""

    def __init__(self, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        self.stride, self.missing = context.stride, stage.width - context.width

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        missing = self.missing
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
            # A copy, so that backward need not keep the pixels that are left out.
            x = x if missing else x.clone()
        return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x


def _squeeze_excite(stage: Stage, context: BlockContext, inner: int) -> nn.Module:
    """Squeeze-excite of `inner` channels, if the stage has it."""
    if not stage.se:
        return nn.Identity()
    return SqueezeExcite(context.net, inner, squeeze_width(context.width, stage.se))


def _projection(stage: Stage, context: BlockContext, *, norm: bool) -> nn.Module:
    """The shortcut: a 1x1 convolution where its two ends differ (He et al. 2016, option B)."""
    if context.keeps(stage):
        return nn.Identity()
    net, width, stride = context.net, context.width, context.stride
    return ConvNormAct(net, width, stage.width, stride=stride, norm=norm, act=False)


BLOCKS: dict[str, Callable[[Stage, BlockContext], nn.Module]] = {
    "mbconv": MBConv,
    "fused_mbconv": FusedMBConv,
    "separable": Separable,
    "basic": Basic,
    "bottleneck": Bottleneck,
    "wide": Wide,
    "identity": Shortcut,
}
