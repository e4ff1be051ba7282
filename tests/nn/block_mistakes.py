"""Mistakes planted in the forward pass of every block kind, for tests that must see them.

Most are made of the block itself: every norm and activation of every kind is left out, added,
exchanged, and every padding is put on one side. Each mistake changes a built block and leaves its
parameters as they are, so that nothing but what is computed tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.nn.blocks import BLOCKS, BlockContext
from scalesearch.nn.layers import Activation, ConvNormAct, NormAct, SqueezeExcite

Mistake = Callable[[nn.Module], None]
RESIDUAL = tuple(kind for kind in BLOCKS if kind not in ("separable", "identity"))


def _nothing(x: Tensor) -> Tensor:
    return x


def _norm_left_out(layer: nn.Module) -> None:
    layer.norm.forward = _nothing


def _active_left_out(layer: nn.Module) -> None:
    layer.active.forward = _nothing


def _active_too_many(layer: nn.Module) -> None:
    layer.active.forward = torch.relu


def _active_before_norm(layer: nn.Module) -> None:
    inner = (
        nn.Sequential(layer.pad, layer.conv) if isinstance(layer, ConvNormAct) else nn.Identity()
    )
    layer.forward = lambda x: layer.norm(layer.active(inner(x)))


def _padding_on_one_side(layer: nn.Module) -> None:
    kernel = layer.conv.kernel_size[0]
    layer.conv.padding = (0, 0)
    layer.pad.forward = lambda x: F.pad(x, (kernel - 1, 0, kernel - 1, 0))


def _within(name: str, mistake: Mistake) -> Mistake:
    """A mistake in one layer of a block, where the block has it."""

    def within(block: nn.Module) -> None:
        layer = block.get_submodule(name)
        if not isinstance(layer, nn.Identity):
            mistake(layer)

    return within


def in_every_layer(kind: str) -> Iterator[tuple[str, Mistake]]:
    """Mistakes in each layer of a kind's block, by what they are called."""
    wanted = {"expand": 3, "reduce": 2}
    read = {key: value for key, value in wanted.items() if key in BLOCK_FIELDS[kind]}
    stage = Stage(block=kind, width=16, stride=2, **read)
    block = BLOCKS[kind](stage, BlockContext(net=Backbone(stages=(stage,)), width=8, stride=2))
    for name, layer in block.named_modules():
        if not isinstance(layer, ConvNormAct | NormAct):
            continue
        has_norm = isinstance(layer.norm, nn.BatchNorm2d)
        has_active = isinstance(layer.active, Activation)
        if has_norm:
            yield f"norm of {name} left out", _within(name, _norm_left_out)
        if has_active:
            yield f"activation of {name} left out", _within(name, _active_left_out)
        else:
            yield f"activation of {name} too many", _within(name, _active_too_many)
        if has_norm and has_active:
            yield f"activation of {name} before its norm", _within(name, _active_before_norm)
        if isinstance(layer, ConvNormAct) and layer.conv.kernel_size[0] > 1:
            yield f"padding of {name} on one side", _within(name, _padding_on_one_side)


def _by_way_of(forward: Callable[[nn.Module, Tensor], Tensor]) -> Mistake:
    """Another way through a block."""

    def mistake(block: nn.Module) -> None:
        block.forward = lambda x: forward(block, x)

    return mistake


def _stride_moved(has: str, gets: str) -> Mistake:
    def mistake(block: nn.Module) -> None:
        right, wrong = getattr(block, has).conv, getattr(block, gets).conv
        right.stride, wrong.stride = wrong.stride, right.stride

    return mistake


def _summing(add: Callable[[Tensor, Tensor], Tensor]) -> Mistake:
    def mistake(block: nn.Module) -> None:
        block.drop_path.forward = add

    return mistake


def _squeezing(gate: Callable[[SqueezeExcite, Tensor], Tensor]) -> Mistake:
    def mistake(block: nn.Module) -> None:
        squeeze = block.squeeze
        if isinstance(squeeze, SqueezeExcite):
            squeeze.forward = lambda x: gate(squeeze, x)

    return mistake


def _logits(squeeze: SqueezeExcite, x: Tensor) -> Tensor:
    return squeeze.expand(squeeze.active(squeeze.reduce(x.mean((2, 3), keepdim=True))))


def _linear_logits(squeeze: SqueezeExcite, x: Tensor) -> Tensor:
    return squeeze.expand(squeeze.reduce(x.mean((2, 3), keepdim=True)))


def _squeezed_before_depthwise(block: nn.Module, x: Tensor) -> Tensor:
    y = block.project(block.depthwise(block.squeeze(block.expand(x))))
    return block.drop_path(x, y) if block.residual else y


def _separable_with_skip(block: nn.Module, x: Tensor) -> Tensor:
    y = block.project(block.depthwise(x))
    return x + y if x.shape == y.shape else y


def _active_before_sum(block: nn.Module, x: Tensor) -> Tensor:
    whole, active = block.active, nn.Identity()
    block.active = active
    branches: list[Tensor] = []
    handle = block.drop_path.register_forward_pre_hook(lambda _, given: branches.extend(given))
    type(block).forward(block, x)
    handle.remove()
    block.active = whole
    return branches[0] + torch.relu(branches[1])


def _wide_from_its_input(block: nn.Module, x: Tensor) -> Tensor:
    return block.drop_path(block.shortcut(x), block.second(block.first(block.entry(x))))


def _wide_from_what_is_active(block: nn.Module, x: Tensor) -> Tensor:
    active = block.entry(x)
    return block.drop_path(block.shortcut(active), block.second(block.first(active)))


def _identity_of(before: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor]) -> Mistake:
    return _by_way_of(lambda block, x: after(type(block).forward(block, before(x))))


def _flipped(x: Tensor) -> Tensor:
    return x.flip(2, 3)


_SUMS = {
    "skip left out": _summing(lambda x, branch: branch),
    "branch left out": _summing(lambda x, branch: x * 1),
    "sum in place of the block's input": _summing(
        lambda x, branch: x + branch if torch.is_grad_enabled() else x.add_(branch)
    ),
}
_SQUEEZES = {
    "gate left out": _squeezing(lambda squeeze, x: x),
    "sigmoid of the gate left out": _squeezing(lambda squeeze, x: x * _logits(squeeze, x)),
    "gate added": _squeezing(lambda squeeze, x: x + torch.sigmoid(_logits(squeeze, x))),
    "activation of the gate left out": _squeezing(
        lambda squeeze, x: x * torch.sigmoid(_linear_logits(squeeze, x))
    ),
}
_RESNETS = {
    "activation after the sum left out": _active_left_out,
    "activation before the sum": _by_way_of(_active_before_sum),
}
SPECIFIC: dict[str, dict[str, Mistake]] = {
    "mbconv": {
        **_SUMS,
        **_SQUEEZES,
        "squeeze before the depthwise convolution": _by_way_of(_squeezed_before_depthwise),
        "stride on the projection": _stride_moved("depthwise", "project"),
    },
    "fused_mbconv": {**_SUMS, **_SQUEEZES},
    "separable": {
        "skip too many": _by_way_of(_separable_with_skip),
    },
    "basic": {
        **_SUMS,
        **_RESNETS,
        "stride on the second convolution": _stride_moved("first", "second"),
    },
    "bottleneck": {
        **_SUMS,
        **_RESNETS,
        "stride on the first convolution": _stride_moved("spatial", "reduce"),
    },
    "wide": {
        **_SUMS,
        "projection of what is not active": _by_way_of(_wide_from_its_input),
        "shortcut of what is active": _by_way_of(_wide_from_what_is_active),
        "activation after the sum": _by_way_of(
            lambda block, x: torch.relu(type(block).forward(block, x))
        ),
        "stride on the second convolution": _stride_moved("first", "second"),
    },
    "identity": {
        "pixels taken from the end": _identity_of(_flipped, _flipped),
        "channels added in front": _identity_of(_nothing, lambda x: x.roll(1, 1)),
        "pixels averaged": _identity_of(lambda x: F.avg_pool2d(x, 3, 1, 1), _nothing),
        "an activation": _identity_of(_nothing, torch.relu),
    },
}
# Seen in training alone: a stride on a 1x1 convolution leaves out pixels that the norms before it
# average.
IN_TRAINING: dict[str, dict[str, Mistake]] = {
    "separable": {"stride on the projection": _stride_moved("depthwise", "project")},
    "bottleneck": {"stride on the last convolution": _stride_moved("spatial", "expand")},
}
# Seen where branches are dropped.
IN_DROPPING: dict[str, Mistake] = {
    "nothing dropped": _summing(lambda x, branch: x + branch),
    "kept branches not scaled": _summing(
        lambda x, branch: x + branch * torch.empty_like(x[:, :1, :1, :1]).bernoulli_(0.6)
    ),
    "shortcuts dropped": _summing(
        lambda x, branch: x * torch.empty_like(x[:, :1, :1, :1]).bernoulli_(0.6) / 0.6 + branch
    ),
    "pixels dropped rather than images": _summing(
        lambda x, branch: x + branch * torch.empty_like(x).bernoulli_(0.6) / 0.6
    ),
}
