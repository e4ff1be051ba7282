"""What the commands take on a run folder whose search has 10,000 trials.

The folder is made as a search makes it, but each trial gets made-up scores at once: two thirds are
assessed with three scores each, a few are repeats of others, the rest are over the limit on FLOPs.
One trial is left running, as by a kill. Timed are whole commands, start of the process included:
`scalesearch status`, `scalesearch report`, and `scalesearch run` up to the first new trial.
TPE makes some proposals before the first that is new: how many is in the table.
`python -m tests.benchmarks.large_record` from the repository prints the table.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from optuna.samplers import BaseSampler

from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.executors._options import Options
from scalesearch.files.architecture import save_architecture
from scalesearch.history.jobs import Job, Outcome, Result, Score
from scalesearch.history.ranking import ranked
from scalesearch.history.record import Record, open_storage, read_trials
from scalesearch.interfaces import Assess, Choice, Space
from scalesearch.samplers._whole_space import Proposals
from scalesearch.study.context import Context
from scalesearch.study.folder import RunFolder, opened
from scalesearch.study.inputs import searched_space
from scalesearch.study.load import load_study, resolved
from scalesearch.study.loop import Listener, Loop
from scalesearch.study.watch import Watches
from tests.fakes import write_study

TRIALS, SCORES = 10_000, 3
JOURNAL = "record.journal"
SPACE = Path(__file__).parents[2] / "search_spaces" / "mnasnet_imagenet.yaml"
LIMITS = {"flops": {"max": "420M"}}  # a quarter of the space's networks are over it
REPEAT_EVERY = 10
INTERRUPTED = 130
# Seconds that a command may take, and the megabytes of the page.
GOALS = {"status": 2.0, "report": 20.0} | {
    f"continue, {sampler}": 10.0 for sampler in ("random", "tpe", "predictor")
}
PAGE_MEGABYTES = 8.0


def rows(trials: int = TRIALS) -> list[dict[str, Any]]:
    """One row for each command, then the sizes of the record and of the page."""
    with tempfile.TemporaryDirectory() as place:
        folder = fill(Path(place) / "random", trials, "random")
        # The report comes first: it writes the trials.csv that the other commands read as well.
        timed = [timing("report", seconds("report", str(folder.path)))]
        timed.append(timing("status", seconds("status", str(folder.path))))
        for sampler in ("random", "tpe", "predictor"):
            timed.append(continued(folder, Path(place) / "next" / sampler, sampler))
        page, record = (_megabytes(folder.path / "report.html"), _megabytes(folder.record))
    return [
        *timed,
        {"what": "report.html, MB", "value": page, "goal": PAGE_MEGABYTES},
        {"what": "record.journal, MB", "value": record},
    ]


def timing(command: str, value: float) -> dict[str, Any]:
    """One line of the table: the seconds of a command."""
    return {"what": f"{command}, s", "value": value, "goal": GOALS[command]}


def fill(place: Path, trials: int, sampler: str) -> RunFolder:
    """A run folder whose search has so many trials, the last of them still running."""
    file = _study_file(place, sampler, trials)
    study, folder = load_study(file), RunFolder(place / "run")
    assert study.search is not None
    with opened(folder, resolved(study), file.read_text()):
        storage = open_storage(folder.record, repair=True)
        context = Context(study, folder, storage, Watches(()))
        space, _ = searched_space(study, context.data)
        others: Any = {"proposals": trials, "limits": study.search.limits}
        evaluator: Any = study.search.evaluator.make()
        plan = context.plan("search", space, Uniform(), evaluator, trials=trials, **others)
        record = Record(storage, plan.phase, space.parameters, plan.objective.directions)
        _search(Loop(plan, record, Listener()), plan.workload)
        best = ranked(record.trials.values())[0]
        save_architecture(folder.path / "baseline.yaml", space.decode(best.parameters), {})
    return folder


def _search(loop: Loop, workload: Workload) -> None:
    """Tells made-up results until the record is full."""
    while (job := loop.ask()) is not None:
        spent = cost(job.architecture, workload=workload)
        # More FLOPs, better score, with the scatter that trainings have.
        scatter = np.random.default_rng(job.seed).normal(0, 0.01)
        top = 0.9 - 0.1 * (1e8 / spent.flops) ** 0.5 + scatter
        for step in range(1, SCORES + 1):
            loop.keep(job, Score(step, {"accuracy": top * step / SCORES}))
        if loop.record.next_number >= loop.plan.proposals:
            return
        loop.tell(job, Result({"accuracy": top, "loss": 1 - top}, spent, 60.0))


def continued(folder: RunFolder, place: Path, sampler: str) -> dict[str, Any]:
    """The line of a run up to the first new trial of a search with this sampler."""
    file, run_folder = _study_file(place, sampler, TRIALS), place / "run"
    run_folder.mkdir()
    for kept in (folder.record, folder.path / "trials.csv"):
        shutil.copy(kept, run_folder)
    options = ["--folder", str(run_folder), "--quiet"]
    row = timing(f"continue, {sampler}", seconds("run", str(file), *options, expected=INTERRUPTED))
    storages = [open_storage(each, repair=False) for each in (folder.record, run_folder / JOURNAL)]
    before, after = (len(read_trials(storage, "search")) for storage in storages)
    return row | {"proposals": after - before}


def seconds(*arguments: str, expected: int = 0) -> float:
    """Seconds of a command of scalesearch, which must end with this exit code."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "scalesearch", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != expected:
        raise RuntimeError(f"{arguments[0]} ended with {done.returncode}: {done.stderr}")
    return time.perf_counter() - start


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """Each network of the whole space is equally likely, but every tenth is one of before."""

    def make(self, space: Space, seed: int, limits: Limits, workload: Workload) -> BaseSampler:
        def propose(number: int) -> dict[str, Choice]:
            repeats = number % REPEAT_EVERY == REPEAT_EVERY - 1
            draws = np.random.default_rng(number // 2 if repeats else number)
            return space.encode(space.at(space.tables(workload).uniform(1, draws)[0]))

        return Proposals(space, propose)


@dataclass(frozen=True, kw_only=True)
class FirstNewTrial(Options):
    """Interrupts a run as soon as a trial is handed out that no earlier run had."""

    def run(
        self,
        ask: Callable[[], Job | None],
        assess: Assess,
        keep: Callable[[Job, Score], bool],
        tell: Callable[[Job, Outcome], None],
    ) -> None:
        ask()  # the trial that was interrupted
        assert ask() is not None
        raise KeyboardInterrupt


def _study_file(place: Path, sampler: str, trials: int) -> Path:
    place.mkdir(parents=True)
    search = {"space": str(SPACE), "sampler": sampler, "trials": trials, "limits": LIMITS}
    execution = {"executor": "tests.benchmarks.large_record:FirstNewTrial", "workers": 2}
    return write_study(place, without=("grid", "family"), search=search, execution=execution)


def _megabytes(file: Path) -> float:
    return file.stat().st_size / 1e6


if __name__ == "__main__":
    from tests.benchmarks.__main__ import table

    table("large_record", rows())
