"""Trials as a table: one row each, every phase, for `trials.csv` and for figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from scalesearch.cost.limits import worst
from scalesearch.history.trials import Trial

# Columns that differ when the same study is run again; they stand last.
TIMES = ("seconds", "finished")


def table(phases: Mapping[str, Sequence[Trial]]) -> pd.DataFrame:
    """The trials of each phase in order of number; whatever a phase does not have is empty."""
    rows = [_row(phase, trial) for phase, trials in phases.items() for trial in trials]
    frame = pd.DataFrame(rows)
    if frame.empty:
        return pd.DataFrame(columns=["phase", "number", "state", *TIMES])
    frame["reused_from"] = frame["reused_from"].astype("Int64")
    return frame[[c for c in frame.columns if c not in TIMES] + list(TIMES)]


def _row(phase: str, trial: Trial) -> dict[str, Any]:
    names = ("objective", "objective_2")
    return {
        "phase": phase,
        "number": trial.number,
        "state": trial.state,
        "reason": trial.reason,
        "digest": trial.digest,
        "reused_from": trial.source,
        **dict(zip(names, trial.objective, strict=False)),
        **trial.scores,
        **asdict(trial.cost),
        "excess": worst(trial.excess),
        **trial.parameters,
        "seconds": round(trial.seconds, 3),
        "finished": trial.finished,
    }
