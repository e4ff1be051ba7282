"""One stage of a backbone: a run of equal blocks."""

from __future__ import annotations

from dataclasses import dataclass, fields

from scalesearch.arch import check

# Block kind to the fields it reads beyond width and stride. The walk (`walk.py`) and the
# modules (`nn/blocks.py`) hold one entry for each kind under the same name.
BLOCK_FIELDS = {
    "mbconv": ("depth", "kernel", "expand", "se"),
    "fused_mbconv": ("depth", "kernel", "expand", "se"),
    "separable": ("depth", "kernel"),
    "basic": ("depth", "kernel"),
    "bottleneck": ("depth", "kernel", "reduce"),
    "wide": ("depth", "kernel"),
    "identity": (),
}
# How fields are called in labels and tables.
SHORT = {
    "width": "w",
    "depth": "d",
    "stride": "s",
    "kernel": "k",
    "expand": "e",
    "se": "se",
    "reduce": "r",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A run of `depth` equal blocks, the first of which has the stage's stride.

    Attributes:
        block: one of

            - `mbconv`: inverted residual with a depthwise convolution (MobileNetV2, MnasNet);
            - `fused_mbconv`: the same with one full convolution in place of expansion and
              depthwise convolution (EfficientNetV2);
            - `separable`: depthwise, then 1x1 convolution (MobileNetV1);
            - `basic`, `bottleneck`: residual blocks of two and three convolutions (He et al.
              2016); the bottleneck's stride is on its inner convolution, as in torchvision;
            - `wide`: pre-activation residual block of two convolutions (Zagoruyko & Komodakis
              2016);
            - `identity`: parameter-free shortcut: every `stride`-th pixel, channels padded with
              zeros or cut (option A of He et al. 2016, section 3.3).
        width: output channels.
        depth: number of blocks.
        stride: of the first block; the others have 1.
        kernel: side of the block's spatial kernels, odd.
        expand: inner channels of an (also fused) mbconv as a multiple of its input channels.
        se: squeeze-excite channels as a share of the block's *input* channels; 0 is none.
        reduce: output channels of a bottleneck as a multiple of its inner ones.
    """

    block: str = "mbconv"
    width: int
    depth: int = 1
    stride: int = 1
    kernel: int = 3
    expand: int = 1
    se: float = 0.0
    reduce: int = 4

    def __post_init__(self) -> None:
        check.one_of("block", self.block, BLOCK_FIELDS)
        for key in ("width", "depth", "stride", "expand", "reduce"):
            check.whole(key, getattr(self, key))
        check.odd("kernel", self.kernel)
        check.share(self, "se")
        # A field that the block does not read takes its default, so that two descriptions of the
        # same network are equal.
        for field in fields(self):
            if field.name not in (*BLOCK_FIELDS[self.block], "block", "width", "stride"):
                object.__setattr__(self, field.name, field.default)

    @property
    def label(self) -> str:
        """All fields in one short word, unique among stages: `mbconv_w24_d2_s2_k3_e6_se0.25`."""
        used = ("width", "stride", *BLOCK_FIELDS[self.block])
        numbers = ((word, getattr(self, key)) for key, word in SHORT.items() if key in used)
        return "_".join([self.block, *(f"{word}{_short(number)}" for word, number in numbers)])


def _short(number: float) -> str:
    """A number in as few characters as tell it from any other: `24`, `0`, `0.25`."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)
