"""One pass over the operations of a block: counts, and what memory follows from it.

Memory is followed as PyTorch holds it: what an operation makes, what autograd saves of it for the
backward pass and when that is let go. Workspaces of kernels (cuDNN, oneDNN), rounding by the
allocator, and the memory of Python and of the libraries are left out.
"""

from __future__ import annotations

from typing import NamedTuple

from scalesearch.arch.walk import Op


class Tally(NamedTuple):
    """What one block (or the stem, or the head) adds to the cost of a network.

    Attributes:
        flops, flops_total, params, activations: as in `Cost`, for one image.
        norms, norm_width: batch norms, and their channels in all.
        live: most values alive at once in a forward pass without gradients, for one image.
        saved: values that autograd keeps of this block, for the whole training batch.
        rise: most values that backward has alive inside the block, beside what earlier blocks
            saved and later blocks have as gradients of weights; those of this block count as
            negative until they are made, so that `saved before + rise - params before` summed
            with all parameters is the peak.
        largest: parameters of its largest layer.
    """

    flops: int
    flops_total: int
    params: int
    activations: int
    norms: int
    norm_width: int
    live: int
    saved: int
    rise: int
    largest: int


def tally(ops: tuple[Op, ...], batch: int, keeps_input: bool) -> Tally:
    """Counts the operations of one block once.

    Args:
        ops: of the block, in forward order.
        batch: images in a training step.
        keeps_input: whether the activation's backward reads its input; ReLU reads its output,
            which the next operation keeps anyway.
    """
    flops = extra = params = activations = norms = norm_width = 0
    live = saved = rise = largest = 0
    entry = ops[0].values_in if ops else 0  # lives to the block's end, for the residual
    branch = batch * entry if ops and ops[-1].kind == "add" else 0
    for op in ops:
        kind, _, inputs, outputs, (rows, columns), (height, width), kernel, groups, *flags = op
        bias, norm, active, counted = flags
        pixels = height * width
        into, out = inputs * rows * columns, outputs * pixels
        many_in, many_out = batch * into, batch * out
        held = entry if into != entry else 0
        live = max(live, held + into + (2 * out if norm else out))
        if kind == "conv" or kind == "linear":
            weights = outputs * (inputs // groups) * kernel * kernel
            flops += weights * pixels
            activations += out
            if bias:
                weights += outputs
            largest = max(largest, weights)
            saved += many_in
            # Backward of the layer: gradients of output, input and weights, input still saved.
            rise = max(rise, saved + branch + many_out + many_in - params)
            params += weights
            if norm:
                extra += 2 * out
                norms += 1
                norm_width += outputs
                saved += many_out + 2 * outputs
                rise = max(rise, saved + branch + 2 * many_out - params)
                params += 2 * outputs
            if active and keeps_input:
                saved += many_out
                rise = max(rise, saved + branch + 2 * many_out - params)
        elif kind == "gate":
            saved += many_in + batch * inputs
            rise = max(rise, saved + branch + 2 * many_out - params)
        elif counted:
            extra += into
    return Tally(
        flops, flops + extra, params, activations, norms, norm_width, live, saved, rise, largest
    )
