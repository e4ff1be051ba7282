"""Memory of a block in a forward pass without gradients."""

from __future__ import annotations

from scalesearch.arch.op import Op
from scalesearch.cost.memory import COPY, FULL, INDEX, Setting, padded


def inference(ops: tuple[Op, ...], setting: Setting) -> tuple[int, int]:
    """Bytes that a forward pass holds of a block for all images of the batch.

    Returns the copies of weights that autocast keeps until the pass ends, and the most bytes
    alive at once beside the images and the copies of earlier blocks.
    """
    batch, _, value, sums, same, _, _, blocks, _, tapped = setting
    unit, low, first = batch * value, value < FULL, blocks == 0
    projects = len(ops) > 1 and ops[-2].aside
    # A block holds its input to its end; own is what the operation takes in beside it.
    held = 0 if first or tapped or not ops else unit * ops[0].values_in
    copies = live = own = squeezed = 0
    for op in ops:
        kind, _, inputs, outputs, _, (height, width), *rest = op
        kernel, groups, bias, norm, _, counted, stride, aside, _ = rest
        if kind == "pool" and not counted:
            squeezed = own  # what squeeze-excite makes of its input is small until the gate
            continue
        out = unit * outputs * height * width
        if aside:
            held, own = held + own, 0  # the branch waits
        elif kind == "linear":
            held = 0  # the images are pooled and gone
        elif kind == "gate":
            own = squeezed
        extra = 0
        if kind == "conv" or kind == "linear":
            if low:
                copies += COPY * outputs * (inputs // groups * kernel * kernel + bias)
            extra = out if norm else 0  # the activation works in place
            if (same and stride > 1) or (first and low):
                extra = max(extra, _copied(op, setting))
        elif kind == "gate":
            # Means, and the weights before and after their sigmoid.
            extra = batch * inputs * (sums + 2 * value)
        elif kind == "max_pool":
            extra = INDEX * batch * outputs * height * width + (unit * padded(op) if same else 0)
        elif kind == "add":
            break  # in the place of the branch
        if copies + held + own + out + extra > live:
            live = copies + held + own + out + extra
        own = out
        if kind == "norm" and projects:
            held, own = held + out, 0  # branch and shortcut both take it
    return copies, live


def _copied(op: Op, setting: Setting) -> int:
    """Bytes of a convolution's input once padded and, if it is the image, in low precision."""
    batch, low = setting.inference_batch, setting.value_bytes < FULL
    pads = setting.same and op.stride > 1
    values = padded(op) if pads else op.values_in
    image = FULL * values if pads and low and setting.blocks == 0 else 0
    return batch * (setting.value_bytes * values + image)
