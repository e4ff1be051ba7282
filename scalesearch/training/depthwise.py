"""A faster weight gradient of 5x5 depthwise convolutions on CPUs.

oneDNN has a fast kernel for the weight gradient of 3x3 depthwise convolutions and a general one,
10 to 50 times slower, for 5x5. The 25 gradients are those of four 3x3 windows around the offsets
(-1, -1), (-1, 1), (1, -1) and (1, 1), which overlap in the middle. With all images of a batch in
one tall image, zeros between them, moving a window only moves where that image starts in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_backward: Any = torch.ops.aten.convolution_backward


@contextmanager
def quick_depthwise(model: nn.Module) -> Iterator[None]:
    """Lets a model's 5x5 depthwise convolutions learn faster on a CPU, until it is left.

    Outputs are the same; gradients are the same sums in another order. On a GPU the model is left
    as it is.
    """
    convs = [module for module in model.modules() if _fits(module)]
    for conv in convs:
        stride: Any = conv.stride
        conv._conv_forward = partial(_forward, stride[0])  # type: ignore[assignment]
    try:
        yield
    finally:
        for conv in convs:
            del conv._conv_forward


def weight_gradient(gradient: Tensor, x: Tensor, stride: int) -> Tensor:
    """Gradient [C, 1, 5, 5] of a depthwise kernel with padding 2.

    Args:
        gradient: of the output, [N, C, ceil(H / stride), ceil(W / stride)].
        x: the input, [N, C, H, W].
        stride: in both directions; pixels that it leaves out have a gradient of 0.
    """
    channels, tall = x.shape[1], _Tall(x)
    kernel, weight = x.new_empty(channels, 1, 5, 5), x.new_empty(channels, 1, 3, 3)
    only = (False, True, False)
    of_output = tall.put(gradient, 0, stride)
    images = tall.put(x, tall.lead)
    for row in (-1, 1):
        for column in (-1, 1):
            window = tall.view(images, tall.lead + row * tall.width + column)
            found = _gradients(tall.view(of_output, 0), window, weight, (1, 1), only)[1]
            kernel[:, :, row + 1 : row + 4, column + 1 : column + 4] = found
    return kernel


class _Tall:
    """All images of a batch below each other, channels last, a zero on each side of each."""

    def __init__(self, x: Tensor) -> None:
        self.images, self.channels, height, width = x.shape
        self.height, self.width = height + 2, width + 2
        self.pixels = self.images * self.height * self.width
        self.lead = self.width + 1  # so far does a window reach out at either end

    def put(self, x: Tensor, lead: int, stride: int = 1) -> Tensor:
        """Pixels [2 * lead + pixels, C], with the images in their middle."""
        padded = x.new_zeros(2 * lead + self.pixels, self.channels)
        rows = padded[lead : lead + self.pixels]
        shaped = rows.view(self.images, self.height, self.width, self.channels)
        shaped[:, 1:-1:stride, 1:-1:stride] = x.permute(0, 2, 3, 1)
        return padded

    def view(self, pixels: Tensor, start: int) -> Tensor:
        """[1, C, N * height, width] from a pixel on, without a copy."""
        rows = pixels[start : start + self.pixels]
        shaped = rows.view(1, self.images * self.height, self.width, self.channels)
        return shaped.permute(0, 3, 1, 2)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return functional.conv2d(x, weight, None, stride, 2, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None]:
        (gradient,), (x, weight), stride = gradients, ctx.saved_tensors, ctx.stride
        into = None
        if ctx.needs_input_grad[0]:
            into = _gradients(gradient, x, weight, (stride, 2), (True, False, False))[0]
        return into, weight_gradient(gradient, x, stride), None


def _forward(stride: int, x: Tensor, weight: Tensor, bias: None) -> Tensor:
    learns = torch.is_grad_enabled() and weight.requires_grad
    if learns and x.device.type == "cpu" and x.dtype == torch.float32:
        return _Depthwise.apply(x, weight, stride)
    return functional.conv2d(x, weight, bias, stride, 2, groups=x.shape[1])


def _gradients(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    steps: tuple[int, int],
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Of input, weight and bias, by torch's own backward of a convolution of (stride, padding)."""
    stride, padding = ([step, step] for step in steps)
    channels, one = x.shape[1], [1, 1]
    gradients: tuple[Tensor, Tensor, Tensor] = _backward(
        gradient, x, weight, None, stride, padding, one, False, [0, 0], channels, list(wanted)
    )
    return gradients


def _fits(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d
        and module.weight.device.type == "cpu"
        and module.groups == module.in_channels == module.out_channels
        and module.kernel_size == (5, 5)
        and module.stride in ((1, 1), (2, 2))
        and module.dilation == (1, 1)
        and module.padding == (2, 2)
        and module.padding_mode == "zeros"
        and module.bias is None
    )
