"""One operation of a network with its sizes: what cost, memory and tables are sums over."""

from __future__ import annotations

from typing import NamedTuple

Size = tuple[int, int]  # height, width in pixels


class Op(NamedTuple):
    """One operation on one image.

    Attributes:
        kind: `conv`, `linear`, `norm` (a batch norm on its own), `pool` (average over the whole
            image), `max_pool`, `gate` (each channel times the sigmoid of its squeeze-excite
            weight), `add` (of the residual branch and the shortcut), `cut` (identity block that
            changes its input), `dropout`, `upsample` (to the nearest pixel) or `fuse` (a sum of
            feature maps).
        name: as the module is called within its block; an `add` or `cut` is the block's own.
        inputs, outputs: channels.
        size_in, size_out: height and width.
        kernel, groups, bias: of a conv; a max_pool has the kernel alone. A fuse sums `groups`
            maps, and learns a weight for each if `bias`.
        norm: a batch norm follows, or a group norm in `norm_groups` groups if there are any.
        active: an activation follows.
        counted: whether fvcore counts a pool (it counts AdaptiveAvgPool2d, not `mean`).
        stride: of a conv, max_pool or cut.
        aside: a conv on the shortcut: it takes what the residual branch took (the block's input,
            or what a leading `norm` made of it) and comes after the whole branch.
    """

    kind: str
    name: str
    inputs: int
    outputs: int
    size_in: Size
    size_out: Size
    kernel: int = 1
    groups: int = 1
    bias: bool = False
    norm: bool = False
    active: bool = False
    counted: bool = False
    stride: int = 1
    aside: bool = False
    norm_groups: int = 0

    @property
    def values_in(self) -> int:
        """Input values for one image."""
        return self.inputs * self.size_in[0] * self.size_in[1]

    @property
    def values_out(self) -> int:
        """Output values for one image."""
        return self.outputs * self.size_out[0] * self.size_out[1]

    @property
    def weights(self) -> int:
        """Learnable parameters of the conv or linear layer itself, its norm left out."""
        if self.kind not in ("conv", "linear"):
            return 0
        kernel = self.inputs // self.groups * self.kernel * self.kernel
        return self.outputs * (kernel + self.bias)


def shrink(size: Size, stride: int) -> Size:
    """The output size of any strided operation here: odd kernels, padded: ceil(side / stride)."""
    return (-(-size[0] // stride), -(-size[1] // stride)) if stride > 1 else size
