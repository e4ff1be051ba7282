"""The data of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from scalesearch.arch.detector import Architecture
from scalesearch.arch.table_row import TableRow
from scalesearch.cost.limits import Limits
from scalesearch.history.agreement import Agreement
from scalesearch.history.confirmed import Confirmation
from scalesearch.history.drift import Drift
from scalesearch.history.pareto import front
from scalesearch.history.points import REPEAT, Point
from scalesearch.report.learned import Learned
from scalesearch.report.tasks import WORDINGS, Wording
from scalesearch.scaling.detector import Scaling
from scalesearch.scaling.family import Member
from scalesearch.scaling.response import Response


@dataclass(frozen=True)
class Detections:
    """Detections of one network in the validation images.

    Attributes:
        name: of the network: `baseline`, `compound_phi1`.
        phase, number: of its trial.
        path: of a COCO results file.
    """

    name: str
    phase: str
    number: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A study's results as plain values; what a study does not have yet is left out.

    Attributes:
        name: of the study.
        task: `classification` or `detection`.
        trials: one row per trial of every phase, with the columns of `trials.csv`.
        rankings: phase to the numbers of its trials, best first, as `history.ranking.ranked`
            orders them.
        metric: column of `trials` that is drawn; higher is better.
        objective: what the search maximised, in words.
        limits: phase to the limits of its candidates.
        baseline: the network that was scaled.
        baseline_trial: its number in the search; None when it was given.
        learned: what a model of the search's results says.
        confirmation: how sure it is among the candidates that were trained several times.
        doubt: what is not known of a baseline that was not confirmed, in words.
        coefficients: the winner of the grid, or those that were given.
        members: the networks of the family.
        detections: of the networks whose weights are kept.
        truth: the validation images and their objects as a COCO file, with paths of the image
            files.
        deployment: what latency was measured for, in words; empty if it was not measured.
        points: networks of the grid with whole trainings, the winner first.
        surface: through all trainings of the grid.
        surface_lines: what can be concluded from it, in sentences.
        no_surface: why there is none.
        spent: whole trainings that the rounds of the grid add up to, and how many there would be
            without; None of a grid that was trained without rounds.
        seen: phase to what its trainings saw of the data until which epoch, in words; without
            phases that saw all of it.
        drift: what longer trainings and larger phi say of the grid's leaders.
        agreement: of predicted and measured latencies, if both are known.
        environment: versions, seed, machine.
        study_text: the study with every default, as YAML.
        exports: paths of exported networks, relative to the run folder.
        notes: sentences for the reader.
        data_notes: what is to be said of the data set, in sentences.
        test_images: how many there are; None where a study keeps none for the end.
    """

    name: str
    task: str = "classification"
    trials: pd.DataFrame
    rankings: Mapping[str, Sequence[int]] = field(default_factory=dict)
    metric: str = "accuracy"
    objective: str = "accuracy"
    limits: Mapping[str, Limits] = field(default_factory=dict)
    baseline: Architecture | TableRow | None = None
    baseline_trial: int | None = None
    confirmation: Confirmation | None = None
    learned: Learned | None = None
    doubt: str = ""
    coefficients: Scaling | None = None
    points: Sequence[Point] = ()
    surface: Response | None = None
    surface_lines: Sequence[str] = ()
    no_surface: str = ""
    spent: tuple[float, float, int] | None = None
    seen: Mapping[str, str] = field(default_factory=dict)
    drift: Drift | None = None
    members: Sequence[Member] = ()
    detections: Sequence[Detections] = ()
    truth: Path | None = None
    deployment: str = ""
    agreement: Agreement | None = None
    environment: Mapping[str, object] = field(default_factory=dict)
    study_text: str = ""
    exports: Sequence[str] = ()
    notes: Sequence[str] = ()
    data_notes: Sequence[str] = ()
    test_images: int | None = None

    @property
    def wording(self) -> Wording:
        """The words of the study's task."""
        return WORDINGS[self.task]

    def phase(self, name: str) -> pd.DataFrame:
        """The rows of one phase, in the order of their numbers."""
        if "phase" not in self.trials:
            return self.trials.iloc[:0]
        rows = self.trials[self.trials["phase"] == name]
        return rows.sort_values("number", kind="stable")

    def in_state(self, phase: str, *states: str) -> pd.DataFrame:
        """The rows of one phase in one of these states."""
        rows = self.phase(phase)
        return rows[rows["state"].isin(states)] if "state" in rows else rows

    def scored(self, phase: str) -> pd.DataFrame:
        """The rows of one phase that have the metric and a cost."""
        rows = self.in_state(phase, "assessed", "reused")
        if self.metric not in rows or "flops" not in rows:
            return rows.iloc[:0]
        rows = rows[rows[self.metric].notna() & (rows["flops"] > 0)]
        if phase != "grid" or REPEAT not in rows:
            return rows
        # Of a network that was trained several times the first row, with the mean of all.
        first = rows[rows[REPEAT].fillna(0) == 0]
        return first.assign(**{self.metric: [self.mean(row) for _, row in first.iterrows()]})

    def front(self, phase: str, cost: str = "flops") -> pd.DataFrame:
        """The scored rows that no other beats in metric and in a cost, cheapest first."""
        rows = self.scored(phase)
        if rows.empty or cost not in rows:
            return rows.iloc[:0]
        rows = rows[rows[cost].notna()]
        points = list(zip(rows[self.metric], rows[cost], strict=True))
        return rows.iloc[front(points, ("maximize", "minimize"))].sort_values(cost, kind="stable")

    def ranking(self, phase: str) -> pd.DataFrame:
        """The scored rows with a result of their own, best first: each network once."""
        rows = self.scored(phase)
        if rows.empty:
            return rows
        rows = rows.set_index("number", drop=False)
        return rows.loc[[number for number in self.rankings.get(phase, ()) if number in rows.index]]

    def baseline_row(self) -> pd.Series | None:
        """The baseline's trial: of the search, or the family's member of phi 0."""
        if self.baseline_trial is not None:
            rows = self.scored("search")
            rows = rows[rows["number"] == self.baseline_trial]
        else:
            rows = self.scored("family")
            rows = rows[rows["phi"] == 0] if "phi" in rows else rows.iloc[:0]
        return None if rows.empty else rows.iloc[0]

    def test_score(self, row: pd.Series) -> float:
        """The metric of a row's network on the test images; not a number if it was not scored."""
        rows = self.scored("test")
        rows = rows[rows["digest"] == row.get("digest")] if "digest" in rows else rows.iloc[:0]
        return float("nan") if rows.empty else float(rows.iloc[0][self.metric])

    def reported(self) -> pd.DataFrame:
        """The rows whose networks are reported: of the family, or of the baseline without one."""
        rows = self.scored("family")
        if not rows.empty:
            return rows
        tested = self.scored("test")
        for phase in ("confirm", "search"):
            rows = self.ranking(phase)
            if "digest" in rows and "digest" in tested:
                own = rows[rows["digest"].isin(tested["digest"])]
                if not own.empty:
                    return own.iloc[:1]
        return rows.iloc[:0]

    def mean(self, row: pd.Series) -> float:
        """The metric of a row of the grid, the mean of its network's trainings."""
        point = next((p for p in self.points if p.first.digest == row.get("digest")), None)
        return float(row[self.metric] if point is None else point.mean)

    def coefficient_names(self) -> list[str]:
        """The coefficients that the grid's scored rows have."""
        rows = self.scored("grid")
        names = [name for name in self.wording.coefficients if name in rows]
        return [name for name in names if rows[name].notna().any()]
