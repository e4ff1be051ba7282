"""Memory of operations that branch: every tensor followed from birth to death, there and back.

A chain of blocks needs no such thing (`training.py`); a detector's neck and heads do, where one map
goes into several fusions. What runs is written on a tape once; forward and backward go along it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Act(NamedTuple):
    """One operation.

    Attributes:
        inputs: tensors and weights that backward gives a gradient to.
        out: the tensor that it makes, or that it works on in place (one of the inputs then).
        saves: tensors that autograd keeps for its backward.
        extra: bytes that autograd keeps beside them.
        temp: bytes that are alive in forward while it runs, beside its output.
        back: the same in backward, beside the gradients.
        passes: the gradients of its inputs are that of its output, and no new tensors.
        frees: tensors that Python lets go of once it is done.
    """

    inputs: tuple[int, ...]
    out: int
    saves: tuple[int, ...] = ()
    extra: int = 0
    temp: int = 0
    back: int = 0
    passes: bool = False
    frees: tuple[int, ...] = ()


@dataclass
class Tape:
    """What runs, in order; bytes of each tensor and of its gradient, by its number."""

    sizes: list[int] = field(default_factory=list)
    gradients: list[int] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)

    def tensor(self, size: int, gradient: int) -> int:
        """The number of a tensor that is there from the start, or is about to be made."""
        self.sizes.append(size)
        self.gradients.append(gradient)
        return len(self.sizes) - 1

    def make(self, inputs: Sequence[int], size: int, **about: object) -> int:
        """Appends an operation that makes a tensor of `size` bytes; its number."""
        return self.work(inputs, self.tensor(size, size), **about)

    def work(self, inputs: Sequence[int], out: int, **about: object) -> int:
        """Appends an operation that puts out `out`, in place if that is among its inputs."""
        self.acts.append(Act(tuple(inputs), out, **about))  # type: ignore[arg-type]
        return out

    def free(self, *tensors: int) -> None:
        """Python lets go of tensors once what is on the tape so far is done."""
        last = self.acts[-1]
        self.acts[-1] = last._replace(frees=(*last.frees, *tensors))

    @property
    def kept(self) -> set[int]:
        """The tensors that autograd keeps."""
        return {tensor for act in self.acts for tensor in act.saves}


def forward_peak(tape: Tape, start: Sequence[int], *, saving: bool) -> tuple[int, int]:
    """Most bytes alive while the tape runs, and bytes that autograd keeps of it (0 without it).

    `start` are the tensors that are there before.
    """
    sizes, held, kept, extra = tape.sizes, set(start), set[int](), 0
    peak = now = sum(sizes[t] for t in held)
    for _, out, saves, more, temp, _, _, frees in tape.acts:
        if out not in held:
            held.add(out)
            now += sizes[out]
        if saving:
            extra += more
            now += more + sum(sizes[t] for t in saves if t not in kept and t not in held)
            kept.update(saves)
        peak = max(peak, now + temp)
        for tensor in frees:
            held.remove(tensor)
            now -= 0 if tensor in kept else sizes[tensor]
    return peak, extra + sum(sizes[t] for t in kept)


def backward_peaks(
    tape: Tape, ends: Sequence[int], taps: Collection[int] = (), weights: int = 0
) -> tuple[int, int]:
    """Most bytes alive in backward before the first gradient of `taps` is made, and from then on.

    Counted with what autograd keeps of the tape, and less `weights`, the bytes of all gradients of
    weights: so what is not made yet counts as negative. The gradients of taps are not counted.

    The engine takes what was made last first. Where two gradients of a tensor meet, a third is
    made of them. Nothing but what autograd keeps is left of forward. `ends` are the tensors whose
    gradients are there from the start.
    """
    sizes, gradients = tape.sizes, tape.gradients
    uses = Counter(t for act in tape.acts for t in act.saves)
    now = sum(sizes[t] for t in uses) + sum(act.extra for act in tape.acts)
    now += sum(gradients[t] for t in ends) - weights
    # Which buffer is each tensor's gradient; several may have one. Its bytes, and how many have it.
    buffers, volumes = {t: t for t in ends}, {t: gradients[t] for t in ends}
    refs, number = dict.fromkeys(ends, 1), -1
    before, behind, reached = now, 0, False
    for inputs, out, saves, extra, _, back, passes, _ in reversed(tape.acts):
        if out not in buffers:
            continue
        own = buffers.pop(out)
        given = []
        for tensor in inputs:
            if tensor in taps:
                reached = True
            elif passes or tensor == out:
                refs[own] += 1
                given.append((tensor, own))
            else:
                refs[number] = 1
                volumes[number] = gradients[tensor]
                now += gradients[tensor]
                given.append((tensor, number))
                number -= 1
        peak = now + back
        uses.subtract(saves)
        now -= extra + sum(sizes[t] for t in saves if not uses[t])
        refs[own] -= 1
        if not refs[own]:
            now -= volumes[own]
        for tensor, buffer in given:
            if tensor in buffers:  # a sum of two is made, and both are gone
                now += gradients[tensor]
                peak = max(peak, now)
                for gone in (buffer, buffers[tensor]):
                    refs[gone] -= 1
                    now -= 0 if refs[gone] else volumes[gone]
                refs[number], volumes[number], buffer = 1, gradients[tensor], number
                number -= 1
            buffers[tensor] = buffer
        if reached:
            behind = max(behind, peak)
        else:
            before = max(before, peak)
    return before, behind
