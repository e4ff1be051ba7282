"""The loss of a detector: focal loss of the classes, Huber loss of the boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from scalesearch.arch import check
from scalesearch.nn.matching import Match

_NEVER = 1e4  # minus the logit of a class that is certainly absent
_BLOCK = 2**18  # logits at once on a CPU, so that intermediate results stay in its caches


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """The constants of the loss (EfficientDet, section 5.1, and its code).

    Attributes:
        alpha: weight of positives; that of negatives is 1 - alpha (Lin et al. 2017, eq. 5).
        gamma: focusing exponent: how much less confident, correct predictions count.
        label_smoothing: targets are 1 - half of it, or half of it.
        delta: of the Huber loss; from this error of a box delta on it grows linearly.
        box_weight: of the box loss in the total.
    """

    alpha: float = 0.25
    gamma: float = 1.5
    label_smoothing: float = 0.0
    delta: float = 0.1
    box_weight: float = 50.0

    def __post_init__(self) -> None:
        for key in ("alpha", "label_smoothing"):
            check.share(self, key)
        for key in ("gamma", "delta", "box_weight"):
            check.above_zero(key, getattr(self, key))


@dataclass(frozen=True)
class DetectionLoss:
    """The loss of a batch, divided by its normaliser.

    Attributes:
        total: class loss + weight * box loss, a scalar with its gradient.
        class_loss, box_loss: its parts, scalars.
        images: the part of each image in the total, [N], without gradient.
    """

    total: Tensor
    class_loss: Tensor
    box_loss: Tensor
    images: Tensor


def broken_images(images: Tensor) -> list[int]:
    """Which images of a batch, from 0, have a loss [N] that is not a finite number."""
    numbers: list[int] = (~images.isfinite()).nonzero().squeeze(1).tolist()
    return numbers


def detection_loss(
    logits: Tensor,
    deltas: Tensor,
    matches: Sequence[Match],
    criterion: Criterion = Criterion(),
    normaliser: float | None = None,
) -> DetectionLoss:
    """The loss of predictions for N images; computed in float32, or in float64 if they are.

    Args:
        logits: of the classes, [N, A, K].
        deltas: of the boxes, [N, A, 4].
        matches: the targets of each image's anchors.
        criterion: the constants of the losses.
        normaliser: what it is divided by; the number of positive anchors plus one by default, which
            for a part of a batch is that of the whole batch.
    """
    counts = [len(match.anchors) for match in matches]
    if normaliser is None:
        normaliser = sum(counts) + 1.0
    needs_grad = torch.is_grad_enabled() and logits.requires_grad
    classes: Tensor = _Focal.apply(logits, matches, criterion, needs_grad)
    classes = classes / normaliser
    boxes = _huber(deltas, matches, counts, criterion.delta) / (4 * normaliser)
    images = (classes + criterion.box_weight * boxes).detach()
    class_loss, box_loss = classes.sum(), boxes.sum()
    return DetectionLoss(class_loss + criterion.box_weight * box_loss, class_loss, box_loss, images)


def _huber(deltas: Tensor, matches: Sequence[Match], counts: list[int], delta: float) -> Tensor:
    """Sum of the loss (Huber 1964) over the deltas of each image's positives, [N]."""
    anchors = torch.cat([one.anchors for one in matches])
    image = torch.cat([torch.full_like(one.anchors, number) for number, one in enumerate(matches)])
    predicted, target = _wide(deltas[image, anchors]), torch.cat([one.deltas for one in matches])
    losses = F.huber_loss(predicted, target.to(predicted.dtype), reduction="none", delta=delta)
    return torch.stack([part.sum() for part in torch.split(losses, counts)])


class _Focal(torch.autograd.Function):
    """The focal loss [N] of each image's logits [N, A, K], with its gradient in the same pass.

    Almost every target is 0, so targets are never stored: blocks of logits are computed with target
    0, then the few logits of positives' labels with target 1.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, matches: Sequence[Match], criterion: Criterion, needs_grad: bool
    ) -> Tensor:
        """The losses, and the gradient for `backward` if `needs_grad`."""
        minus = _wide(-logits).contiguous()
        parts = zip(minus, matches, strict=True)
        losses = [_focal_of_image(*part, criterion, needs_grad=needs_grad) for part in parts]
        if needs_grad:
            ctx.save_for_backward(minus)
            ctx.dtype = logits.dtype
        return torch.stack(losses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient with respect to the logits."""
        (slopes,) = ctx.saved_tensors
        return (slopes * grad[:, None, None]).to(ctx.dtype), None, None, None


def _focal_of_image(
    minus: Tensor, match: Match, criterion: Criterion, *, needs_grad: bool
) -> Tensor:
    """The loss of one image's logits x = -minus, [A, K]; `minus` becomes its gradient if needed."""
    positive = match.anchors, match.labels
    ones = -minus[positive]
    # Logits so low that their loss with target 0 vanishes.
    minus[positive] = _NEVER
    minus[match.ignored] = _NEVER
    flat = minus.view(-1)
    size = _BLOCK if flat.device.type == "cpu" else max(1, len(flat))
    blocks = torch.split(flat, size)
    losses = [
        _focal(block, 1 - criterion.alpha, criterion, needs_grad=needs_grad) for block in blocks
    ]
    losses.append(_focal(ones, criterion.alpha, criterion, needs_grad=needs_grad))
    if needs_grad:
        minus[positive] = -ones
    return torch.stack(losses).sum()


def _focal(minus: Tensor, weight: float, criterion: Criterion, *, needs_grad: bool) -> Tensor:
    """The sum of the losses of logits x = -minus, [M], with target 0; for target 1 pass -x.

    With s = sigmoid(x), cross entropy c = log(1 + e^x) - x * smoothing / 2 and its derivative
    s - smoothing / 2 it is weight * s^gamma * c. If the gradient is needed, `minus` becomes
    weight * s^gamma * (gamma * (1 - s) * c + s - smoothing / 2).
    """
    gamma, smooth = criterion.gamma, criterion.label_smoothing / 2
    cross = F.logsigmoid(minus)
    factor = (cross - minus).mul_(gamma).exp_().mul_(weight)  # log(s) = x - log(1 + e^x)
    cross.neg_()
    if smooth:
        cross.add_(minus, alpha=smooth)
    loss = torch.dot(factor, cross)
    if needs_grad:
        share = minus.neg_().sigmoid_()
        cross.addcmul_(share, cross, value=-1).mul_(gamma).add_(share)
        if smooth:
            cross.sub_(smooth)
        torch.mul(cross, factor, out=minus)
    return loss


def _wide(x: Tensor) -> Tensor:
    """In float32, or float64 if it is."""
    return x if x.dtype == torch.float64 else x.float()
