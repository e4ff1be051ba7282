"""Blocks of a backbone: the modules of the operations in `arch/blocks.py`, in the same words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.blocks import reduced_width, squeeze_width
from scalesearch.arch.stage import Stage
from scalesearch.nn.layers import Activation, ConvNorm, DropPath, NormActive, SqueezeExcite


@dataclass(frozen=True)
class BlockContext:
    """What a block depends on beside its stage: input channels, stride, stochastic depth."""

    width: int
    stride: int
    drop_path: float


class MBConv(nn.Module):
    """Inverted residual: expand, depthwise, squeeze-excite, project (MnasNet, Tan et al. 2019)."""

    def __init__(self, net: Backbone, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        inner = context.width * stage.expand
        self.expand = ConvNorm(net, context.width, inner) if stage.expand > 1 else nn.Identity()
        self.depthwise = ConvNorm(
            net, inner, inner, kernel=stage.kernel, stride=context.stride, groups=inner
        )
        squeezed = squeeze_width(context.width, stage.se)
        self.squeeze = SqueezeExcite(net, inner, squeezed) if stage.se else nn.Identity()
        self.project = ConvNorm(net, inner, stage.width, active=False)
        self.residual = context.stride == 1 and context.width == stage.width
        self.drop_path = DropPath(context.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        # Nested, not named: a name would keep an inner tensor alive and raise the memory peak.
        y = self.project(self.squeeze(self.depthwise(self.expand(x))))
        return self.drop_path(x, y) if self.residual else y


class FusedMBConv(nn.Module):
    """Inverted residual whose expansion is a full convolution (EfficientNetV2, Tan & Le 2021)."""

    def __init__(self, net: Backbone, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        inner, expands = context.width * stage.expand, stage.expand > 1
        # The stride is on the spatial convolution: the first, which without expansion projects.
        spatial = partial(ConvNorm, net, kernel=stage.kernel, stride=context.stride)
        self.expand = spatial(context.width, inner) if expands else nn.Identity()
        squeezed = squeeze_width(context.width, stage.se)
        self.squeeze = SqueezeExcite(net, inner, squeezed) if stage.se else nn.Identity()
        self.project = (
            ConvNorm(net, inner, stage.width, active=False)
            if expands
            else spatial(inner, stage.width)
        )
        self.residual = context.stride == 1 and context.width == stage.width
        self.drop_path = DropPath(context.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        y = self.project(self.squeeze(self.expand(x)))
        return self.drop_path(x, y) if self.residual else y


class Separable(nn.Module):
    """Depthwise-separable convolution (MobileNetV1, Howard et al. 2017)."""

    def __init__(self, net: Backbone, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        width = context.width
        self.depthwise = ConvNorm(
            net, width, width, kernel=stage.kernel, stride=context.stride, groups=width
        )
        self.project = ConvNorm(net, width, stage.width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        return self.project(self.depthwise(x))


class Basic(nn.Module):
    """Residual block of two convolutions (He et al. 2016, Figure 5 left)."""

    def __init__(self, net: Backbone, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        k, width = stage.kernel, stage.width
        self.first = ConvNorm(net, context.width, width, kernel=k, stride=context.stride)
        self.second = ConvNorm(net, width, width, kernel=k, active=False)
        self.shortcut = projection(net, stage, context, norm=True)
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

    def __init__(self, net: Backbone, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        inner = reduced_width(stage.width, stage.reduce)
        self.reduce = ConvNorm(net, context.width, inner)
        self.spatial = ConvNorm(net, inner, inner, kernel=stage.kernel, stride=context.stride)
        self.expand = ConvNorm(net, inner, stage.width, active=False)
        self.shortcut = projection(net, stage, context, norm=True)
        self.drop_path = DropPath(context.drop_path)
        self.active = Activation(net.activation)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        y = self.expand(self.spatial(self.reduce(x)))
        return self.active(self.drop_path(self.shortcut(x), y))


class Wide(nn.Module):
    """Pre-activation residual block (Zagoruyko & Komodakis 2016, B(3,3)).

    Where the shortcut is a projection it takes the activated input, else the input itself.
    """

    def __init__(self, net: Backbone, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        k, width = stage.kernel, stage.width
        self.entry = NormActive(net, context.width)
        self.first = ConvNorm(net, context.width, width, kernel=k, stride=context.stride)
        self.second = ConvNorm(net, width, width, kernel=k, norm=False, active=False)
        self.shortcut = projection(net, stage, context, norm=False)
        self.projects = isinstance(self.shortcut, ConvNorm)
        self.drop_path = DropPath(context.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        if self.projects:
            x = self.entry(x)
            y = self.second(self.first(x))
        else:
            y = self.second(self.first(self.entry(x)))
        return self.drop_path(self.shortcut(x), y)


def projection(
    net: Backbone, stage: Stage, context: BlockContext, *, norm: bool
) -> ConvNorm | nn.Identity:
    """The shortcut: a 1x1 convolution where its two ends differ (He et al. 2016, option B)."""
    if context.stride == 1 and context.width == stage.width:
        return nn.Identity()
    return ConvNorm(net, context.width, stage.width, stride=context.stride, norm=norm, active=False)


class Shortcut(nn.Module):
    """The parameter-free shortcut: every stride-th pixel, channels padded with zeros or cut."""

    def __init__(self, net: Backbone, stage: Stage, context: BlockContext) -> None:
        super().__init__()
        self.stride, self.width = context.stride, stage.width

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        missing = self.width - x.shape[1]
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
            # A copy, so that backward need not keep the pixels that are left out.
            x = x if missing else x.clone()
        return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x


BLOCKS: dict[str, type[nn.Module]] = {
    "mbconv": MBConv,
    "fused_mbconv": FusedMBConv,
    "separable": Separable,
    "basic": Basic,
    "bottleneck": Bottleneck,
    "wide": Wide,
    "identity": Shortcut,
}
