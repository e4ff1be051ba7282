"""Progress of a study: bars with an ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from scalesearch.history.jobs import Score
from scalesearch.history.trials import Trial
from scalesearch.study.watch import describe, summarise

_COUNTED = ("assessed", "stopped", "failed")


class Lines:
    """A line for each finished trial, as it suits a log file or a pipe."""

    def __init__(self) -> None:
        self._name, self._total, self._done = "", 0, 0

    def phase(self, name: str, trials: int, done: int) -> None:
        """The name of the phase and what lies ahead."""
        self._name, self._total, self._done = name, trials, done
        print(f"{name}: {trials - done} of {trials} trials to go", flush=True)

    def trial(self, trial: Trial) -> None:
        """What came of a trial; nothing for those that cost nothing or go on."""
        if trial.state == "running" or (trial.state == "infeasible" and not trial.was_job):
            return
        self._done += trial.state in _COUNTED and trial.source is None
        print(f"{self._name} [{self._done}/{self._total}] {describe(trial)}", flush=True)

    def score(self, trial: Trial, score: Score) -> None:
        """Nothing: a line for each epoch would drown the rest."""

    def note(self, text: str) -> None:
        """The sentence."""
        print(text, flush=True)

    def end(self, counts: Mapping[str, int]) -> None:
        """The sum."""
        print(f"{self._name}: {summarise(counts)}", flush=True)


class Bars:
    """One bar for each phase, with the best score so far, what was infeasible, and an ETA."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description:<7}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[news]}"),
            console=console,
        )
        self._bar: Any = None
        self._counts: Counter[str] = Counter()
        self._best = ""
        self._top = float("-inf")

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def phase(self, name: str, trials: int, done: int) -> None:
        """A new bar."""
        self._bar = self._progress.add_task(name, total=trials, completed=done, news="")
        self._counts, self._best, self._top = Counter(), "", float("-inf")

    def trial(self, trial: Trial) -> None:
        """Moves the bar on."""
        if trial.state == "running":
            return
        self._counts[trial.state] += 1
        if trial.state == "assessed" and trial.objective[0] > self._top:
            self._top = trial.objective[0]
            name, value = next(iter(trial.scores.items()))
            self._best = f"best {name} {value:.4f} (trial {trial.number})"
        step = int(trial.state in _COUNTED and trial.source is None)
        rest = {state: n for state, n in self._counts.items() if state not in ("assessed",)}
        news = "  ".join(part for part in (self._best, summarise(rest) if rest else "") if part)
        self._progress.update(self._bar, advance=step, news=news)
        if trial.state == "failed" and trial.source is None:
            self.note(describe(trial))

    def score(self, trial: Trial, score: Score) -> None:
        """Nothing: the bar counts trials."""

    def note(self, text: str) -> None:
        """The sentence, above the bars."""
        self._progress.console.print(text, markup=False)

    def end(self, counts: Mapping[str, int]) -> None:
        """Fills the bar, also where fewer trials were needed: some share a network."""
        task = self._progress.tasks[self._bar]
        self._progress.update(self._bar, total=max(task.completed, 1), news=summarise(counts))


def is_terminal() -> bool:
    """Whether bars can be drawn where results are printed."""
    return sys.stdout.isatty()
