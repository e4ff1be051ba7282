"""A neck as a module: it runs any table of fusion nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalesearch.arch.detector import Detector, norm_groups
from scalesearch.arch.neck import Node, outputs
from scalesearch.nn.layers import Activation

_EPS = 1e-4  # of fast fusion (EfficientDet, section 3.3)


class Resample(nn.Module):
    """A feature map at the width of the neck and the size of another level."""

    def __init__(self, net: Detector, inputs: int) -> None:
        super().__init__()
        width = net.neck.width
        self.conv: nn.Module = nn.Identity()
        self.norm: nn.Module = nn.Identity()
        if inputs != width:
            self.conv = nn.Conv2d(inputs, width, 1, bias=net.norm_bias)
            self.norm = norm(net)
        self.same = net.padding == "same"

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """[N, inputs, H, W] to [N, width, *size]: max-pooled or the nearest pixels repeated."""
        x = self.norm(self.conv(x))
        if tuple(x.shape[-2:]) == tuple(size):
            return x
        if x.shape[-2] <= size[0] and x.shape[-1] <= size[1]:
            return F.interpolate(x, tuple(size), mode="nearest")
        return shrink_to(x, size, same=self.same)


def shrink_to(x: Tensor, size: Sequence[int], *, same: bool) -> Tensor:
    """Max pooling to `size`, with windows one pixel larger than their stride.

    The windows reach over the border by `missing` pixels: on both sides alike, or with the odd one
    on the right and bottom (`same`).
    """
    strides = [-(-side // wanted) for side, wanted in zip(x.shape[-2:], size, strict=True)]
    kernels = [stride + 1 if stride > 1 else 1 for stride in strides]
    missing = [
        (wanted - 1) * stride + kernel - side
        for side, wanted, stride, kernel in zip(x.shape[-2:], size, strides, kernels, strict=True)
    ]
    if not same:
        return F.max_pool2d(x, kernels, strides, [(pixels + 1) // 2 for pixels in missing])
    rows, columns = missing
    around = [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
    return F.max_pool2d(F.pad(x, around, value=-torch.inf), kernels, strides)


class Fusion(nn.Module):
    """Feature maps of one size to their weighted sum."""

    def __init__(self, kind: str, count: int) -> None:
        super().__init__()
        self.kind = kind
        self.weights = nn.Parameter(torch.ones(count)) if kind != "sum" else None

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Tensors [N, C, H, W] to one."""
        if self.weights is None:
            # The output is activated in place, so it must never share memory with an input.
            total = maps[0] + maps[1] if len(maps) > 1 else maps[0].clone()
            for other in maps[2:]:
                total += other
            return total
        shares = self.shares(self.weights).to(maps[0].dtype)
        total = maps[0] * shares[0]
        for other, share in zip(maps[1:], shares[1:], strict=True):
            total.addcmul_(other, share)
        return total

    def shares(self, weights: Tensor) -> Tensor:
        """The weight of each input, [count]."""
        if self.kind == "softmax":
            return weights.softmax(0)
        if self.kind == "unbounded":
            return weights
        positive = weights.relu()
        return positive / (positive.sum() + _EPS)


class SeparableConv(nn.Module):
    """Depthwise 3x3, then 1x1 convolution, as neck and heads have them."""

    def __init__(self, net: Detector, outputs: int, *, bias: bool) -> None:
        super().__init__()
        width = net.neck.width
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[N, width, H, W] to [N, outputs, H, W]."""
        return self.pointwise(self.depthwise(x))


def norm(net: Detector) -> nn.Module:
    """A norm of neck or heads."""
    width = net.neck.width
    if net.norm == "group":
        return nn.GroupNorm(norm_groups(width), width, net.norm_eps)
    return nn.BatchNorm2d(width, net.norm_eps, net.norm_momentum)


class FusionNode(nn.Module):
    """One node of a layer: inputs resampled, fused, activated, convolved, normed."""

    def __init__(self, net: Detector, widths: Mapping[int, int]) -> None:
        """`widths`: channels of each input by its number."""
        super().__init__()
        self.resample = nn.ModuleDict({str(i): Resample(net, widths[i]) for i in widths})
        self.fusion = Fusion(net.neck.fusion, len(widths))
        self.active = Activation(net.activation)
        self.conv = SeparableConv(net, net.neck.width, bias=net.norm_bias)
        self.norm = norm(net)

    def forward(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Tensors [N, C_i, H_i, W_i] to [N, width, *size]."""
        resamples = self.resample.values()
        same = [resample(x, size) for resample, x in zip(resamples, maps, strict=True)]
        return self.norm(self.conv(self.active(self.fusion(same))))


class NeckLayer(nn.Module):
    """One layer of a neck: its nodes in order."""

    def __init__(self, net: Detector, nodes: tuple[Node, ...], widths: Sequence[int]) -> None:
        super().__init__()
        levels = net.neck.levels
        self.nodes, self.first = nodes, levels.start
        self.outputs = outputs(nodes, levels)
        known = [*widths, *[net.neck.width] * len(nodes)]
        self.joints = nn.ModuleList(
            FusionNode(net, {i: known[i] for i in node.inputs}) for node in nodes
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One tensor [N, C, H, W] for each level to one [N, width, H, W] for each."""
        sizes = [x.shape[-2:] for x in maps]
        known = list(maps)
        for node, joint in zip(self.nodes, self.joints, strict=True):
            size = sizes[node.level - self.first]
            known.append(joint([known[i] for i in node.inputs], size))
        return [known[i] for i in self.outputs]


class Pyramid(nn.Module):
    """The neck: levels that the backbone lacks are made, then its layers follow."""

    def __init__(self, net: Detector, nodes: tuple[Node, ...]) -> None:
        super().__init__()
        widths = [net.backbone.stages[index].width for index in net.sources]
        self.extra = nn.ModuleDict()
        for number in range(len(widths), len(net.neck.levels)):
            self.extra[str(number)] = Resample(net, widths[-1])
            widths.append(net.neck.width)
        self.layers = nn.ModuleList()
        for _ in range(net.neck.depth):
            self.layers.append(NeckLayer(net, nodes, widths))
            widths = [net.neck.width] * len(widths)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The backbone's maps [N, C, H, W], finest first, to [N, width, H, W] for each level."""
        for resample in self.extra.values():
            height, width = maps[-1].shape[-2:]
            maps = [*maps, resample(maps[-1], (-(-height // 2), -(-width // 2)))]
        for layer in self.layers:
            maps = layer(maps)
        return maps
