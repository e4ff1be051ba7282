"""What travels between the loop, an executor and a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scalesearch.arch.detector import Architecture
from scalesearch.cost.cost import Cost
from scalesearch.history.fidelity import WHOLE_EPOCHS, Schedule


@dataclass(frozen=True, slots=True)
class Job:
    """One architecture to be assessed: what a worker needs besides the data.

    Attributes:
        phase: one of `PHASES` of scalesearch.history.trials.
        number: of the trial within its phase.
        architecture: to build and to score.
        seed: every random draw of this trial comes from it.
        keep_weights: whether the result carries the trained weights.
        pauses: epochs after which it may be ended to go on later, and needs a checkpoint.
        length: what the epochs of the evaluator are multiplied with.
        schedule: how much of its images each epoch takes.
        weights: that the network begins with, as a safetensors file; None for random ones.
    """

    phase: str
    number: int
    architecture: Architecture
    seed: int
    keep_weights: bool = False
    pauses: tuple[int, ...] = ()
    length: float = 1.0
    schedule: Schedule = WHOLE_EPOCHS
    weights: bytes | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where an evaluator keeps what it needs to go on with a trial that was cut off.

    Attributes:
        phase: of the trial.
        number: of the trial within its phase.
        folder: of this trial alone, which may not be there yet; the same in every attempt, on every
            worker that sees it, and removed once the trial is finished. None keeps nothing.
        every: epochs from one checkpoint to the next; None for as few as cost next to nothing.
        pauses: epochs with a checkpoint in any case.
    """

    phase: str
    number: int
    folder: Path | None = None
    every: int | None = None
    pauses: tuple[int, ...] = ()


def scratch_name(phase: str, number: int) -> str:
    """The name of a trial's folder among those of its study."""
    return f"{phase}-{number}"


@dataclass(frozen=True, slots=True)
class Score:
    """What is known of a trial after `step` (an epoch, from 1).

    Attributes:
        values: metric name to value.
        detections_json: with a detector's last score, its detections in the validation images, as
            a COCO results file.
        images_per_second: of the training steps, where the evaluator knows it.
        notes: what the evaluator has to say to the user, in sentences; shown once.
    """

    step: int
    values: Mapping[str, float]
    detections_json: bytes | None = None
    images_per_second: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try at a trial that its machine ended, and not its network.

    Attributes:
        node: the machine's name.
        reason: kind and text of the failure.
    """

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a trial ran, and what it took there.

    Attributes:
        node: name of the machine, of the last attempt.
        device: name of the GPU or the processor.
        images_per_second: of its training steps.
        peak_memory: bytes of the GPU's memory that were taken at most.
        device_memory: bytes that the GPU has.
        micro_batch: images at once in a training step, where the batch had to be divided.
        attempts: the tries before, which a machine ended.
    """

    node: str = ""
    device: str = ""
    images_per_second: float | None = None
    peak_memory: int | None = None
    device_memory: int | None = None
    micro_batch: int | None = None
    attempts: tuple[Attempt, ...] = ()


NOWHERE = Whereabouts()


@dataclass(frozen=True, slots=True)
class Result:
    """A trial assessed to its end.

    Attributes:
        values: the last score's metrics, such as accuracy (a share from 0 to 1).
        cost: as measured on the built model.
        seconds: build, measuring and training on the worker.
        weights: the trained weights as a safetensors file, if the job asked for them.
        detections_json: of a detector, as in `Score`, if the job asked for its weights.
        where: it ran.
    """

    values: Mapping[str, float]
    cost: Cost
    seconds: float
    weights: bytes | None = None
    detections_json: bytes | None = None
    where: Whereabouts = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Infeasible:
    """A trial that its worker measured to be over its limits, and did not train.

    Attributes:
        cost: with what only a worker measures: the latency.
        seconds: build and measuring on the worker.
        where: it ran.
    """

    cost: Cost
    seconds: float
    where: Whereabouts = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Stopped:
    """A trial that a stopping rule ended early; `score` is its last."""

    score: Score
    where: Whereabouts = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """A trial that gave no result.

    Attributes:
        kind: the network's own: `error`, or `memory` (it does not fit); `timeout` (over its
            deadline), which may be either's; the machine's: `machine` (a disk, a network, a
            library of the system), `device` (a GPU that is of no use to its process any more),
            `died` (the worker's process ended) or `lost` (its node went away); or `user` (a mistake
            in the settings that shows on a worker: it ends the run).
        reason: one or a few lines for the reader of the record.
        where: it ran.
    """

    kind: str
    reason: str
    where: Whereabouts = field(default=NOWHERE, compare=False)

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


Outcome = Result | Infeasible | Stopped | Failure


def seed_for(study_seed: int, phase: str, number: int, purpose: str = "trial") -> int:
    """The seed (31 bits) of one draw: the same for the same study, phase and trial, always."""
    text = f"{study_seed}/{phase}/{number}/{purpose}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
