"""What a detector's neck adds to sums: at the maps that feed it, and in each of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from scalesearch.arch.detector_walk import Frame, Map, fuse, project
from scalesearch.arch.neck import outputs
from scalesearch.arch.op import Size
from scalesearch.cost.memory import COPY, FULL, Setting
from scalesearch.cost.recorder import Recorder
from scalesearch.cost.sums import Sums
from scalesearch.cost.tally import Tally, tally
from scalesearch.cost.tape import backward_peaks, forward_peak

Kept = tuple[bool, ...]  # of the maps of each level: backward keeps them for what made them


@lru_cache(maxsize=100_000)
def tap(
    frame: Frame, number: int, of: Map, sizes: tuple[Size, ...], last: bool, setting: Setting
) -> tuple[Sums, Setting]:
    """What a map of the backbone is to a neck: kept for it, and projected for each of its uses.

    Args:
        frame: of the neck.
        number: of the map among the levels, from the finest.
        of: its width and size.
        sizes: of each level.
        last: levels above it are made from it.
        setting: of a block behind it.

    Returns:
        What it adds, and the setting of a block behind it.
    """
    width, (rows, columns) = of
    made = last and len(sizes) > number + 1
    uses = sum(number in node.inputs for node in frame.nodes) + made
    ops = project(frame, *of)
    counts = tally(ops * uses)
    copies = sum(COPY * op.weights for op in ops) * uses if setting.value_bytes < FULL else 0
    keeps = bool(ops) or _keeps(frame, number, sizes, made, setting)
    values = setting.value_bytes * width * rows * columns
    sums = Sums(
        *counts,
        copies=copies,
        live=0,
        saved=copies + (setting.training_batch * values if keeps and not setting.kept else 0),
        ahead=0,
        rise=0,
        held=setting.inference_batch * values,
        # When its gradient waits those of its projections' weights have been made.
        waiting=setting.training_batch * values + FULL * counts.params,
    )
    return sums, setting._replace(kept=setting.kept or keeps, tapped=True)


def _keeps(frame: Frame, number: int, sizes: Sequence[Size], made: bool, setting: Setting) -> bool:
    """Whether backward needs a map as wide as the neck for any of its uses."""
    own, start = sizes[number], frame.levels.start
    after = [sizes[node.level - start] for node in frame.nodes if number in node.inputs]
    after += [sizes[number + 1]] if made else []
    smaller = any(size[0] < own[0] or size[1] < own[1] for size in after)
    return (frame.learnt and own in after) or (smaller and not setting.same)


@lru_cache(maxsize=100_000)
def first_layer(
    frame: Frame, narrow: tuple[bool, ...], sizes: tuple[Size, ...], setting: Setting
) -> tuple[Sums, Kept]:
    """The sums of the first layer and of the levels that the backbone lacks, and what is kept.

    Args:
        frame: of the neck.
        narrow: for each map of the backbone whether it is as wide as the neck.
        sizes: of each level.
        setting: its batches, bytes and padding.
    """
    forward = Recorder(frame, setting, train=False)
    taps = [forward.tape.tensor(0, 0) for _ in narrow]
    _run(forward, _levels(forward, taps, narrow, sizes), sizes, narrow)
    live, _ = forward_peak(forward.tape, taps, saving=False)

    step = Recorder(frame, setting, train=True)
    taps = [step.tape.tensor(0, 0) for _ in narrow]
    put_out = _run(step, _levels(step, taps, narrow, sizes), sizes, narrow)
    ahead, saved = forward_peak(step.tape, taps, saving=True)
    early, rise = backward_peaks(step.tape, put_out, set(taps), step.weights)
    memory = (forward.copies, live, saved, ahead, rise, early)
    return _sums(frame, sizes, *memory), _kept(step, put_out)


@lru_cache(maxsize=100_000)
def next_layer(frame: Frame, kept: Kept, sizes: tuple[Size, ...], setting: Setting) -> Sums:
    """The sums of each layer behind the first; `kept` as that returns it, the rest likewise."""
    forward = Recorder(frame, setting, train=False)
    known = [forward.map(size) for size in sizes]
    _run(forward, known, sizes)
    live, _ = forward_peak(forward.tape, known[: len(sizes)], saving=False)

    step = Recorder(frame, setting, train=True)
    known = [step.map(size, counted=not k) for size, k in zip(sizes, kept, strict=True)]
    put_out = _run(step, list(known), sizes)
    ahead, saved = forward_peak(step.tape, known, saving=True)
    early, _ = backward_peaks(step.tape, put_out, (), step.weights)
    return _sums(frame, sizes, forward.copies, live, saved, ahead, 0, early)


def _sums(
    frame: Frame,
    sizes: tuple[Size, ...],
    copies: int,
    live: int,
    saved: int,
    ahead: int,
    rise: int,
    early: int,
) -> Sums:
    """Counts and memory of a layer; autocast's copies of weights are there all along."""
    memory = (copies, copies + live, copies + saved, copies + ahead, copies + rise)
    return Sums(*_counts(frame, sizes), *memory, early=copies + early)


def _counts(frame: Frame, sizes: tuple[Size, ...]) -> Tally:
    """Counts of a layer without projections, which are counted with what they project."""
    nodes, start = frame.nodes, frame.levels.start
    known = [*sizes, *(sizes[node.level - start] for node in nodes)]
    fused = (
        fuse(frame, tuple((frame.width, known[i]) for i in node.inputs), known[number])
        for number, node in enumerate(nodes, start=len(sizes))
    )
    return tally(tuple(op for ops in fused for op in ops))


def _levels(
    run: Recorder, taps: Sequence[int], narrow: Sequence[bool], sizes: Sequence[Size]
) -> list[int]:
    """The maps of every level: those that the backbone lacks are made from the one before."""
    known = list(taps)
    for number in range(len(taps), len(sizes)):
        wide = number == len(taps) and not narrow[-1]
        known.append(_resampled(run, known[-1], wide, sizes[number - 1], sizes[number]))
    return known


def _run(
    run: Recorder, known: list[int], sizes: Sequence[Size], narrow: Sequence[bool] = ()
) -> list[int]:
    """One layer, whose nodes are appended to the maps `known`; what it puts out."""
    frame, before = run.frame, list(sizes)
    for node in frame.nodes:
        size = sizes[node.level - frame.levels.start]
        same = [
            _resampled(run, known[i], i < len(narrow) and not narrow[i], before[i], size)
            for i in node.inputs
        ]
        fused = run.fused(same, size)
        active = run.active(fused)
        bias = frame.norm_bias
        convolved = run.convolved(active, run.separable(frame.width, bias=bias), frame.width, size)
        run.tape.free(active)
        known.append(run.normed(convolved, size))
        # Until its end a node holds the maps that it made for its fusion.
        run.tape.free(*(x for x, i in zip(same, node.inputs, strict=True) if x != known[i]))
        before.append(size)
    return [known[i] for i in outputs(frame.nodes, frame.levels)]


def _resampled(run: Recorder, x: int, wide: bool, before: Size, after: Size) -> int:
    """A map at the width of the neck and the size of a level; `x` stays."""
    narrow = run.projected(x, before) if wide else x
    made = run.resized(narrow, before, after)
    if narrow not in (x, made):
        run.tape.free(narrow)
    return made


def _kept(run: Recorder, put_out: Sequence[int]) -> Kept:
    kept = run.tape.kept
    return tuple(x in kept for x in put_out)
