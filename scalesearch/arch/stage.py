"""One stage of a backbone: a run of equal blocks."""

from __future__ import annotations

from dataclasses import dataclass, fields

from scalesearch.arch import check

# Block kind to the fields it reads beyond width and stride. The walk (`walk.py`) and the
# modules (`nn/blocks.py`) hold one entry for each kind under the same name.
BLOCK_FIELDS = {
    "mbconv": ("depth", "kernel", "expand", "se"),
    "identity": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A run of `depth` equal blocks, the first of which has the stage's stride.

    Attributes:
        block: `mbconv` (inverted residual with depthwise convolution, MobileNetV2 and MnasNet)
            or `identity` (parameter-free shortcut: every `stride`-th pixel, channels padded with
            zeros or cut; option A of He et al. 2015, section 3.3).
        width: output channels.
        depth: number of blocks.
        stride: of the first block; the others have 1.
        kernel: side of the depthwise kernel, odd.
        expand: inner channels as a multiple of the block's input channels.
        se: squeeze-excite channels as a share of the block's *input* channels; 0 is none.
    """

    block: str = "mbconv"
    width: int
    depth: int = 1
    stride: int = 1
    kernel: int = 3
    expand: int = 1
    se: float = 0.0

    def __post_init__(self) -> None:
        check.one_of("block", self.block, BLOCK_FIELDS)
        for key in ("width", "depth", "stride", "expand"):
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
        short = {
            "width": "w",
            "depth": "d",
            "stride": "s",
            "kernel": "k",
            "expand": "e",
            "se": "se",
        }
        used = ("width", "stride", *BLOCK_FIELDS[self.block])
        parts = (f"{short[key]}{getattr(self, key):g}" for key in short if key in used)
        return "_".join([self.block, *parts])
