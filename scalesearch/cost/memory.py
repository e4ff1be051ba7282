"""Memory of one block, followed as PyTorch holds it.

What an operation makes, what autograd saves of it for the backward pass, and when that is let go.
Workspaces of kernels (cuDNN, oneDNN), rounding by the allocator, and the memory of Python and of
the libraries are left out.
"""

from __future__ import annotations

from typing import NamedTuple

from scalesearch.arch.walk import Op


class Setting(NamedTuple):
    """What decides beside a block's own operations how much memory it takes.

    Attributes:
        batch: images in a training step.
        same: a strided convolution is padded by an operation of its own.
        relu: the activation's backward reads its output; that of others reads their input.
        first: the block's input is the image: held by the caller, and takes no gradient.
        kept: the block's input is kept already by the activation that made it.
        drops: stochastic depth may drop the block.
    """

    batch: int
    same: bool = False
    relu: bool = False
    first: bool = False
    kept: bool = False
    drops: bool = False


class Held(NamedTuple):
    """Values that one block has in memory.

    Attributes:
        live: most values alive at once in a forward pass without gradients, for one image and
            beside that image.
        saved: values that autograd keeps of this block, for the whole training batch.
        rise: most values that backward has alive inside the block, beside what earlier blocks
            saved and later blocks have as gradients of weights; those of this block count as
            negative until they are made, so that `saved before + rise - params before` summed
            with all parameters is the peak.
    """

    live: int
    saved: int
    rise: int


def held_by(ops: tuple[Op, ...], setting: Setting) -> Held:
    """Follows the operations of one block forward without and with gradients, and back."""
    return Held(_live(ops, setting), *_saved_and_rise(ops, setting))


def _live(ops: tuple[Op, ...], setting: Setting) -> int:
    _, same, _, first, _, _ = setting
    live = entry = 0  # a block holds its input to its end
    for op in ops:
        kind, _, inputs, outputs, (rows, columns), (height, width), _, _, _, norm, _, _, stride = op
        into = 0 if first else inputs * rows * columns
        out = outputs * height * width
        if kind == "linear":
            entry = 0  # the images are pooled and gone
        most = entry + into + out
        if norm:
            most += out  # the norm makes a second output; the activation works in place
        elif kind == "gate":
            most += 2 * inputs  # weights before and after their sigmoid
        if same and stride > 1 and kind == "conv":
            most = max(most, entry + into + _padded(op) + out)
        if most > live:
            live = most
        entry = entry or into
    return live


def _saved_and_rise(ops: tuple[Op, ...], setting: Setting) -> tuple[int, int]:
    batch, same, relu, first, kept, drops = setting
    saved = rise = top = free = 0  # free: the branch less the gradients that are not made yet
    last = None
    if ops and ops[-1].kind == "add":
        # While a block's gradient is computed, that of its output waits for the residual. Unless
        # the block can be dropped, its last norm works on that very gradient.
        free = batch * ops[0].values_in
        last = None if drops else ops[-2]
    for op in ops:
        kind, _, inputs, outputs, size, size_out, kernel, groups, bias, norm, active, _, stride = op
        into = batch * inputs * size[0] * size[1]
        out = batch * outputs * size_out[0] * size_out[1]
        if kind == "conv" or kind == "linear":
            alive = out if first else out + into
            if same and stride > 1:
                padded = batch * _padded(op)
                saved += padded
                # Either the convolution's backward or that of the padding, which follows.
                alive = out if first else max(out + padded, into)
            elif not (kept or first):
                saved += into
            top = saved + alive + free
            free -= outputs * (inputs // groups * kernel * kernel + bias)
            if norm:
                saved += out + 2 * outputs
                top = max(top, saved + (out if op is last else 2 * out) + free)
                free -= 2 * outputs
            if active:
                saved += out
                top = max(top, saved + 2 * out + free)
        elif kind == "gate":
            saved += batch * inputs + (0 if relu else into)
            top = saved + 3 * out + batch * inputs + free
        elif kind == "cut":
            top = saved + _alive_in_cut(op, into, out) + free
        elif kind == "dropout":
            saved += out
        elif drops and kind == "add":
            saved += batch
        kept = relu and active
        if top > rise:
            rise = top
    return saved, rise


def _alive_in_cut(op: Op, into: int, out: int) -> int:
    """Most gradients alive at once where rows, then columns were left out and channels changed."""
    (rows, columns), (height, width) = op.size_in, op.size_out
    kept = into // (rows * columns) * height * width
    wide = kept // width * columns
    return max(kept + out, kept + wide, wide + into) if op.stride > 1 else kept + out


def _padded(op: Op) -> int:
    """Values of one image after the padding before a strided operation."""
    rows, columns = (
        max(side, (-(-side // op.stride) - 1) * op.stride + op.kernel) for side in op.size_in
    )
    return op.inputs * rows * columns
