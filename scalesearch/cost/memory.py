"""Peak memory of a block: its graph's tensors followed from birth to death, forward and backward.

Memory is followed as PyTorch holds it: what an operation makes, what autograd keeps of it, and
when that is freed. Workspaces of kernels (cuDNN, oneDNN), rounding and fragmentation by the
allocator, and the memory of Python and of the libraries are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from scalesearch.arch.graph import Graph, Op
from scalesearch.cost.counts import RULES as COUNTS

FULL = 4  # bytes of a value in float32: weights, gradients, statistics, images
LOW = 2  # bytes of a value in bfloat16 or float16
_INDEX = 8  # bytes of the index of a maximum
# Logits that the focal loss takes at once on a CPU (`nn/losses.py`); on a GPU it takes all of them.
_LOSS_BLOCK = 2**18


class Run(NamedTuple):
    """A forward pass, with its backward if it is a training step.

    Attributes:
        batch: images.
        value_bytes: of an activation: 4, or 2 under autocast.
        training: gradients are wanted; else nothing is kept, and activations work in place.
        input_saved: autograd keeps the block's inputs for an earlier block already.
    """

    batch: int
    value_bytes: int
    training: bool
    input_saved: bool = False

    @property
    def low(self) -> bool:
        """Activations are in low precision, under autocast."""
        return self.value_bytes < FULL

    @property
    def unit(self) -> int:
        """Bytes of one value of an activation for the whole batch."""
        return self.batch * self.value_bytes


class Footprint(NamedTuple):
    """What one operation holds, in bytes, beside its output.

    Attributes:
        saves: tensors that autograd keeps for its backward.
        saved_bytes: what autograd keeps beside them: statistics, indices, low-precision weights.
        workspace, backward_workspace: what lives for a moment in forward and in backward.
        in_place: the output overwrites the last input.
        passes: inputs whose gradient is the output's, and no new tensor.
    """

    saves: tuple[int, ...] = ()
    saved_bytes: int = 0
    workspace: int = 0
    backward_workspace: int = 0
    in_place: bool = False
    passes: tuple[int, ...] = ()


class Peaks(NamedTuple):
    """What simulating a graph gives, in bytes.

    Attributes:
        weight_copies: weights that autocast keeps in low precision until the pass ends.
        saved: what autograd keeps of the graph.
        forward: the most alive in the forward pass.
        backward: the most alive in the backward pass, with gradients of the graph's own weights;
            the gradients of its outputs are there from the start.
        output_saved: autograd keeps an output of the graph for an operation of the graph itself.
    """

    weight_copies: int
    saved: int
    forward: int
    backward: int
    output_saved: bool


def simulate(graph: Graph, run: Run) -> Peaks:
    """Runs a graph's tensors from birth to death."""
    tape = _Tape.of(graph, run)
    copies, forward = _forward(tape)
    kept = tape.kept
    saved = sum(tape.sizes[t] for t in kept) + sum(f.saved_bytes for f in tape.footprints)
    return Peaks(
        weight_copies=copies,
        saved=saved if run.training else 0,
        forward=forward,
        backward=_backward(tape, saved) if run.training else 0,
        output_saved=any(tape.storage[t] in kept for t in graph.outputs),
    )


@dataclass(frozen=True)
class _Tape:
    """A graph with the bytes of its tensors.

    Attributes:
        sizes: of each tensor; 0 for inputs that are counted elsewhere.
        gradients: of the gradient of each tensor; None if it needs none.
        footprints: of each operation.
        storage: of each tensor the first one that lives in the same memory.
    """

    graph: Graph
    run: Run
    sizes: list[int]
    gradients: list[int | None]
    footprints: list[Footprint]
    storage: list[int]

    @classmethod
    def of(cls, graph: Graph, run: Run) -> _Tape:
        unit = run.batch * (FULL if graph.image else run.value_bytes)
        sizes = [unit * each.values for each in graph.inputs]
        gradients = [None if graph.image else size for size in sizes]
        footprints, storage = list[Footprint](), list(range(len(sizes)))
        for op in graph.ops:
            # What pads the images is float32 as they are; a loss is one number.
            unit = sizes[op.inputs[0]] // op.source.values if op.kind == "pad" else run.unit
            footprint = _footprint(op, run, sizes)
            storage.append(storage[op.inputs[-1]] if footprint.in_place else len(sizes))
            sizes.append(0 if op.kind in LOSSES else unit * op.output.values)
            learns = op.kind in COUNTS or any(gradients[t] is not None for t in op.inputs)
            gradients.append(sizes[-1] if learns else None)
            footprints.append(footprint)
        if graph.image or (run.training and run.input_saved):
            sizes[: len(graph.inputs)] = [0] * len(graph.inputs)
        return cls(graph, run, sizes, gradients, footprints, storage)

    @property
    def kept(self) -> set[int]:
        """The storages that autograd keeps."""
        return {self.storage[t] for footprint in self.footprints for t in footprint.saves}

    def steps(self) -> list[tuple[int, Op, Footprint]]:
        """Each operation with the number of its output and its footprint."""
        numbers = range(len(self.graph.inputs), len(self.sizes))
        return list(zip(numbers, self.graph.ops, self.footprints, strict=True))


def _forward(tape: _Tape) -> tuple[int, int]:
    """Bytes of autocast's copies of weights, and the most bytes alive."""
    run, sizes, storage, first = tape.run, tape.sizes, tape.storage, len(tape.graph.inputs)
    users = Counter(storage[:first])  # by storage: tensors in it that Python holds
    now = peak = sum(sizes[:first])
    kept, copies, drops = set[int](), 0, lifetimes(tape.graph)
    for number, op, footprint in tape.steps():
        users[storage[number]] += 1
        now += 0 if footprint.in_place else sizes[number]
        if run.training:
            now += footprint.saved_bytes
            kept.update(storage[t] for t in footprint.saves)
        elif run.low and op.kind in WEIGHTED:
            copies += LOW * COUNTS[op.kind](op).params
        peak = max(peak, now + copies + footprint.workspace)
        for tensor in drops[number - first]:
            users[storage[tensor]] -= 1
            if not users[storage[tensor]] and storage[tensor] not in kept:
                now -= sizes[storage[tensor]]
    return copies, peak


def _backward(tape: _Tape, saved: int) -> int:
    """The most bytes alive while gradients go from the last operation to the first.

    Where two gradients of a tensor meet, a third is made of them. Nothing but what autograd keeps
    is left of the forward pass.
    """
    run, sizes, storage, fresh = tape.run, tape.sizes, tape.storage, -1
    uses = Counter(storage[t] for footprint in tape.footprints for t in footprint.saves)
    # The buffer of each tensor's gradient, its bytes, and how many gradients share it.
    losses = {op.inputs[0] for op in tape.graph.ops if op.kind in LOSSES}
    buffers = {t: t for t in tape.graph.outputs if tape.gradients[t] and t not in losses}
    volumes = {t: tape.gradients[t] or 0 for t in buffers}
    shares = Counter(buffers.values())
    now = peak = saved + sum(volumes.values())

    def make(size: int) -> int:
        nonlocal fresh, now
        fresh -= 1
        volumes[fresh], shares[fresh] = size, 0
        now += size
        return fresh

    def release(buffer: int) -> None:
        nonlocal now
        shares[buffer] -= 1
        now -= 0 if shares[buffer] else volumes[buffer]

    for number, op, footprint in reversed(tape.steps()):
        own = buffers.pop(number, None)
        if own is None and op.kind not in LOSSES:
            continue
        gradients = []
        for tensor in op.inputs:
            size = tape.gradients[tensor]
            if size is None:
                continue
            passes = own is not None and (footprint.in_place or tensor in footprint.passes)
            buffer = own if passes and own is not None else make(size)
            shares[buffer] += 1
            gradients.append((tensor, buffer, size))
        params = COUNTS[op.kind](op).params if op.kind in COUNTS else 0
        low = LOW * params if run.low and op.kind in WEIGHTED else 0
        peak = max(peak, now + footprint.backward_workspace + (low or FULL * params))
        now += FULL * params - footprint.saved_bytes
        for kept in {storage[t] for t in footprint.saves}:
            uses[kept] -= sum(storage[t] == kept for t in footprint.saves)
            now -= 0 if uses[kept] else sizes[kept]
        if own is not None:
            release(own)
        peak = max(peak, now + low)  # the weight's gradient is cast
        for tensor, buffer, size in gradients:
            if tensor not in buffers:
                buffers[tensor] = buffer
                continue
            total = make(size)
            shares[total] += 1
            peak = max(peak, now)
            release(buffer)
            release(buffers[tensor])
            buffers[tensor] = total
    return peak


@lru_cache(maxsize=10_000)
def lifetimes(graph: Graph) -> tuple[tuple[int, ...], ...]:
    """For each operation the tensors that Python lets go of once it is done.

    A module holds what it is called with until it returns: paths of names say which operations are
    one call. Inputs of the block and its outoutputslive it.
    """
    first = len(graph.inputs)
    paths = [tuple(op.name.split(".")[:-1]) for op in graph.ops]
    last = list(range(-first, len(graph.ops)))  # operation after which each tensor is let go of
    for index, op in enumerate(graph.ops):
        for tensor in op.inputs:
            made = paths[tensor - first] if tensor >= first else ()
            last[tensor] = max(last[tensor], _end_of_call(paths, index, made))
    for tensor, module in graph.held:
        scope = tuple(module.split(".")) if module else ()
        last[tensor] = max(last[tensor], _end(paths, max(0, tensor - first), scope))
    drops: list[list[int]] = [[] for _ in graph.ops]
    for tensor in range(first, first + len(graph.ops)):
        if tensor not in graph.outputs:
            drops[last[tensor]].append(tensor)
    return tuple(map(tuple, drops))


def _end_of_call(paths: list[tuple[str, ...]], index: int, made: tuple[str, ...]) -> int:
    """The last operation of the outermost module call around `index` that `made` is outside of."""
    path = paths[index]
    for depth in range(1, len(path) + 1):
        if made[:depth] != path[:depth]:
            return _end(paths, index, path[:depth])
    return index


def _end(paths: list[tuple[str, ...]], index: int, scope: tuple[str, ...]) -> int:
    """The last operation in a row from `index` on that runs within `scope`."""
    while index + 1 < len(paths) and paths[index + 1][: len(scope)] == scope:
        index += 1
    return index


def _footprint(op: Op, run: Run, sizes: list[int]) -> Footprint:
    rule = FOOTPRINTS.get(op.kind)
    if rule is None or (op.kind in LOSSES and not run.training):
        return Footprint()
    return rule(op, run, sizes)


def _conv(op: Op, run: Run, sizes: list[int]) -> Footprint:
    x = op.inputs[0]
    # Images are float32: autocast makes a copy of them.
    image = run.unit * op.source.values if sizes[x] > run.unit * op.source.values else 0
    if not run.training:
        return Footprint(workspace=image)
    weight = LOW * op.weights if run.low else 0
    return Footprint(saves=() if image else op.inputs, saved_bytes=image + weight)


def _batch_norm(op: Op, run: Run, sizes: list[int]) -> Footprint:
    return Footprint(saves=op.inputs, saved_bytes=2 * FULL * op.output.width)


def _group_norm(op: Op, run: Run, sizes: list[int]) -> Footprint:
    return Footprint(saves=op.inputs, saved_bytes=2 * FULL * op.groups * run.batch)


def _activation(op: Op, run: Run, sizes: list[int]) -> Footprint:
    if not run.training:
        return Footprint(in_place=True)
    if op.function == "relu":  # its backward reads its output, so that it works in place
        return Footprint(saves=op.inputs, in_place=True, backward_workspace=sizes[op.inputs[0]])
    return Footprint(saves=op.inputs)


def _multiply(op: Op, run: Run, sizes: list[int]) -> Footprint:
    # The gradient of the shares is a sum over a product as large as the map.
    return Footprint(saves=op.inputs, backward_workspace=sizes[op.inputs[0]])


def _add(op: Op, run: Run, sizes: list[int]) -> Footprint:
    if not run.training:
        return Footprint(in_place=True)
    if op.function:  # one factor for each image says which branches are dropped
        return Footprint(saved_bytes=run.batch * run.value_bytes, passes=op.inputs[:1])
    return Footprint(passes=op.inputs)


def _passing(op: Op, run: Run, sizes: list[int]) -> Footprint:
    return Footprint(passes=op.inputs)  # the gradient is a view of the output's


def _max_pool(op: Op, run: Run, sizes: list[int]) -> Footprint:
    indices = _INDEX * run.batch * op.output.values
    if not run.training:
        return Footprint(workspace=indices)
    return Footprint(saves=op.inputs, saved_bytes=indices)


def _dropout(op: Op, run: Run, sizes: list[int]) -> Footprint:
    if not run.training:
        return Footprint(in_place=True)
    return Footprint(saved_bytes=sizes[op.inputs[0]])


def _fuse(op: Op, run: Run, sizes: list[int]) -> Footprint:
    if op.function == "sum":
        return Footprint(passes=op.inputs)
    return Footprint(saves=op.inputs, backward_workspace=sizes[op.inputs[0]])


def _cross_entropy(op: Op, run: Run, sizes: list[int]) -> Footprint:
    logits = FULL * run.batch * op.source.values
    return Footprint(saved_bytes=logits, backward_workspace=logits)


def _focal_loss(op: Op, run: Run, sizes: list[int]) -> Footprint:
    logits = FULL * run.batch * op.source.values
    block = min(FULL * _LOSS_BLOCK, logits // run.batch)
    # Logits in low precision are made float32, and so is their gradient.
    return Footprint(
        saved_bytes=logits,
        workspace=(logits - LOW * run.batch * op.source.values) * run.low + 2 * block,
        backward_workspace=logits * run.low,
    )


def _box_loss(op: Op, run: Run, sizes: list[int]) -> Footprint:
    return Footprint(backward_workspace=FULL * run.batch * op.source.values)


WEIGHTED = ("conv", "linear")  # what autocast runs in low precision, with copies of weights
LOSSES = ("cross_entropy", "focal_loss", "box_loss")

# Kinds that are not here take nothing beside their output, and keep nothing; a sigmoid keeps its
# output, which the product with it keeps anyway.
FOOTPRINTS: dict[str, Callable[[Op, Run, list[int]], Footprint]] = {
    "conv": _conv,
    "linear": _conv,
    "batch_norm": _batch_norm,
    "group_norm": _group_norm,
    "activation": _activation,
    "multiply": _multiply,
    "add": _add,
    "mean": _passing,
    "concat": _passing,
    "max_pool": _max_pool,
    "dropout": _dropout,
    "fuse": _fuse,
    "cross_entropy": _cross_entropy,
    "focal_loss": _focal_loss,
    "box_loss": _box_loss,
}
