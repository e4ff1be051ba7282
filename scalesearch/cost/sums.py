"""What blocks in a row add up to, and what a network of such sums costs.

The same few lines serve one network, whose sums are ints, and a population, whose sums are NumPy
arrays with one value for each network: `maximum` is then `numpy.maximum`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from scalesearch.cost.cost import Cost, Workload
from scalesearch.cost.memory import FULL

_COUNTER = 8  # bytes: each batch norm counts its steps in one int64
Maximum = Callable[[Any, Any], Any]


class Sums(NamedTuple):
    """Counts and memory of one block, or of several in a row.

    Attributes:
        flops, flops_total, params, activations: as in `Cost`, for one image.
        norms, norm_width: batch norms, and their channels in all.
        largest: values of the largest weight.
        copies, live: bytes of a forward pass, as `inference` returns them.
        saved, ahead, rise: bytes of a training step, as in `training.Trained`.
        held: bytes of feature maps that a forward pass keeps for a neck behind later blocks.
        late: as `live`, of what runs when these are gone; 0 where nothing does.
        waiting: bytes of their gradients, which wait while backward goes through later blocks.
        early: as `rise`, of what backward goes through before these are made; 0 if nothing.
        put_out: bytes of what is put out in a forward pass, once it is made float32 and copies of
            weights are gone; 0 where it is float32 all along.
    """

    flops: Any
    flops_total: Any
    params: Any
    activations: Any
    norms: Any
    norm_width: Any
    largest: Any
    copies: Any
    live: Any
    saved: Any
    ahead: Any
    rise: Any
    held: Any = 0
    late: Any = 0
    waiting: Any = 0
    early: Any = 0
    put_out: Any = 0


NOTHING = Sums(*[0] * 12)


def repeat(block: Sums, times: int) -> Sums:
    """`times` such blocks in a row; none of them hands a map to a neck."""
    if times == 1:
        return block
    flops, total, params, acts, norms, channels, largest, copies, live, *trained = block[:12]
    saved, ahead, rise = trained
    # From one repeat to the next a peak changes by a constant: it is at one of the two ends.
    more = times - 1
    further = max(0, more * (saved - FULL * params))
    return Sums(
        times * flops,
        times * total,
        times * params,
        times * acts,
        times * norms,
        times * channels,
        largest,
        times * copies,
        live + more * copies,
        times * saved,
        ahead + more * saved,
        rise + further,
        late=block.late + (block.late > 0) * more * copies,
        early=block.early + (block.early > 0) * further,
        put_out=block.put_out,
    )


def join(before: Sums, after: Sums, maximum: Maximum = max) -> Sums:
    """Both in a row: backward reaches a block with all that earlier ones saved."""
    a, b = before, after
    reached = a[9] - FULL * a[2]
    return Sums(
        a[0] + b[0],
        a[1] + b[1],
        a[2] + b[2],
        a[3] + b[3],
        a[4] + b[4],
        a[5] + b[5],
        maximum(a[6], b[6]),
        a[7] + b[7],
        maximum(a[8], a[7] + a[12] + b[8]),
        a[9] + b[9],
        maximum(a[10], a[9] + b[10]),
        maximum(a[11], reached + a[14] + b[11]),
        a[12] + b[12],
        maximum(a[13], (b[13] > 0) * a[7] + b[13]),
        a[14] + b[14],
        maximum(a[15], (b[15] > 0) * reached + b[15]),
        maximum(a[16], b[16]),
    )


def price(
    sums: Sums, image: Any, num_classes: int, workload: Workload, maximum: Maximum = max
) -> Cost:
    """The cost of a whole network; `image` is the number of values of one input image.

    A detector has no classifier, so 0 of `num_classes`: its last block has its loss.
    """
    weights = FULL * sums.params
    buffers = FULL * 2 * sums.norm_width + _COUNTER * sums.norms
    inference = weights + FULL * workload.inference_batch * image
    inference += maximum(maximum(sums.live, sums.late), sums.put_out)
    logits = FULL * workload.training_batch * num_classes
    # The loss holds the logits, their log-softmax and its gradient; all along itself and its own.
    rise = maximum(sums.rise, sums.early)
    loss = maximum(rise + weights, sums.saved + 3 * logits) + 2 * FULL
    loss = maximum(loss, sums.ahead)
    # Adam makes two temporaries of the size of the weight that it updates.
    update = weights + (2 * FULL * sums.largest if workload.optimizer_copies >= 2 else 0)
    step = weights * (1 + workload.optimizer_copies + workload.ema) + maximum(loss, update)
    training = FULL * workload.training_batch * image + step
    training += (2 if workload.ema else 1) * buffers
    counts = (sums.flops, sums.flops_total, sums.params, sums.activations)
    return Cost(*counts, inference + buffers, training)
