"""A whole classification network, described without torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from scalesearch.arch import check
from scalesearch.arch.stage import Stage
from scalesearch.errors import UserError

ACTIVATIONS = ("silu", "relu", "relu6", "hardswish")
PADDINGS = ("symmetric", "same")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stem:
    """The first convolution: `width` output channels, square `kernel`, `stride`.

    Attributes:
        pool: stride of a 3x3 max pooling after it; 1 is none.
        norm: a batch norm and an activation follow the convolution. `wide` stages begin with
            theirs, so their networks have none here.
    """

    width: int = 32
    kernel: int = 3
    stride: int = 2
    pool: int = 1
    norm: bool = True

    def __post_init__(self) -> None:
        for key in ("width", "stride", "pool"):
            check.whole(key, getattr(self, key))
        check.odd("kernel", self.kernel)
        check.yes_or_no("norm", self.norm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A 1x1 convolution to `width` channels, average pooling, `dropout`, a linear classifier.

    Attributes:
        width: 0 leaves the convolution out: what the last stage outputs is pooled.
        norm: where there is no convolution, a batch norm and an activation stand before the
            pooling, as `wide` stages need them. A convolution always brings both.
    """

    width: int = 1280
    dropout: float = 0.0
    norm: bool = False

    def __post_init__(self) -> None:
        check.whole("width", self.width, least=0)
        check.share(self, "dropout")
        check.yes_or_no("norm", self.norm)
        if self.width:  # not read then, so that two descriptions of one network are equal
            object.__setattr__(self, "norm", False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A classifier: stem, stages, head, and the images it is made for.

    Attributes:
        stages: at least one.
        resolution: side of the square input in pixels.
        in_channels: 3 for colour, 1 for grey.
        num_classes: outputs of the classifier.
        activation: one of `ACTIVATIONS`.
        padding: `symmetric` (PyTorch's, k // 2 on each side) or `same` (TensorFlow's, which puts
            the odd pixel on the right and bottom); both give ceil(side / stride).
        drop_path: stochastic depth (Huang et al. 2016) as the official EfficientNet code has it: of
            n blocks the one after i others skips its branch with probability drop_path * i / n.
        norm_eps, norm_momentum: of every batch norm, in PyTorch's sense.
        width_divisor: widths become multiples of it when they are scaled.
    """

    stages: tuple[Stage, ...]
    stem: Stem = field(default_factory=Stem)
    head: Head = field(default_factory=Head)
    resolution: int = 224
    in_channels: int = 3
    num_classes: int = 1000
    activation: str = "silu"
    padding: str = "symmetric"
    drop_path: float = 0.0
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    width_divisor: int = 8

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        if not self.stages:
            raise UserError("a backbone needs at least one stage", key="stages")
        check.made("stem", self.stem, Stem)
        check.made("head", self.head, Head)
        for index, stage in enumerate(self.stages):
            check.made(f"stages[{index}]", stage, Stage)
        for key in ("resolution", "in_channels", "num_classes", "width_divisor"):
            check.whole(key, getattr(self, key))
        check.one_of("activation", self.activation, ACTIVATIONS)
        check.one_of("padding", self.padding, PADDINGS)
        for key in ("drop_path", "norm_eps", "norm_momentum"):
            check.share(self, key)

    @property
    def trunk(self) -> Backbone:
        """What has the stages: itself, or a detector's backbone."""
        return self

    @property
    def sources(self) -> tuple[int, ...]:
        """The stages (from 0) that feed a neck: none of a classifier's."""
        return ()

    @property
    def depth(self) -> int:
        """Blocks in all."""
        return sum(stage.depth for stage in self.stages)

    @property
    def features(self) -> int:
        """Channels that are pooled and classified."""
        return self.head.width or self.stages[-1].width
