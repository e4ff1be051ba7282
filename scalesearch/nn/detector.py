"""A described detector as a torch module."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scalesearch.arch.detector import Detector
from scalesearch.arch.neck import Node
from scalesearch.nn.backbone import Features, initialise
from scalesearch.nn.layers import Activation
from scalesearch.nn.pyramid import Pyramid, SeparableConv, norm

# Before training every anchor has an object with this probability, and predictions hardly differ:
# otherwise the first steps go into unlearning them (focal loss, Lin et al. 2017, 3.3 and 4.1).
_PRIOR = 0.01
_PREDICTION_STD = 0.01


class Predictor(nn.Module):
    """A head: the same convolutions for every level, norms of each level's own."""

    def __init__(self, net: Detector, values: int) -> None:
        super().__init__()
        width, levels = net.neck.width, len(net.neck.levels)
        self.convs = nn.ModuleList(
            SeparableConv(net, width, bias=net.norm_bias) for _ in range(net.heads.depth)
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(norm(net) for _ in range(levels)) for _ in range(net.heads.depth)
        )
        self.active = Activation(net.activation)
        self.predict = SeparableConv(net, values * net.anchors.count, bias=True)
        self.values = values

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps [N, width, H, W] of each level to [N, anchors of all levels, values]."""
        # The last 1x1 convolution takes the pixels of all levels at once, channels last: only maps
        # as narrow as the neck are permuted, and its output is in order already.
        outputs = self.predict.pointwise(self._pixels(maps)).permute(0, 2, 3, 1)
        return outputs.reshape(outputs.shape[0], -1, self.values)

    def _pixels(self, maps: Sequence[Tensor]) -> Tensor:
        """What the last 1x1 convolution takes, [N, width, 1, pixels of all levels]."""
        deep = [self._level(x, level) for level, x in enumerate(maps)]
        rows = [x.permute(0, 2, 3, 1).flatten(1, 2) for x in deep]
        return torch.cat(rows, 1).transpose(1, 2).unsqueeze(2)

    def _level(self, x: Tensor, level: int) -> Tensor:
        for conv, norms in zip(self.convs, self.norms, strict=True):
            x = self.active(norms[level](conv(x)))  # type: ignore[index]
        return self.predict.depthwise(x)


class DetectorNet(nn.Module):
    """The network that a `Detector` describes; `nodes` is the table of its neck."""

    def __init__(self, net: Detector, nodes: tuple[Node, ...]) -> None:
        super().__init__()
        self.backbone = Features(net.backbone, net.sources)
        self.neck = Pyramid(net, nodes)
        self.class_head = Predictor(net, net.num_classes)
        self.box_head = Predictor(net, 4)
        self.apply(initialise)
        for head, prior in ((self.class_head, _PRIOR), (self.box_head, 0.5)):
            last = head.predict.pointwise
            nn.init.normal_(last.weight, 0.0, _PREDICTION_STD)
            with torch.no_grad():
                last.bias.fill_(math.log(prior / (1 - prior)))  # type: ignore[union-attr]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [N, C, H, W] to class logits [N, anchors, num_classes] and box deltas [.., 4].

        Anchors are ordered by level from the finest, row, column, then as in `Anchors`.
        """
        maps = self.neck(self.backbone(images))
        return self.class_head(maps), self.box_head(maps)
