"""What a network costs, by arithmetic over its description: no torch, about 0.1 ms.

Equal to the last unit to what fvcore counts on the built model in evaluation mode: convolutions
and linear layers one for each multiply-add (biases free), batch norm 2 for each value, average
pooling 1 for each input value, everything else nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.walk import Rule, Size, walk
from scalesearch.cost.cost import Cost, Workload
from scalesearch.cost.tally import Tally, tally

_DEFAULT = Workload()
_COUNTER_BYTES = 8  # each batch norm counts its steps in one int64


def cost(backbone: Backbone, *, size: Size | None = None, workload: Workload = _DEFAULT) -> Cost:
    """The cost of a network in closed form.

    Args:
        backbone: the described network.
        size: height and width of the image; by default its square resolution.
        workload: batches and optimizer that memory is counted for.
    """
    batch, keeps_input = workload.training_batch, backbone.activation != "relu"
    parts = [
        (repeats, _tally(rule, args, batch, keeps_input))
        for _, repeats, rule, args in walk(backbone, size)
    ]
    flops = total = params = activations = norms = norm_width = 0
    for repeats, part in parts:
        flops += repeats * part.flops
        total += repeats * part.flops_total
        params += repeats * part.params
        activations += repeats * part.activations
        norms += repeats * part.norms
        norm_width += repeats * part.norm_width
    height, width = size or (backbone.resolution, backbone.resolution)
    image = backbone.in_channels * height * width
    buffers = workload.value_bytes * 2 * norm_width + _COUNTER_BYTES * norms
    live = image + max(part.live for _, part in parts)
    inference = workload.value_bytes * (params + workload.inference_batch * live) + buffers
    logits = batch * backbone.num_classes
    step = batch * image + _step_values(parts, params, logits, workload)
    training = workload.value_bytes * step + (2 if workload.ema else 1) * buffers
    return Cost(flops, total, params, activations, inference, training)


@lru_cache(maxsize=100_000)
def _tally(rule: Rule, args: tuple[Hashable, ...], batch: int, keeps_input: bool) -> Tally:
    # The networks of a search share most of their blocks.
    return tally(rule(*args), batch, keeps_input)


def _step_values(
    parts: list[tuple[int, Tally]], params: int, logits: int, workload: Workload
) -> int:
    """Peak values of a training step beside images and buffers: in backward or in the update."""
    saved = seen = peak = largest = 0
    for repeats, part in parts:
        # From one repeat to the next the sum changes by a constant: its ends hold the maximum.
        last = (repeats - 1) * (part.saved - part.params)
        peak = max(peak, saved - seen + part.rise + max(0, last))
        saved += repeats * part.saved
        seen += repeats * part.params
        largest = max(largest, part.largest)
    # The loss holds the logits, their log-softmax and its gradient.
    backward = max(peak + params, saved + 3 * logits)
    # While a weight is updated, a temporary of its size is alive.
    update = params + largest
    return params * (1 + workload.optimizer_copies + workload.ema) + max(backward, update)
