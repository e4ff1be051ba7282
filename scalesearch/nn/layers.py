"""Layers that blocks, stem and head are made of."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalesearch.arch.backbone import Backbone

ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "silu": F.silu,
    "relu": F.relu,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
}
# Its backward reads its output, so that it can always work in place. That of relu6 could as well,
# but PyTorch's reads the input, and copies it before it works in place.
_FROM_OUTPUT = "relu"


class Activation(nn.Module):
    """The network's activation; in place where no gradient needs the input, which saves memory."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        # What a full backward hook lets through is a view, which must not be overwritten.
        in_place = self.name == _FROM_OUTPUT and x._base is None
        return ACTIVATIONS[self.name](x, inplace=in_place or not torch.is_grad_enabled())

    def extra_repr(self) -> str:
        """The activation's name."""
        return self.name


class SamePad(nn.Module):
    """`value` around an image as TensorFlow's SAME padding puts it: the odd one last."""

    def __init__(self, kernel: int, stride: int, value: float = 0.0) -> None:
        super().__init__()
        self.kernel, self.stride, self.value = kernel, stride, value

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C, H + rows, W + columns]."""
        return same_pad(x, self.kernel, self.stride, self.value)


# A call of its own in what torch.fx traces, as it depends on the size of the image.
@torch.fx.wrap
def same_pad(x: Tensor, kernel: int, stride: int, value: float) -> Tensor:
    """An image [N, C, H, W] padded for a kernel and a stride."""
    rows, columns = (max(kernel - stride + -side % stride, 0) for side in x.shape[-2:])
    around = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return F.pad(x, around, value=value)


class ConvNormAct(nn.Module):
    """Convolution without bias, batch norm if `norm`, and the activation if `act`."""

    def __init__(
        self,
        net: Backbone,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        act: bool = True,
    ) -> None:
        super().__init__()
        # Where nothing is strided the two paddings are the same, and the convolution pads faster.
        same = net.padding == "same" and stride > 1
        self.pad = SamePad(kernel, stride) if same else nn.Identity()
        padding = 0 if same else kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = batch_norm(net, outputs) if norm else nn.Identity()
        self.active = Activation(net.activation) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, ceil(H / stride), ceil(W / stride)]."""
        return self.active(self.norm(self.conv(self.pad(x))))


class NormAct(nn.Module):
    """Batch norm and activation on their own, as pre-activation networks have them."""

    def __init__(self, net: Backbone, width: int) -> None:
        super().__init__()
        self.norm = batch_norm(net, width)
        self.active = Activation(net.activation)

    def forward(self, x: Tensor) -> Tensor:
        """[N, width, H, W] to the same shape."""
        return self.active(self.norm(x))


def batch_norm(net: Backbone, width: int) -> nn.BatchNorm2d:
    """A batch norm with the network's constants."""
    return nn.BatchNorm2d(width, net.norm_eps, net.norm_momentum)


class MaxPool(nn.Module):
    """3x3 max pooling; nothing outside of the image is ever the largest."""

    def __init__(self, net: Backbone, stride: int) -> None:
        super().__init__()
        same = net.padding == "same"
        self.pad = SamePad(3, stride, -math.inf) if same else nn.Identity()
        self.stride, self.padding = stride, 0 if same else 1

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C, ceil(H / stride), ceil(W / stride)]."""
        return F.max_pool2d(self.pad(x), 3, self.stride, self.padding)


class SqueezeExcite(nn.Module):
    """Each channel times a weight from 0 to 1 computed from all channels (Hu et al. 2018)."""

    def __init__(self, net: Backbone, width: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, squeezed, 1)
        self.active = Activation(net.activation)
        self.expand = nn.Conv2d(squeezed, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        weights = self.expand(self.active(self.reduce(channel_means(x, self.training))))
        return x * torch.sigmoid(weights)


# A call of its own in what torch.fx traces, as it depends on the type of the numbers.
@torch.fx.wrap
def channel_means(x: Tensor, training: bool) -> Tensor:
    """The mean of each channel: [N, C, H, W] to [N, C, 1, 1]."""
    if not training:  # a true mean in whatever is traced, for runtimes that sum in float16
        return x.mean((2, 3), keepdim=True)
    # A sum, then a small division: the backward of `mean` would divide a whole image. float16
    # ends at 65504, which the sum over an image of a few hundred pixels' side can exceed.
    wide = torch.float32 if x.dtype == torch.float16 else None
    means = x.sum((2, 3), keepdim=True, dtype=wide) / (x.shape[2] * x.shape[3])
    return means.to(x.dtype)


class DropPath(nn.Module):
    """Stochastic depth: while training, drops a whole residual branch with probability `rate`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """The sum of both, [N, C, H, W]; kept branches are divided by their chance to be kept.

        Without gradients the sum overwrites the branch, which nothing else needs.
        """
        if not self.training or self.rate == 0:
            return x + branch if torch.is_grad_enabled() else branch.add_(x)
        keep = 1 - self.rate
        mask = x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(keep)
        return torch.addcmul(x, branch, mask.div_(keep))
