"""What a detector's heads and its loss add to sums."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce

from scalesearch.arch.detector_walk import Frame, walk_head
from scalesearch.arch.op import Size
from scalesearch.cost.memory import FULL, Setting
from scalesearch.cost.neck import Kept
from scalesearch.cost.recorder import Recorder
from scalesearch.cost.sums import NOTHING, Sums, join
from scalesearch.cost.tally import counts_of
from scalesearch.cost.tape import backward_peaks, forward_peak

_BLOCK = 2**18  # logits that the class loss takes at once on a CPU (`nn/losses.py`)


@lru_cache(maxsize=100_000)
def heads(
    frame: Frame,
    depth: int,
    last: tuple[int, int],
    kept: Kept,
    sizes: tuple[Size, ...],
    setting: Setting,
) -> Sums:
    """The sums of both heads and of the loss of what they put out.

    Args:
        frame: as of the neck.
        depth: of each head.
        last: channels that the class head and the box head put out.
        kept: which of the neck's maps backward keeps for what made them.
        sizes: of each level.
        setting: its batches and bytes.
    """
    forward = Recorder(frame, setting, train=False)
    maps = [forward.map(size) for size in sizes]
    found = [_head(forward, maps, sizes, depth, channels) for channels in last]
    copies, (late, _) = forward.copies, forward_peak(forward.tape, maps, saving=False)
    # Once autocast has ended, with its copies of weights, all that is put out is made float32.
    out = sum(forward.tape.sizes[x] for x in found)
    full = out + out // setting.value_bytes * FULL if copies else 0

    step = Recorder(frame, setting, train=True)
    maps = [step.map(size, counted=not k) for size, k in zip(sizes, kept, strict=True)]
    found = [_head(step, maps, sizes, depth, channels) for channels in last]
    step.tape.free(*maps)
    ends = _loss(step, *_full(step, found))
    ahead, saved = forward_peak(step.tape, maps, saving=True)
    early, _ = backward_peaks(step.tape, ends, (), step.weights)
    counts = [
        Sums(*counts_of(part), *NOTHING[7:])
        for channels in last
        for part in walk_head("", frame, depth, channels, sizes)
    ]
    return reduce(join, counts)._replace(
        copies=copies,
        saved=copies + saved,
        ahead=copies + ahead,
        late=copies + late,
        early=copies + early,
        put_out=full,
    )


def _head(
    run: Recorder, maps: Sequence[int], sizes: Sequence[Size], depth: int, channels: int
) -> int:
    """All levels through the same convolutions, the last of them over all pixels at once."""
    frame, tape, width = run.frame, run.tape, run.frame.width
    convs = [run.separable(width, bias=frame.norm_bias) for _ in range(depth)]
    (depthwise, pointwise), found = run.separable(channels, bias=True), list[int]()
    for of, size in zip(maps, sizes, strict=True):
        x = of
        for conv in convs:
            made = run.active(run.normed(run.convolved(x, conv, width, size), size))
            if x != of:
                tape.free(x)
            x = made
        found.append(run.conv(x, depthwise, width, size))
        if x != of:
            tape.free(x)
    pixels = tape.make(found, sum(tape.sizes[x] for x in found), passes=True)
    tape.free(*found)
    every = (1, sum(rows * columns for rows, columns in sizes))
    made = run.conv(pixels, pointwise, channels, every)
    tape.free(pixels)
    return made


def _full(run: Recorder, found: Sequence[int]) -> list[int]:
    """What the heads put out in float32."""
    tape, low = run.tape, run.setting.value_bytes
    if low == FULL:
        return list(found)
    made = [tape.make((x,), tape.sizes[x] // low * FULL) for x in found]
    tape.free(*found)
    return made


def _loss(run: Recorder, logits: int, codes: int) -> tuple[int, int]:
    """The class loss, which keeps its slopes, then the box loss."""
    tape = run.tape
    values = tape.sizes[logits]
    block = min(FULL * _BLOCK, values // run.batch)
    slopes = tape.tensor(values, 0)
    classes = tape.make((logits,), 0, saves=(slopes,), temp=2 * block)
    # The gradient of what was picked is put into zeros: under a dispatch mode, into a copy of them.
    boxes = tape.make((codes,), 0, back=tape.sizes[codes])
    return classes, boxes
