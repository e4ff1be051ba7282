"""Blocks of a backbone: the modules of the operations in `arch/walk.py`, in the same words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import squeeze_width

ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "silu": F.silu,
    "relu": F.relu,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
}


class Activation(nn.Module):
    """The backbone's activation; in place where no gradient needs the input, which saves memory."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        return ACTIVATIONS[self.name](x, inplace=not torch.is_grad_enabled())

    def extra_repr(self) -> str:
        """The activation's name."""
        return self.name


class SamePad(nn.Module):
    """Zeros around an image as TensorFlow's SAME padding puts them: the odd one last."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C, H + rows, W + columns]."""
        rows, columns = (self._missing(side) for side in x.shape[-2:])
        return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))

    def _missing(self, side: int) -> int:
        return max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0)


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, and the activation if `active`."""

    def __init__(
        self,
        net: Backbone,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        active: bool = True,
    ) -> None:
        super().__init__()
        # Where nothing is strided the two paddings are the same, and the convolution pads faster.
        same = net.padding == "same" and stride > 1
        self.pad = SamePad(kernel, stride) if same else nn.Identity()
        padding = 0 if same else kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, net.norm_eps, net.norm_momentum)
        self.active = Activation(net.activation) if active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, ceil(H / stride), ceil(W / stride)]."""
        return self.active(self.norm(self.conv(self.pad(x))))


class SqueezeExcite(nn.Module):
    """Each channel times a weight from 0 to 1 computed from all channels (Hu et al. 2018)."""

    def __init__(self, net: Backbone, width: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, squeezed, 1)
        self.active = Activation(net.activation)
        self.expand = nn.Conv2d(squeezed, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        # A sum, then a small division: the backward of `mean` would divide a whole image.
        means = x.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3])
        weights = self.expand(self.active(self.reduce(means)))
        return x * torch.sigmoid(weights)


class DropPath(nn.Module):
    """Stochastic depth: while training, drops a whole residual branch with probability `rate`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """The sum of both, [N, C, H, W]; kept branches are divided by their chance to be kept."""
        if not self.training or self.rate == 0:
            return x + branch
        keep = 1 - self.rate
        kept = torch.empty(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(keep)
        return torch.addcmul(x, branch, kept.div_(keep))


@dataclass(frozen=True)
class Place:
    """Where a block stands: its input channels, its stride, and its stochastic depth."""

    width: int
    stride: int
    drop_path: float


class MBConv(nn.Module):
    """Inverted residual: expand, depthwise, squeeze-excite, project (MnasNet, Tan et al. 2019)."""

    def __init__(self, net: Backbone, stage: Stage, place: Place) -> None:
        super().__init__()
        inner = place.width * stage.expand
        self.expand = ConvNorm(net, place.width, inner) if stage.expand > 1 else nn.Identity()
        self.depthwise = ConvNorm(
            net, inner, inner, kernel=stage.kernel, stride=place.stride, groups=inner
        )
        squeezed = squeeze_width(place.width, stage.se)
        self.squeeze = SqueezeExcite(net, inner, squeezed) if stage.se else nn.Identity()
        self.project = ConvNorm(net, inner, stage.width, active=False)
        self.residual = place.stride == 1 and place.width == stage.width
        self.drop_path = DropPath(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        # Nested, not named: a name would keep an inner tensor alive and raise the memory peak.
        y = self.project(self.squeeze(self.depthwise(self.expand(x))))
        return self.drop_path(x, y) if self.residual else y


class Shortcut(nn.Module):
    """The parameter-free shortcut: every stride-th pixel, channels padded with zeros or cut."""

    def __init__(self, net: Backbone, stage: Stage, place: Place) -> None:
        super().__init__()
        self.stride, self.width = place.stride, stage.width

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, stage width, ceil(H / stride), ceil(W / stride)]."""
        missing = self.width - x.shape[1]
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
            # A copy, so that backward need not keep the pixels that are left out.
            x = x if missing else x.clone()
        return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x


BLOCKS: dict[str, type[nn.Module]] = {"mbconv": MBConv, "identity": Shortcut}
