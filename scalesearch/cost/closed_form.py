"""What a network costs, by arithmetic over its description: no torch, about 0.1 ms.

Equal to the last unit to what fvcore counts on the built model in evaluation mode: convolutions
and linear layers one for each multiply-add (biases free), batch norm 2 for each value, average
pooling 1 for each input value, everything else nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import NamedTuple

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.walk import Rule, Size, walk
from scalesearch.cost.cost import Cost, Workload
from scalesearch.cost.memory import Held, Setting, held_by
from scalesearch.cost.tally import Tally, tally

_DEFAULT = Workload()
_COUNTER_BYTES = 8  # each batch norm counts its steps in one int64


class _Part(NamedTuple):
    """Equal blocks in a row: how many, and the counts and memory of one."""

    repeats: int
    tally: Tally
    held: Held


def cost(backbone: Backbone, *, size: Size | None = None, workload: Workload = _DEFAULT) -> Cost:
    """The cost of a network in closed form.

    Args:
        backbone: the described network.
        size: height and width of the image; by default its square resolution.
        workload: batches and optimizer that memory is counted for.
    """
    parts = _parts(backbone, size, workload.training_batch)
    flops = total = params = activations = norms = norm_width = live = 0
    for repeats, part, held in parts:
        flops += repeats * part.flops
        total += repeats * part.flops_total
        params += repeats * part.params
        activations += repeats * part.activations
        norms += repeats * part.norms
        norm_width += repeats * part.norm_width
        live = max(live, held.live)
    height, width = size or (backbone.resolution, backbone.resolution)
    image = backbone.in_channels * height * width
    buffers = workload.value_bytes * 2 * norm_width + _COUNTER_BYTES * norms
    inference = workload.value_bytes * (params + workload.inference_batch * (image + live))
    step = _step_values(parts, params, workload.training_batch * backbone.num_classes, workload)
    training = workload.value_bytes * (workload.training_batch * image + step)
    training += (2 if workload.ema else 1) * buffers
    return Cost(flops, total, params, activations, inference + buffers, training)


def _parts(backbone: Backbone, size: Size | None, batch: int) -> list[_Part]:
    same, relu = backbone.padding == "same", backbone.activation == "relu"
    setting = Setting(batch, same, relu, first=True)
    parts: list[_Part] = []
    for _, repeats, rule, args in walk(backbone, size):
        parts.append(_Part(repeats, *_counted(rule, args, setting)))
        if len(parts) == 1:
            setting = Setting(batch, same, relu, kept=relu)
        elif len(parts) == 2:
            # Stochastic depth grows from zero: the first block is never dropped.
            setting = Setting(batch, same, relu, drops=backbone.drop_path > 0)
    return parts


@lru_cache(maxsize=100_000)
def _counted(rule: Rule, args: tuple[Hashable, ...], setting: Setting) -> tuple[Tally, Held]:
    # The networks of a search share most of their blocks.
    ops = rule(*args)
    return tally(ops), held_by(ops, setting)


def _step_values(parts: list[_Part], params: int, logits: int, workload: Workload) -> int:
    """Peak values of a training step beside images and buffers: in backward or in the update."""
    saved = seen = peak = largest = 0
    for repeats, part, held in parts:
        # From one repeat to the next the sum changes by a constant: its ends hold the maximum.
        last = (repeats - 1) * (held.saved - part.params)
        peak = max(peak, saved - seen + held.rise + max(0, last))
        saved += repeats * held.saved
        seen += repeats * part.params
        largest = max(largest, part.largest)
    # The loss holds the logits, their log-softmax and its gradient; all along itself and its own.
    backward = max(peak + params, saved + 3 * logits) + 2
    # Adam makes two temporaries of the size of the weight that it updates.
    update = params + (2 * largest if workload.optimizer_copies >= 2 else 0)
    return params * (1 + workload.optimizer_copies + workload.ema) + max(backward, update)
