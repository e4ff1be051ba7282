"""The events of a study for those who watch it, and the log that is always written."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scalesearch.history.jobs import Score
from scalesearch.history.trials import STATES, Trial, overall
from scalesearch.units import format_count, format_latency, format_seconds


class Watch(Protocol):
    """Something that shows progress: a terminal, a log, a notebook."""

    def phase(self, name: str, trials: int, done: int) -> None:
        """A phase begins: how many trials it assesses, and how many it has already."""

    def trial(self, trial: Trial) -> None:
        """A trial was handed out (`running`) or finished."""

    def score(self, trial: Trial, score: Score) -> None:
        """A running trial has a score."""

    def note(self, text: str) -> None:
        """A sentence for the reader."""

    def end(self, counts: Mapping[str, int]) -> None:
        """The phase is over: how many trials are in each state."""


@dataclass(frozen=True)
class Log(Watch):
    """Lines with their time in `log.txt`; none for trials that are infeasible without a worker."""

    path: Path

    def phase(self, name: str, trials: int, done: int) -> None:
        self.note(f"{name}: {trials} trials to assess, {done} there already")

    def trial(self, trial: Trial) -> None:
        if trial.state != "infeasible" or trial.was_job:
            self.note(describe(trial))

    def score(self, trial: Trial, score: Score) -> None:
        self.note(f"trial {trial.number} step {score.step}: {_numbers(score.values)}")

    def note(self, text: str) -> None:
        time = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{time} {text}\n")

    def end(self, counts: Mapping[str, int]) -> None:
        self.note(summarise(counts))


@dataclass(frozen=True)
class Watches(Watch):
    """Several that watch the same study; each gets every event."""

    all: Sequence[Watch]

    def phase(self, name: str, trials: int, done: int) -> None:
        for watch in self.all:
            watch.phase(name, trials, done)

    def trial(self, trial: Trial) -> None:
        for watch in self.all:
            watch.trial(trial)

    def score(self, trial: Trial, score: Score) -> None:
        for watch in self.all:
            watch.score(trial, score)

    def note(self, text: str) -> None:
        for watch in self.all:
            watch.note(text)

    def end(self, counts: Mapping[str, int]) -> None:
        for watch in self.all:
            watch.end(counts)


@contextmanager
def heard(watch: Watch) -> Iterator[None]:
    """Passes on what executors log: a worker that was replaced, a node that is left out."""
    logger = logging.getLogger("scalesearch")
    handler, level = _Notes(watch), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Notes(logging.Handler):
    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.INFO)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        self._watch.note(record.getMessage())


def describe(trial: Trial) -> str:
    """One line on a trial: `trial 7 assessed: accuracy 0.9412, 1.21 M flops, 4.2 s`."""
    head = f"trial {trial.number} {trial.state}"
    flops = [f"{format_count(trial.cost.flops)} flops"] if trial.cost.flops else []
    if trial.state in ("failed", "infeasible"):
        return f"{head}: {trial.reason}"
    if trial.state == "running":
        return ": ".join([head, *flops])
    source = f" of trial {trial.source}" if trial.source is not None else ""
    latency = trial.cost.latency
    parts = [_numbers(trial.scores), *flops]
    parts += [] if latency is None else [f"latency {format_latency(latency)}"]
    parts += [format_seconds(trial.seconds)] if trial.seconds else []
    return f"{head}{source}: {', '.join(parts)}"


def summarise(counts: Mapping[str, int]) -> str:
    """`24 assessed, 31 infeasible, 2 reused`."""
    states = [*STATES[1:], STATES[0]]  # `running` last
    return ", ".join(f"{counts[s]} {s}" for s in states if counts.get(s)) or "no trials"


def _numbers(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in overall(values).items())
