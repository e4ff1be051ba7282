"""Progress on the command line: bars with an ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from scalesearch.cli.tables import console
from scalesearch.history.jobs import Score
from scalesearch.history.trials import Trial
from scalesearch.study.watch import Watch, describe, summarise
from scalesearch.units import format_seconds

_COUNTED = ("assessed", "stopped", "failed")
_INTERRUPTED = 130  # the shell's exit code for Ctrl-C


def is_terminal() -> bool:
    """Whether results are printed where bars can be drawn."""
    return sys.stdout.isatty()


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Ctrl-C prints this message and ends the command."""
    try:
        yield
    except KeyboardInterrupt:
        print(message)
        raise typer.Exit(_INTERRUPTED) from None


def bars(left: str = "left", on: Console | None = None) -> Progress:
    """Bars with counts, times and a text `news`; `left` is the word before the time left."""
    return Progress(
        TextColumn("[bold]{task.description:<7}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn(left),
        TimeRemainingColumn(),
        TextColumn("{task.fields[news]}"),
        console=on or console(),
    )


@contextmanager
def counting(noun: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Shows how many of all are done: nothing, a bar on a terminal, or lines elsewhere."""
    if quiet:
        yield lambda done, total: None
    elif is_terminal():
        with bars(f"{noun}, left") as display:
            task = display.add_task("", total=None, news="")
            yield lambda done, total: display.update(task, completed=done, total=total)
    else:
        yield _tenths(noun)


def _tenths(noun: str) -> Callable[[int, int], None]:
    """Prints a line for each tenth, with the time that is left at the current pace."""
    start, first, tenth = time.monotonic(), -1, -1

    def report(done: int, total: int) -> None:
        nonlocal first, tenth
        first = done if first < 0 else first
        if 10 * done // total == tenth:
            return
        tenth = 10 * done // total
        left = ""
        if first < done < total:
            pace = (time.monotonic() - start) / (done - first)
            left = f", about {format_seconds(pace * (total - done))} left"
        print(f"{done:,} of {total:,} {noun}{left}", flush=True)

    return report


class Lines(Watch):
    """A line for each finished trial, for log files and pipes."""

    def __init__(self) -> None:
        self._name, self._total, self._done = "", 0, 0

    def phase(self, name: str, trials: int, done: int) -> None:
        self._name, self._total, self._done = name, trials, done
        print(f"{name}: {trials - done} of {trials} trials to go", flush=True)

    def trial(self, trial: Trial) -> None:
        # Trials that are infeasible by arithmetic are too many.
        if trial.state == "running" or (trial.state == "infeasible" and not trial.was_job):
            return
        self._done += trial.state in _COUNTED and trial.source is None
        print(f"{self._name} [{self._done}/{self._total}] {describe(trial)}", flush=True)

    def score(self, trial: Trial, score: Score) -> None:
        pass  # a line for each epoch would hide the rest

    def note(self, text: str) -> None:
        print(text, flush=True)

    def end(self, counts: Mapping[str, int]) -> None:
        print(f"{self._name}: {summarise(counts)}", flush=True)


class Bars(Watch):
    """One bar for each phase, with the best score, the number of infeasible trials and an ETA."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar: Any = None
        self._counts: Counter[str] = Counter()
        self._best = ("", float("-inf"))

    def phase(self, name: str, trials: int, done: int) -> None:
        self._bar = self._progress.add_task(name, total=trials, completed=done, news="")
        self._counts, self._best = Counter(), ("", float("-inf"))

    def trial(self, trial: Trial) -> None:
        if trial.state == "running":
            return
        self._counts[trial.state] += 1
        if trial.state == "assessed" and trial.objective[0] > self._best[1]:
            name, value = next(iter(trial.scores.items()))
            self._best = f"best {name} {value:.4f} (trial {trial.number})", trial.objective[0]
        others = {state: n for state, n in self._counts.items() if state != "assessed"}
        news = "  ".join(filter(None, (self._best[0], summarise(others) if others else "")))
        step = int(trial.state in _COUNTED and trial.source is None)
        self._progress.update(self._bar, advance=step, news=news)
        if trial.state == "failed" and trial.source is None:
            self.note(describe(trial))

    def score(self, trial: Trial, score: Score) -> None:
        pass

    def note(self, text: str) -> None:
        self._progress.console.print(text, markup=False)

    def end(self, counts: Mapping[str, int]) -> None:
        # Fewer trials than planned may be needed, where some share a network.
        task = self._progress.tasks[self._bar]
        self._progress.update(self._bar, total=max(task.completed, 1), news=summarise(counts))
