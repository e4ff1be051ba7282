"""What the memory of a block depends on, and the sizes that forward and backward share.

Memory is followed as PyTorch holds it: what an operation makes, what autograd saves of it, and
when that is let go. Workspaces of kernels (cuDNN, oneDNN), rounding and fragmentation by the
allocator, and the memory of Python and of the libraries are left out.
"""

from __future__ import annotations

from typing import NamedTuple

from scalesearch.arch.op import Op

FULL = 4  # bytes of a value in float32: weights, gradients, statistics, images
COPY = 2  # bytes of a weight as autocast copies it
INDEX = 8  # bytes of the place of a maximum


class Setting(NamedTuple):
    """What decides beside a block's own operations how much memory it takes.

    Attributes:
        inference_batch, training_batch: images in a forward pass, in a training step.
        value_bytes: of an activation: 4, or 2 under autocast.
        sum_bytes: of a sum over an image, which float16 autocast makes in float32.
        same: a strided operation is padded by an operation of its own.
        in_place: the activation's backward reads its output, so that it overwrites its input.
        drop_path: the network has stochastic depth.
        blocks: 0 for the stem, 1 for the first block, 2 for all others. The stem's input is the
            image: held by the caller, and without a gradient. The first block is never dropped.
        kept: backward keeps the block's input already for what made it.
        tapped: a neck takes the block's input too, which has been counted with it.
    """

    inference_batch: int
    training_batch: int
    value_bytes: int
    sum_bytes: int
    same: bool
    in_place: bool
    drop_path: bool
    blocks: int = 0
    kept: bool = False
    tapped: bool = False


def padded(op: Op) -> int:
    """Values of one image after the padding before a strided operation."""
    rows, columns = (
        max(side, (-(-side // op.stride) - 1) * op.stride + op.kernel) for side in op.size_in
    )
    return op.inputs * rows * columns
