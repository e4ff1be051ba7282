"""What travels between the loop, an executor and a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from scalesearch.arch.detector import Architecture
from scalesearch.cost.cost import Cost


@dataclass(frozen=True, slots=True)
class Job:
    """One architecture to be assessed: what a worker needs besides the data.

    Attributes:
        phase: one of `PHASES` of scalesearch.history.trials.
        number: of the trial within its phase.
        architecture: to build and to score.
        seed: every random draw of this trial comes from it.
        keep_weights: whether the result carries the trained weights.
    """

    phase: str
    number: int
    architecture: Architecture
    seed: int
    keep_weights: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """What is known of a trial after `step` (an epoch, from 1).

    Attributes:
        values: metric name to value.
        detections_json: with a detector's last score, its detections in the validation images, as
            a COCO results file.
    """

    step: int
    values: Mapping[str, float]
    detections_json: bytes | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A trial assessed to its end.

    Attributes:
        values: the last score's metrics, such as accuracy (a share from 0 to 1).
        cost: as measured on the built model.
        seconds: build, measuring and training on the worker.
        weights: the trained weights as a safetensors file, if the job asked for them.
        detections_json: of a detector, as in `Score`, if the job asked for its weights.
    """

    values: Mapping[str, float]
    cost: Cost
    seconds: float
    weights: bytes | None = None
    detections_json: bytes | None = None


@dataclass(frozen=True, slots=True)
class Infeasible:
    """A trial that its worker measured to be over its limits, and did not train.

    Attributes:
        cost: with what only a worker measures: the latency.
        seconds: build and measuring on the worker.
    """

    cost: Cost
    seconds: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """A trial that a stopping rule ended early; `score` is its last."""

    score: Score


@dataclass(frozen=True, slots=True)
class Failure:
    """A trial that gave no result.

    Attributes:
        kind: `error`, `memory`, `timeout` (over its deadline), `died` (its worker died), or
            `user` (a mistake in the settings that shows on a worker: it ends the run).
        reason: one or a few lines for the reader of the record.
    """

    kind: str
    reason: str


Outcome = Result | Infeasible | Stopped | Failure


def seed_for(study_seed: int, phase: str, number: int, purpose: str = "trial") -> int:
    """The seed (31 bits) of one draw: the same for the same study, phase and trial, always."""
    text = f"{study_seed}/{phase}/{number}/{purpose}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
