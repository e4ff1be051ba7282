"""What a report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import pandas as pd

from scalesearch.arch.detector import Architecture
from scalesearch.cost.limits import Limits
from scalesearch.history.pareto import front
from scalesearch.history.ranking import Candidate, ranking
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import DetectorCoefficients, Scaling
from scalesearch.scaling.family import Member

SCORED = ("assessed", "reused")


@dataclass(frozen=True)
class Found:
    """What one network found in the validation images.

    Attributes:
        name: of the network: `baseline`, `compound_phi1`.
        phase, number: of its trial.
        file: a COCO results file.
    """

    name: str
    phase: str
    number: int
    file: Path


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A study's results as plain values; whatever a study has not got yet is left out.

    Attributes:
        name: of the study.
        task: `classification` or `detection`.
        trials: one row per trial of every phase, with the columns of `trials.csv`.
        metric: column of `trials` that is drawn and ranked, more being better.
        objective: what the search maximised, in words.
        limits: phase to the limits that its candidates had to meet.
        baseline: the network that was scaled.
        baseline_trial: its number in the search; None when it was given.
        coefficients: the winner of the grid.
        members: the networks of the family.
        found: what networks found in the validation images, of those whose weights were kept.
        truth: those images and their objects as a COCO file, with paths of the image files.
        deployment: that latency was measured for, in words; empty if it was not.
        environment: versions, seed, machine.
        study_text: the study with every default, as YAML.
        exports: paths of written networks, relative to the run folder.
        notes: sentences for the reader.
    """

    name: str
    task: str = "classification"
    trials: pd.DataFrame
    metric: str = "accuracy"
    objective: str = "accuracy"
    limits: Mapping[str, Limits] = field(default_factory=dict)
    baseline: Architecture | None = None
    baseline_trial: int | None = None
    coefficients: Scaling | None = None
    members: Sequence[Member] = ()
    found: Sequence[Found] = ()
    truth: Path | None = None
    deployment: str = ""
    environment: Mapping[str, object] = field(default_factory=dict)
    study_text: str = ""
    exports: Sequence[str] = ()
    notes: Sequence[str] = ()

    def phase(self, name: str) -> pd.DataFrame:
        """The rows of one phase, in the order of their numbers."""
        if "phase" not in self.trials:
            return self.trials.iloc[:0]
        rows = self.trials[self.trials["phase"] == name]
        return rows.sort_values("number", kind="stable")

    def in_state(self, phase: str, *states: str) -> pd.DataFrame:
        """The rows of one phase that ended in one of the states."""
        rows = self.phase(phase)
        return rows[rows["state"].isin(states)] if "state" in rows else rows

    def scored(self, phase: str) -> pd.DataFrame:
        """The rows of one phase that have the metric and a cost."""
        rows = self.in_state(phase, *SCORED)
        if self.metric not in rows or "flops" not in rows:
            return rows.iloc[:0]
        return rows[rows[self.metric].notna() & (rows["flops"] > 0)]

    def front(self, phase: str, cost: str = "flops") -> pd.DataFrame:
        """The scored rows that no other beats in metric and in a cost, cheapest first."""
        rows = self.scored(phase)
        rows = rows[rows[cost].notna()] if cost in rows else rows.iloc[:0]
        if rows.empty:
            return rows
        points = list(zip(rows[self.metric], rows[cost], strict=True))
        chosen = front(points, ("maximize", "minimize"))
        return rows.iloc[chosen].sort_values(cost, kind="stable")

    def ranking(self, phase: str) -> pd.DataFrame:
        """The rows of the different networks, best first: the order that chose the winners."""
        rows = self.scored(phase)
        if rows.empty:
            return rows
        columns = (rows[name] for name in ("state", self.value(rows), "flops", "number"))
        candidates = [
            Candidate(state=state, value=value, flops=flops, number=number)
            for state, value, flops, number in zip(*columns, strict=True)
        ]
        return rows.iloc[ranking(candidates)]

    def value(self, rows: pd.DataFrame) -> str:
        """The column that was maximised: the objective, or the metric where it is a front."""
        single = "objective" in rows and rows["objective"].notna().all()
        pair = "objective_2" in rows and rows["objective_2"].notna().any()
        return "objective" if single and not pair else self.metric

    def baseline_row(self) -> pd.Series | None:
        """The baseline's trial: of the search, or the family's member of phi 0."""
        if self.baseline_trial is not None:
            rows = self.scored("search")
            rows = rows[rows["number"] == self.baseline_trial]
        else:
            rows = self.scored("family")
            rows = rows[rows["phi"] == 0] if "phi" in rows else rows.iloc[:0]
        return None if rows.empty else rows.iloc[0]

    def coefficient_names(self) -> list[str]:
        """The coefficients that the grid's scored rows have; one that never varies may lack."""
        kind = DetectorCoefficients if self.task == "detection" else Coefficients
        rows = self.scored("grid")
        names = [each.name for each in fields(kind) if each.name in rows]
        return [name for name in names if rows[name].notna().any()]

    def winner(self) -> pd.Series | None:
        """The grid's trial of the winning coefficients."""
        rows, names = self.ranking("grid"), self.coefficient_names()
        if self.coefficients is None or not names:
            return None
        for name in names:
            rows = rows[(rows[name] - getattr(self.coefficients, name)).abs() < 1e-6]
        return None if rows.empty else rows.iloc[0]
