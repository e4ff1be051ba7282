"""`scalesearch status` and `report`: what a run folder holds."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from scalesearch.cli.tables import print_table
from scalesearch.history.ranking import ranked
from scalesearch.history.trials import Trial
from scalesearch.study.folder import PHASES, RunFolder, existing, is_running
from scalesearch.study.latency import agreement_of
from scalesearch.study.results import report
from scalesearch.study.watch import describe, summarise


def show_status(path: Path, as_json: bool) -> None:
    """Prints each phase's trials by state, and the best so far."""
    folder = existing(path)
    phases = folder.read()
    if as_json:
        print(json.dumps(_plain(folder, phases), indent=2))
        return
    active = "running now" if is_running(folder) else "not running"
    print(f"{folder.settings['name']} in {folder.path}: {active}")
    rows = []
    for phase in PHASES:
        if folder.settings.get(phase):
            trials = phases.get(phase, [])
            best = _best(trials)
            rows.append((phase, summarise(_counts(trials)), describe(best) if best else ""))
    print_table("", ("phase", "trials", "best so far"), rows)
    agreed = agreement_of(phases.get("search", []))
    if agreed is not None:
        print(f"latency: predicted against measured, {agreed}")
    every = [trial for trials in phases.values() for trial in trials]
    if failed := [trial for trial in every if trial.state == "failed"]:
        print(f"last failure: {describe(failed[-1])}")
    if (folder.path / "report.html").exists():
        print(f"report: {folder.path / 'report.html'}")


def make_report(path: Path) -> None:
    """Draws the report anew and says where it is."""
    written = report(existing(path))
    print(f"{len(written)} files; the page is {written[-1]}")


def _plain(folder: RunFolder, phases: dict[str, list[Trial]]) -> dict[str, object]:
    plain: dict[str, object] = {"name": folder.settings["name"], "running": is_running(folder)}
    for phase, trials in phases.items():
        best = _best(trials)
        plain[phase] = {
            **_counts(trials),
            "best": None
            if best is None
            else {"trial": best.number, "scores": dict(best.scores), "flops": best.cost.flops},
        }
    if (agreed := agreement_of(phases.get("search", []))) is not None:
        plain["latency"] = asdict(agreed)
    return plain


def _counts(trials: list[Trial]) -> Counter[str]:
    return Counter(trial.state for trial in trials)


def _best(trials: list[Trial]) -> Trial | None:
    return next(iter(ranked(trials)), None)
