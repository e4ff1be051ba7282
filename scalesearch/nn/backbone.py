"""A described backbone as a torch module."""

from __future__ import annotations

import math

from torch import Tensor, nn

from scalesearch.arch.backbone import Backbone
from scalesearch.nn.blocks import BLOCKS, Place
from scalesearch.nn.layers import ConvNorm, MaxPool, NormActive


class Classifier(nn.Module):
    """The network that a `Backbone` describes: images to one logit for each class."""

    def __init__(self, net: Backbone) -> None:
        super().__init__()
        stem, head = net.stem, net.head
        kernel, stride, norm = stem.kernel, stem.stride, stem.norm
        self.stem = ConvNorm(
            net, net.in_channels, stem.width, kernel=kernel, stride=stride, norm=norm, active=norm
        )
        self.stem_pool = MaxPool(net, stem.pool) if stem.pool > 1 else nn.Identity()
        width, done, stages = stem.width, 0, []
        for stage in net.stages:
            blocks = []
            for index in range(stage.depth):
                # Linear decay rule of stochastic depth: the deeper the block, the likelier.
                rate = net.drop_path * done / net.depth
                place = Place(width, stage.stride if index == 0 else 1, rate)
                blocks.append(BLOCKS[stage.block](net, stage, place))
                width, done = stage.width, done + 1
            stages.append(nn.ModuleList(blocks))
        self.stages = nn.ModuleList(stages)
        self.head: nn.Module = nn.Identity()
        if head.width:
            self.head = ConvNorm(net, width, head.width)
        elif head.norm:
            self.head = NormActive(net, width)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(head.dropout)
        self.classifier = nn.Linear(net.features, net.num_classes)
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, in_channels, H, W] to logits [N, num_classes]."""
        x = self.stem_pool(self.stem(images))
        # A loop over the blocks, as calling a Sequential would keep its input until its end.
        for stage in self.stages:
            for block in stage.children():
                x = block(x)
        x = self.pool(self.head(x)).flatten(1)
        return self.classifier(self.dropout(x))


def initialise(module: nn.Module) -> None:
    """Weights as the official EfficientNet code draws them; norms start as the identity."""
    if isinstance(module, nn.Conv2d):
        kernel = module.kernel_size[0] * module.kernel_size[1]
        fan_out = kernel * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        bound = 1.0 / math.sqrt(module.out_features)
        nn.init.uniform_(module.weight, -bound, bound)
        nn.init.zeros_(module.bias)
