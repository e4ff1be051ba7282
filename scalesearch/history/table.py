"""Trials as a table: one row each, every phase, for `trials.csv` and for figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from scalesearch.cost.limits import worst
from scalesearch.history.trials import COSTS, FATE, OBJECTIVES, PLACES, TIMES, Trial

# Columns of studies that measure latency; the tables of others go without.
_TIMED = ("latency", "predicted_latency")
_SCORED = "weights_of"  # of studies with test images
_COUNTED = ("peak_memory", "micro_batch")  # of trials on GPUs


def table(phases: Mapping[str, Sequence[Trial]]) -> pd.DataFrame:
    """The trials of each phase in order of number; whatever a phase does not have is empty."""
    every = [(phase, trial) for phase, trials in phases.items() for trial in trials]
    values = max((len(trial.objective) for _, trial in every), default=1)
    scores = [name for _, trial in every for name in trial.scores]
    parameters = [name for _, trial in every for name in trial.parameters]
    rows = [_row(*one) for one in every]
    timed = [name for name in _TIMED if any(row.get(name) is not None for row in rows)]
    costs = [name for name in COSTS if name not in _TIMED or name in timed]
    columns = [*FATE, *OBJECTIVES[: max(values, 1)], *scores, *costs, *parameters, *TIMES]
    frame = pd.DataFrame(rows, columns=list(dict.fromkeys(columns)))
    whole = [name for name in dict.fromkeys(parameters) if _is_whole(name, every)]
    counted = [name for name in _COUNTED if frame[name].notna().any()]
    unknown = [n for n in (*PLACES, _SCORED) if not frame[n].notna().any()]
    frame = frame.drop(columns=unknown)
    whole = ["reused_from", "attempts", *whole, *counted]
    frame[whole] = frame[whole].astype("Int64")
    return frame


def _is_whole(name: str, every: Sequence[tuple[str, Trial]]) -> bool:
    """Whether a parameter has whole numbers only: gaps would turn 3 into 3.0."""
    values = (trial.parameters[name] for _, trial in every if name in trial.parameters)
    return all(type(value) is int for value in values)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _row(phase: str, trial: Trial) -> dict[str, Any]:
    return {
        "phase": phase,
        "number": trial.number,
        "state": trial.state,
        "reason": trial.reason,
        "digest": trial.digest,
        "reused_from": trial.source,
        "weights_of": trial.weights_of or None,
        **dict(zip(OBJECTIVES, trial.objective, strict=False)),
        **trial.scores,
        **trial.cost.known(),
        "predicted_latency": trial.predicted_latency,
        "violation": worst(trial.violations),
        **trial.parameters,
        "node": trial.where.node or None,
        "device": trial.where.device or None,
        "images_per_second": _rounded(trial.where.images_per_second),
        "peak_memory": trial.where.peak_memory,
        "micro_batch": trial.where.micro_batch,
        "attempts": 1 + len(trial.where.attempts) if trial.was_job else None,
        "seconds": round(trial.seconds, 3),
        "finished": trial.finished,
    }
