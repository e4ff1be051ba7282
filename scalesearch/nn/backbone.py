"""A described backbone as a torch module."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from scalesearch.arch.backbone import Backbone
from scalesearch.nn.blocks import BLOCKS, BlockContext
from scalesearch.nn.layers import ConvNormAct, MaxPool, NormAct


class Trunk(nn.Module):
    """Stem and the first `count` stages of a backbone."""

    def __init__(self, net: Backbone, count: int) -> None:
        super().__init__()
        stem, width, k, s = net.stem, net.stem.width, net.stem.kernel, net.stem.stride
        self.stem = ConvNormAct(
            net, net.in_channels, width, kernel=k, stride=s, norm=stem.norm, act=stem.norm
        )
        self.stem_pool = MaxPool(net, stem.pool) if stem.pool > 1 else nn.Identity()
        self.stages = nn.ModuleList()
        depth = 0  # blocks so far
        for stage in net.stages[:count]:
            blocks = nn.ModuleList()
            for index in range(stage.depth):
                # Linear decay rule of stochastic depth: the deeper the block, the likelier.
                drop_path, stride = net.drop_path * depth / net.depth, 1 if index else stage.stride
                context = BlockContext(net=net, width=width, stride=stride, drop_path=drop_path)
                blocks.append(BLOCKS[stage.block](stage, context))
                width, depth = stage.width, depth + 1
            self.stages.append(blocks)


class Classifier(Trunk):
    """The network that a `Backbone` describes: images to one logit for each class."""

    def __init__(self, net: Backbone) -> None:
        super().__init__(net, len(net.stages))
        head, width = net.head, net.stages[-1].width
        self.head: nn.Module = nn.Identity()
        if head.width:
            self.head = ConvNormAct(net, width, head.width)
        elif head.norm:
            self.head = NormAct(net, width)
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


def links(model: Classifier) -> tuple[Callable[[Tensor], Tensor], ...]:
    """The functions whose chain is the forward pass, to be timed one by one.

    Stem, every block, and head: in the order of `arch.walk`, each part as often as it repeats.
    """

    def stem(images: Tensor) -> Tensor:
        return model.stem_pool(model.stem(images))

    def head(x: Tensor) -> Tensor:
        x = model.pool(model.head(x)).flatten(1)
        return model.classifier(model.dropout(x))

    return (stem, *(block for stage in model.stages for block in stage.children()), head)


class Features(Trunk):
    """The outputs of some stages of a backbone, for a neck."""

    def __init__(self, net: Backbone, sources: Sequence[int]) -> None:
        super().__init__(net, sources[-1] + 1)
        self.sources = tuple(sources)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images [N, in_channels, H, W] to [N, width, H / 2^l, W / 2^l] of each source."""
        x, maps = self.stem_pool(self.stem(images)), []
        for index, stage in enumerate(self.stages):
            for block in stage.children():
                x = block(x)
            if index in self.sources:
                maps.append(x)
        return maps


def initialise(module: nn.Module) -> None:
    """Weights as the official EfficientNet code draws them; norms start as the identity.

    On the meta device there are no values to draw, and torch loads its compiler to draw none.
    """
    if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        return
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
