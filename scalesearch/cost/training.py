"""Memory of a block in a training step: what autograd saves, and what is alive beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from scalesearch.arch.op import Op
from scalesearch.cost.memory import COPY, FULL, INDEX, Setting, padded


class Trained(NamedTuple):
    """Bytes that a training step holds of one block for all images of the batch.

    Attributes:
        saved: what autograd keeps of it.
        ahead: most bytes alive in its forward pass, beside what earlier blocks saved, wherever
            that can be more than in backward.
        rise: most bytes that its backward has alive, beside what earlier blocks saved and later
            blocks have as gradients of weights. Gradients of the block's own weights count as
            negative until they are made, so that `saved before + rise - gradients before`, summed
            with the gradients of the whole network, is the peak.
    """

    saved: int
    ahead: int
    rise: int


# What one operation does, its norm and its activation left out, in bytes: what autograd keeps for
# it; the most that its backward has alive beside what was saved before; what forward holds
# although autograd does not.
_Step = tuple[int, int, int]


def training(ops: tuple[Op, ...], setting: Setting) -> tuple[Trained, Setting]:
    """Follows a block's operations forward with gradients, and back.

    Operations made later run first in backward: a projection before the branch, where its gradient
    waits for that of the branch. The gradient of an identity shortcut is the one that the branch
    begins with, and waits as long.

    Returns what the block holds, and the setting of the one behind it.
    """
    _, batch, value, _, _, in_place, _, blocks, kept, tapped = setting
    unit = batch * value
    meet, shared, waiting = _shortcut(ops, setting)
    saved = ahead = rise = undone = waits = held = 0
    if tapped and ops:  # of the gradient that the neck has made and the block's own a sum is made
        rise = 2 * unit * ops[0].values_in
    outer = (0, False)  # of squeeze-excite: what waits outside, and whether its input is kept
    for op in ops:
        kind, _, _, outputs, _, (height, width), _, _, _, norm, active, counted, _, aside, _ = op
        out, made = unit * outputs * height * width, 0
        if op is meet:
            waits = waiting
        elif aside:
            waits, held = out, held + out  # the gradient of the branch; its output
        if kind == "conv" or kind == "linear":
            meets = op is meet and waits > 0
            saves, alive, loose, made = _layer(op, setting, kept, op is shared, meets)
        else:
            if kind == "pool" and not counted:
                outer, waits = (waits, kept), unit * op.values_in + (waits if op is not meet else 0)
            elif kind == "gate":
                waits, kept = outer
            elif kind == "add":
                waits = 0
            saves, alive, loose = _STEPS[kind](op, setting, kept)
        top = saved + alive + waits - undone
        if top > rise:
            rise = top
        saved += saves
        undone += made
        if norm:
            saved += out + 2 * FULL * outputs
            top = saved + (out if op is shared and not active else 2 * out) + waits - undone
            if top > rise:
                rise = top
            undone += 2 * FULL * outputs
        if active:
            saved += out
            top = saved + (out if op is shared else 2 * out) + waits - undone
            if top > rise:
                rise = top
        kept = in_place and active
        if held or loose:
            ahead = max(ahead, saved + held + loose + (0 if kept else out))
            held = loose if op is meet else held
    if blocks < 2 or kept != setting.kept or (tapped and ops):
        tapped = tapped and not ops
        setting = setting._replace(blocks=min(2, blocks + 1), kept=kept, tapped=tapped)
    return Trained(saved, ahead, rise), setting


def _shortcut(ops: tuple[Op, ...], setting: Setting) -> tuple[Op | None, Op | None, int]:
    """How the input reaches the end of a block beside the branch.

    Returns the operation that takes in what the shortcut takes too, or else the first; that whose
    backward works on a gradient which also waits for another; and the bytes that wait for the
    branch, 0 without a shortcut.
    """
    if not ops or setting.blocks == 0:
        return None, None, 0
    if ops[-1].kind != "add":
        return ops[0], None, 0
    last = ops[-2]
    meet = ops[1] if last.aside and ops[0].kind == "norm" else ops[0]
    # A branch that can be dropped begins with a gradient of its own.
    shared = None if setting.drop_path and setting.blocks == 2 else last
    if setting.tapped:  # each gradient of the input is added to the neck's, which waits anyway
        return None, shared, 0
    values = last.values_in if last.aside else last.values_out
    return meet, shared, setting.training_batch * setting.value_bytes * values


def _layer(
    op: Op, setting: Setting, kept: bool, shared: bool, meets: bool
) -> tuple[int, int, int, int]:
    """The step of a convolution or linear layer, and bytes of the gradients of its parameters."""
    (
        _,
        _,
        inputs,
        outputs,
        (rows, columns),
        (height, width),
        kernel,
        groups,
        bias,
        norm,
        active,
        _,
        stride,
        aside,
        _,
    ) = op
    _, batch, value, _, same, _, _, blocks, _, _ = setting
    into = gradient = batch * value * inputs * rows * columns
    weights = outputs * (inputs // groups * kernel * kernel)
    parameters = weights + outputs if bias else weights
    # Autograd keeps the input, unless something else keeps it already.
    saves = 0 if kept or aside else into
    later = loose = 0
    if stride > 1 and same:
        saves, gradient, later, loose = _padding(op, setting, kept)
    elif blocks == 0:
        saves, gradient = into if value < FULL else 0, 0
    alive = saves + gradient
    if norm or active or not shared:
        alive += batch * value * outputs * height * width
    if value < FULL:
        # The weight is kept in low precision too, as its gradient is made before it is cast.
        copy, less = COPY * weights, COPY * parameters  # less than gradients in float32
        later = max(later, (0 if meets and not later else gradient) + 2 * copy - less)
        alive = max(alive + copy, 2 * into if meets else 0) - less
        saves += copy
    elif meets and alive < 2 * into:  # a sum is made of two gradients, one of which has waited
        alive = 2 * into
    return saves, alive if alive > later else later, loose, FULL * parameters


def _padding(op: Op, setting: Setting, kept: bool) -> tuple[int, int, int, int]:
    """For a convolution that is padded by an operation of its own, in bytes: what autograd keeps,
    the gradient of that, both gradients of the padding, and what forward holds beside.
    """
    unit = setting.training_batch * setting.value_bytes
    values = padded(op)
    if setting.blocks:
        into = unit * op.values_in
        loose = 0 if kept or op.aside else into
        return unit * values, unit * values, unit * values + into, loose
    # Of the padded image autocast makes a copy: it is gone before norm and activation come.
    image = FULL * setting.training_batch * values if setting.value_bytes < FULL else 0
    behind = (2 - setting.in_place) * op.norm * unit * op.values_out
    return unit * values, 0, 0, max(0, image - behind)


def _norm(op: Op, setting: Setting, kept: bool) -> _Step:
    # What it takes in is added with its statistics, as for a norm behind a convolution.
    return -setting.training_batch * setting.value_bytes * op.values_in if kept else 0, 0, 0


def _pool(op: Op, setting: Setting, kept: bool) -> _Step:
    unit = setting.training_batch * setting.value_bytes
    into, out = unit * op.values_in, setting.training_batch * setting.sum_bytes * op.values_out
    if op.counted:  # the mean's backward spreads it
        return 0, into + out, 0 if kept else into
    # A sum's backward makes nothing of its own unless it has to cast, but two gradients meet.
    return 0, 2 * into if setting.sum_bytes > setting.value_bytes else into + out, 0


def _gate(op: Op, setting: Setting, kept: bool) -> _Step:
    unit = setting.training_batch * setting.value_bytes
    out, weights = unit * op.values_out, unit * op.inputs
    saves = weights + (0 if kept else out)
    # Gradients of output, input and of every pixel's weight, of which a sum is made.
    summed = weights if op.values_in > op.inputs else 0
    return saves, saves + 3 * out + summed, weights


def _add(op: Op, setting: Setting, kept: bool) -> _Step:
    unit = setting.training_batch * setting.value_bytes
    drops = setting.drop_path and setting.blocks == 2
    # One end of the shortcut, which is gone before an activation with an output of its own.
    loose = 0 if op.active and not setting.in_place else unit * op.values_out
    return unit if drops else 0, 0, loose


def _dropout(op: Op, setting: Setting, kept: bool) -> _Step:
    return setting.training_batch * setting.value_bytes * op.values_out, 0, 0


def _max_pool(op: Op, setting: Setting, kept: bool) -> _Step:
    unit = setting.training_batch * setting.value_bytes
    into, out = unit * op.values_in, unit * op.values_out
    places = INDEX * setting.training_batch * op.values_out
    if setting.same:
        source = unit * padded(op)
        saves = source + places
        return saves, max(saves + source + out, source + into), 0 if kept else into
    saves = places + (0 if kept else into)
    return saves, saves + out + into, 0


def _cut(op: Op, setting: Setting, kept: bool) -> _Step:
    unit = setting.training_batch * setting.value_bytes
    into, out = unit * op.values_in, unit * op.values_out
    alive = into + out
    if op.stride > 1:
        # First the channels come back, then the columns, then the rows.
        (height, width), columns = op.size_out, op.size_in[1]
        left, wide = (unit * op.inputs * height * side for side in (width, columns))
        alive = max(left + out, left + wide, wide + into)
    return 0, alive, 0 if kept else into


_STEPS: dict[str, Callable[[Op, Setting, bool], _Step]] = {
    "norm": _norm,
    "pool": _pool,
    "gate": _gate,
    "add": _add,
    "dropout": _dropout,
    "max_pool": _max_pool,
    "cut": _cut,
}
