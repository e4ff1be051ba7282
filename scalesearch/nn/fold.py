"""A network for inference, whose batch norms have become part of its convolutions."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from scalesearch.nn.layers import ConvNormAct

Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def fold(model: Network) -> Network:
    """A copy in evaluation mode and channels_last, equal up to rounding and faster.

    Every `conv` takes in the batch norm behind it, its layer's `norm`: per channel, `norm(conv(x))`
    is one convolution with other weights and a bias. A batch norm before its
    convolution stays, and so do the norms of a detector's heads: their convolutions are shared by
    all levels, each of which has norms of its own. Do not train the copy: its norms no longer
    follow the data.

    Raises:
        ValueError: it is not a network of ours, so nothing would be folded.
    """
    layers = model.modules() if isinstance(model, nn.Module) else ()
    if not any(isinstance(layer, ConvNormAct) for layer in layers):
        raise ValueError(f"{type(model).__name__} has no batch norms that can be folded")
    folded = copy.deepcopy(model).eval()
    for layer in list(folded.modules()):
        norm, separable = getattr(layer, "norm", None), getattr(layer, "conv", None)
        # A separable convolution takes the norm into its last part.
        owner, name = (
            (separable, "pointwise") if hasattr(separable, "pointwise") else (layer, "conv")
        )
        conv = getattr(owner, name, None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(owner, name, fuse_conv_bn_eval(conv, norm))
            layer.norm = nn.Identity()
    return folded.to(memory_format=torch.channels_last)
