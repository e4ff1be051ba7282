"""Costs of blocks in a row, composed of what each was counted and simulated to take.

The same few lines serve one network, whose numbers are ints, and a population, whose numbers are
NumPy arrays with one value for each network: `maximum` is then `numpy.maximum`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from scalesearch.arch.walk import Part, Rule
from scalesearch.cost.cost import Cost, Workload
from scalesearch.cost.counts import block_counts
from scalesearch.cost.memory import FULL, LOSSES, LOW, WEIGHTED, Run, simulate

_COUNTER = 8  # bytes: each batch norm counts its steps in one int64
Maximum = Callable[[Any, Any], Any]


class MemoryContext(NamedTuple):
    """What decides beside a block's graph how much memory it takes.

    Attributes:
        inference_batch, training_batch: images in a forward pass, in a training step.
        value_bytes: of an activation: 4, or 2 under autocast.
        input_saved: autograd keeps the block's inputs for what made them.
    """

    inference_batch: int
    training_batch: int
    value_bytes: int
    input_saved: bool = False

    @classmethod
    def of(cls, workload: Workload) -> MemoryContext:
        """That of a network's first block."""
        value_bytes = FULL if workload.precision == "float32" else LOW
        return cls(workload.inference_batch, workload.training_batch, value_bytes)


class BlockCost(NamedTuple):
    """Counts and memory of one block, or of several in a row: bytes, unless said otherwise.

    Attributes:
        flops, flops_total, params, activations: as in `Counts`.
        buffers: statistics of batch norms.
        largest_weight: parameters of the largest weight.
        images: values of one input image, of a stem.
        outputs: values of one image's outputs, of a head.
        weight_copies: low-precision weights that autocast keeps until an inference ends.
        held: feature maps that later blocks beside the next one take, in inference.
        inference_peak: most alive in inference, beside held maps and copies of earlier blocks.
        saved: what autograd keeps.
        waiting: gradients of held maps, which wait while backward goes through earlier blocks.
        forward_peak: most alive in a training step's forward, beside what earlier blocks saved.
        backward_peak: most alive in backward, beside what earlier blocks saved and held, and the
            gradients of later blocks' weights.
    """

    flops: Any = 0
    flops_total: Any = 0
    params: Any = 0
    activations: Any = 0
    buffers: Any = 0
    largest_weight: Any = 0
    images: Any = 0
    outputs: Any = 0
    weight_copies: Any = 0
    held: Any = 0
    inference_peak: Any = 0
    saved: Any = 0
    waiting: Any = 0
    forward_peak: Any = 0
    backward_peak: Any = 0


NOTHING = BlockCost()


def join(a: BlockCost, b: BlockCost, maximum: Maximum = max) -> BlockCost:
    """`a`, and `b` behind it."""
    before = a.weight_copies + a.held
    return BlockCost(
        flops=a.flops + b.flops,
        flops_total=a.flops_total + b.flops_total,
        params=a.params + b.params,
        activations=a.activations + b.activations,
        buffers=a.buffers + b.buffers,
        largest_weight=maximum(a.largest_weight, b.largest_weight),
        images=a.images + b.images,
        outputs=a.outputs + b.outputs,
        weight_copies=a.weight_copies + b.weight_copies,
        held=a.held + b.held,
        inference_peak=maximum(a.inference_peak, before + b.inference_peak),
        saved=a.saved + b.saved,
        waiting=a.waiting + b.waiting,
        forward_peak=maximum(a.forward_peak, a.saved + b.forward_peak),
        backward_peak=maximum(
            a.backward_peak + FULL * b.params, a.saved + a.waiting + b.backward_peak
        ),
    )


def repeat(block: BlockCost, times: int) -> BlockCost:
    """`times` equal blocks in a row; none of them holds a map for a later one."""
    if times == 1:
        return block
    # From one repeat to the next a peak changes by a constant: it is at one of the two ends.
    more = times - 1
    return block._replace(
        flops=times * block.flops,
        flops_total=times * block.flops_total,
        params=times * block.params,
        activations=times * block.activations,
        buffers=times * block.buffers,
        weight_copies=times * block.weight_copies,
        inference_peak=block.inference_peak + more * block.weight_copies,
        saved=times * block.saved,
        forward_peak=block.forward_peak + more * block.saved,
        backward_peak=block.backward_peak + more * max(block.saved, FULL * block.params),
    )


def chain(parts: Iterable[Part], context: MemoryContext) -> tuple[BlockCost, MemoryContext]:
    """The cost of parts in a row, and the context of what is behind them."""
    total = NOTHING
    for part in parts:
        block, after = block_cost(part.rule, part.args, context)
        times = part.repeats
        if times > 1 and after != context:  # the first repeat alone has another block before it
            total, times = join(total, block), times - 1
            block, after = block_cost(part.rule, part.args, after)
        total, context = join(total, repeat(block, times)), after
    return total, context


@lru_cache(maxsize=100_000)
def block_cost(
    rule: Rule, args: tuple[Hashable, ...], context: MemoryContext
) -> tuple[BlockCost, MemoryContext]:
    """The cost of one block, and the context of the one behind it."""
    graph = rule(*args)
    if not graph.ops:  # the input goes on as it is
        return NOTHING, context
    inference = simulate(graph, Run(context.inference_batch, context.value_bytes, False))
    step = simulate(
        graph, Run(context.training_batch, context.value_bytes, True, context.input_saved)
    )
    cost = BlockCost(
        **block_counts(rule, args)._asdict(),
        buffers=sum(
            2 * FULL * op.output.width + _COUNTER for op in graph.ops if op.kind == "batch_norm"
        ),
        largest_weight=max((op.weights for op in graph.ops if op.kind in WEIGHTED), default=0),
        images=graph.inputs[0].values if graph.image else 0,
        outputs=sum(op.source.values for op in graph.ops if op.kind in LOSSES),
        weight_copies=inference.weight_copies,
        inference_peak=inference.forward,
        saved=step.saved,
        forward_peak=step.forward,
        backward_peak=step.backward,
    )
    return cost, context._replace(input_saved=step.output_saved)


def price(total: BlockCost, workload: Workload, maximum: Maximum = max) -> Cost:
    """The cost of a whole network."""
    weights, low = FULL * total.params, workload.precision != "float32"
    # Once autocast has ended, with its copies of weights, the outputs are made float32.
    outputs = (LOW + FULL) * low * workload.inference_batch * total.outputs
    inference = maximum(total.inference_peak, outputs)
    inference += weights + total.buffers + FULL * workload.inference_batch * total.images
    # Adam makes two temporaries of the size of the weight that it updates.
    adam = workload.optimizer_copies >= 2
    update = weights + 2 * FULL * adam * total.largest_weight
    step = maximum(maximum(total.backward_peak + 2 * FULL, total.forward_peak), update)
    step += weights * (1 + workload.optimizer_copies + workload.ema)
    step += FULL * workload.training_batch * total.images
    return Cost(
        flops=total.flops,
        flops_total=total.flops_total,
        params=total.params,
        activations=total.activations,
        inference_bytes=inference,
        training_bytes=step + total.buffers * (2 if workload.ema else 1),
    )
