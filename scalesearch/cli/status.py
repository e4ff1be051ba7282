"""`scalesearch status` and `report`: the contents of a run folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scalesearch.cli.tables import print_table, shown_score
from scalesearch.files.strict import load_yaml
from scalesearch.history.confirmed import Candidate, confirmed
from scalesearch.history.final_scores import FinalScores, final_scores
from scalesearch.history.ranking import ranked
from scalesearch.history.trials import PHASES, Trial, overall
from scalesearch.scaling.detector import COEFFICIENT_NAMES
from scalesearch.study.doubt import doubt
from scalesearch.study.folder import RunFolder, existing, is_running
from scalesearch.study.latency import agreement_of
from scalesearch.study.watch import describe, summarise


def show_status(path: Path, as_json: bool) -> None:
    """Prints each phase's trials by state, and the best so far."""
    folder = existing(path)
    settings, running, phases = folder.settings, is_running(folder), folder.read()
    name = settings["name"]
    counts = {phase: Counter(trial.state for trial in trials) for phase, trials in phases.items()}
    best = {phase: _best(trials) for phase, trials in phases.items()}
    agreement = agreement_of(phases.get("search", []))
    confirmation, scored = confirmed(phases), final_scores(phases)
    failed = [t for trials in phases.values() for t in trials if t.state == "failed"]
    if as_json:
        summary: dict[str, Any] = {"name": name, "running": running}
        summary |= {phase: {**counts[phase], "best": _describe(best[phase])} for phase in phases}
        if scored:
            del summary["test"]["best"]  # nothing is chosen by these
            summary["test"] |= {"networks": [_plain_test(one) for one in scored]}
        if confirmation is not None:
            summary["confirm"] |= {"candidates": [_plain(c) for c in confirmation.candidates]}
        summary |= {"failures": _causes(failed)} if failed else {}
        summary |= {} if agreement is None else {"latency": asdict(agreement)}
        print(json.dumps(summary, indent=2))
        return
    print(f"{name} in {folder.path}: {'running now' if running else 'not running'}")
    rows = [
        (phase, summarise(counts.get(phase, {})), describe(trial) if trial else "")
        for phase, trial in ((phase, best.get(phase)) for phase in PHASES)
        if _asked_for(settings, phase)
    ]
    if "test" in phases:
        rows.append(("test", summarise(counts["test"]), "nothing is chosen by these scores"))
    print_table("", ("phase", "trials", "best so far"), rows)
    if scored:
        metric = folder.objective.metric
        pairs = [
            (one.name, *(shown_score(each.scores, metric) for each in (one.chosen, one.test)))
            for one in scored
        ]
        print_table("test", ("network", metric, f"test {metric}"), pairs)
    if words := doubt(settings) if confirmation is None else confirmation.sentence:
        print(f"baseline: {words}")
    if words := _coefficients(folder):
        print(f"coefficients: {words}")
    if agreement is not None:
        print(f"latency: predicted against measured, {agreement}")
    if failed:
        causes = ", ".join(f"{n} {cause}" for cause, n in _causes(failed).most_common())
        print(f"failures: {causes}; the last was {describe(failed[-1])}")
        print("`scalesearch run STUDY --retry-failed` tries them again")
    if again := sum(len(t.where.attempts) for trials in phases.values() for t in trials):
        print(f"attempts that a machine ended, made again: {again}")
    if (folder.path / "report.html").exists():
        print(f"report: {folder.path / 'report.html'}")


def _asked_for(settings: Mapping[str, Any], phase: str) -> bool:
    """Whether a study has a phase; those that confirm are keys of the sections before them."""
    owners = {"confirm": "search", "grid_confirm": "grid"}
    if phase in owners:
        return bool((settings.get(owners[phase]) or {}).get("confirm"))
    return bool(settings.get(phase))


def _coefficients(folder: RunFolder) -> str:
    """The chosen coefficients with their intervals: `alpha 1.2 [1.00, 1.41], beta 1.1`."""
    file = folder.path / "coefficients.yaml"
    if not file.exists():
        return ""
    plain = load_yaml(file).plain
    intervals = plain.get("interval", {})
    numbers = folder.coefficients.file_entries()
    parts = []
    for name in (each for each in numbers if each in COEFFICIENT_NAMES):
        low, high = intervals.get(name, (None, None))
        interval = "" if low is None else f" [{low:.2f}, {high:.2f}]"
        parts.append(f"{name.replace('_', ' ')} {numbers[name]:.4g}{interval}")
    return ", ".join(parts)


def _causes(failed: list[Trial]) -> Counter[str]:
    return Counter(trial.cause for trial in failed)


def make_report(path: Path) -> None:
    """Draws the report again and prints where it is."""
    from scalesearch.study.results import report  # loads torch, which the status does without

    paths = report(existing(path))
    print(f"{len(paths)} files; the page is {paths[-1]}")


def _best(trials: list[Trial]) -> Trial | None:
    return next(iter(ranked(trials)), None)


def _plain(candidate: Candidate) -> dict[str, object]:
    mean = candidate.mean if candidate.trainings else None
    return {
        "trial": candidate.trial.number,
        "trainings": len(candidate.trainings),
        "mean": mean,
        "standard_error": candidate.error,
        "probability": candidate.probability,
        "flops": candidate.trial.cost.flops,
    }


def _plain_test(one: FinalScores) -> dict[str, object]:
    scores, test = overall(one.chosen.scores), overall(one.test.scores)
    return {"network": one.name, "scores": scores, "test_scores": test}


def _describe(trial: Trial | None) -> dict[str, object] | None:
    if trial is None:
        return None
    return {"trial": trial.number, "scores": dict(trial.scores), "flops": trial.cost.flops}
