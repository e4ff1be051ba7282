"""A whole object detector, described without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache

from scalesearch import plugins
from scalesearch.arch import check
from scalesearch.arch.backbone import ACTIVATIONS, Backbone, Head
from scalesearch.arch.factory import Factory
from scalesearch.arch.neck import Neck, Node, check_nodes
from scalesearch.errors import UserError

NORMS = ("batch", "group")
_TOGETHER = 16  # channels of a group: one of the numbers that Wu & He 2018 compare (Table 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """The boxes that predictions start from: at each pixel of a level one for each size and shape.

    Attributes:
        scale: side of the smallest square anchor in pixels of its level.
        octaves: sizes between one level and the next: scale * 2^(i / octaves).
        ratios: width and height of each shape as multiples of the side, or one number that is
            their quotient: 2 is as (sqrt(2), 1 / sqrt(2)).
    """

    scale: float = 4.0
    octaves: int = 3
    ratios: tuple[float | tuple[float, float], ...] = ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))

    def __post_init__(self) -> None:
        check.above_zero("scale", self.scale)
        check.whole("octaves", self.octaves)
        object.__setattr__(self, "scale", float(self.scale))
        if not isinstance(self.ratios, list | tuple) or not self.ratios:
            raise UserError(f"{self.ratios!r} gives no shapes", key="ratios", allowed="1.0, 2.0 …")
        shapes = tuple(_shape(f"ratios[{i}]", ratio) for i, ratio in enumerate(self.ratios))
        object.__setattr__(self, "ratios", shapes)

    @property
    def shapes(self) -> tuple[tuple[float, float], ...]:
        """Width and height of each of `ratios`."""
        return self.ratios  # type: ignore[return-value]

    @property
    def count(self) -> int:
        """Anchors at each pixel."""
        return self.octaves * len(self.ratios)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The class and the box head: `depth` convolutions as wide as the neck, then the prediction.

    Both run over every level with the same convolutions; norms are each level's own.
    """

    depth: int = 3

    def __post_init__(self) -> None:
        check.whole("depth", self.depth, least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """Backbone, neck and heads, scaled together (EfficientDet, Tan, Pang & Le 2020).

    Attributes:
        backbone: its stages feed the neck; the head that classifies images is left out.
        num_classes: classes of objects.
        activation: of neck and heads.
        norm: of neck and heads: `batch`, or `group` (Wu & He 2018), which sees one image at a time
            and so can be trained with few of them in a step; its groups have gcd(width, 16)
            channels, so that the neck's width must be even.
        norm_bias: a bias on the convolutions that a norm follows; before a batch norm it changes
            nothing that can be computed, but the official TensorFlow weights have it.
        norm_eps, norm_momentum: of the norms of neck and heads, in PyTorch's sense; a group norm
            has no momentum. One of 0.01, as the published have it, needs thousands of steps.

    Resolution, input channels and padding are the backbone's.
    """

    backbone: Backbone
    neck: Neck = field(default_factory=Neck)
    heads: Heads = field(default_factory=Heads)
    anchors: Anchors = field(default_factory=Anchors)
    num_classes: int = 90
    activation: str = "silu"
    norm: str = "batch"
    norm_bias: bool = False
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1

    def __post_init__(self) -> None:
        for key, kind in _PARTS.items():
            check.made(key, getattr(self, key), kind)
        check.whole("num_classes", self.num_classes)
        check.one_of("activation", self.activation, ACTIVATIONS)
        check.one_of("norm", self.norm, NORMS)
        check.yes_or_no("norm_bias", self.norm_bias)
        for key in ("norm_eps", "norm_momentum"):
            check.share(self, key)
        if self.norm == "group" and norm_groups(self.neck.width) == self.neck.width:
            # One channel of a map of one pixel is one value, which has no variance.
            raise UserError(
                f"groups of one channel, as {self.neck.width} is odd",
                key="norm",
                allowed="batch, or group with an even neck.width",
            )
        # What classifies images is not built, so that two descriptions of one detector are equal.
        bare = replace(self.backbone, head=Head(width=0), num_classes=1)
        object.__setattr__(self, "backbone", bare)
        wiring(self.neck.kind, self.neck.levels)
        _check_taps(self.backbone, self.neck)

    @property
    def trunk(self) -> Backbone:
        """What has the stages: its backbone."""
        return self.backbone

    @property
    def resolution(self) -> int:
        """Side of the square input in pixels."""
        return self.backbone.resolution

    @property
    def padding(self) -> str:
        """`symmetric` or `same`, of all its parts."""
        return self.backbone.padding

    @property
    def in_channels(self) -> int:
        """Channels of the input: 3 for colour, 1 for grey."""
        return self.backbone.in_channels

    @property
    def depth(self) -> int:
        """Blocks of the backbone."""
        return self.backbone.depth

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The fusions of one layer of the neck."""
        return wiring(self.neck.kind, self.neck.levels)

    @property
    def sources(self) -> tuple[int, ...]:
        """The stages (from 0) that feed the neck's levels, from the finest."""
        tapped = taps(self.backbone)
        return tuple(tapped[level] for level in self.neck.levels if level in tapped)


Described = Backbone | Detector  # whose every layer is known
Architecture = Described | Factory


def norm_groups(width: int) -> int:
    """Groups of a group norm over `width` channels: each of gcd(width, 16) of them."""
    return width // math.gcd(width, _TOGETHER)


@lru_cache
def wiring(kind: str, levels: range) -> tuple[Node, ...]:
    """The table of a neck; `UserError` for an unknown kind or levels that it cannot have."""
    try:
        wired = plugins.load("necks", kind)
        with plugins.calling(kind, "nodes"):
            nodes = tuple(Node(level, tuple(inputs)) for level, inputs in wired().nodes(levels))
    except UserError as error:
        # A neck that does not have these levels names them itself.
        raise error if error.key else error.at(under="neck.kind") from None
    check_nodes(nodes, levels)
    return nodes


def taps(backbone: Backbone) -> dict[int, int]:
    """Each pyramid level that the backbone has to the last stage (from 0) that puts it out."""
    stride = backbone.stem.stride * backbone.stem.pool
    levels: dict[int, int] = {}
    for index, stage in enumerate(backbone.stages):
        stride *= stage.stride
        if stride & (stride - 1) == 0:  # a power of two
            levels[stride.bit_length() - 1] = index
    return levels


def _check_taps(backbone: Backbone, neck: Neck) -> None:
    """Rejects levels that the backbone lacks below others, and stages that feed nothing."""
    tapped = taps(backbone)
    inside = [level for level in neck.levels if level in tapped]
    lacking = [
        level for level in range(neck.min_level, max(inside, default=99)) if level not in tapped
    ]
    if lacking or not inside:
        raise UserError(
            f"the backbone has no features of level {lacking[0] if lacking else neck.min_level}",
            key="neck.min_level",
            allowed=f"it has those of {', '.join(map(str, tapped))}; only levels above all of them "
            "can be made",
        )
    used, there = tapped[inside[-1]] + 1, len(backbone.stages)
    if used < there:
        raise UserError(
            f"stage{used + 1} to stage{there} feed nothing"
            if there - used > 1
            else f"stage{there} feeds nothing",
            key="backbone.stages",
            hint=f"leave them out, or raise neck.max_level above {neck.max_level}",
        )


def _shape(key: str, ratio: object) -> tuple[float, float]:
    """Width and height of an anchor of area 1, from both or from their quotient."""
    if isinstance(ratio, list | tuple) and len(ratio) == 2:
        for side in ratio:
            check.above_zero(key, side)
        return float(ratio[0]), float(ratio[1])
    check.above_zero(key, ratio)
    side = math.sqrt(ratio)  # type: ignore[arg-type]
    return side, 1 / side


_PARTS = {"backbone": Backbone, "neck": Neck, "heads": Heads, "anchors": Anchors}
