"""Jobs that behave as a case wants it, and the outcomes that are reported of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scalesearch import plugins
from scalesearch.arch.published import published
from scalesearch.cost.cost import Cost
from scalesearch.errors import TrialError
from scalesearch.history.jobs import Infeasible, Job, Outcome, Result, Score

NET = published("efficientnet_b0")
COST = Cost(1, 2, 3, 4, 5, 6)

# One behaviour each, by the number of the job.
PLAYS = {
    0: "score", 1: "error", 2: "trial error", 3: "memory", 4: "torch memory",
    5: "exit", 6: "stop at 1", 7: "no score", 8: "stop at 2", 9: "score", 10: "infeasible",
    11: "stop at 2",
}  # fmt: skip


@dataclass
class Play:
    """An `assess` that does what `plays` says for each job and leaves notes in a folder."""

    folder: Path
    plays: dict[int, str]
    array: np.ndarray = field(default_factory=lambda: np.arange(100_000))
    pickled: int = 0

    def __getstate__(self) -> dict[str, object]:
        self.pickled += 1
        return dict(vars(self))

    def prepare(self, threads: int) -> None:
        self.note("prepared", f"{os.getpid()} {threads}")

    def note(self, name: str, text: str) -> None:
        with (self.folder / name).open("a") as file:
            file.write(text + "\n")

    def __call__(self, job: Job) -> Generator[Score, None, Result | Infeasible]:
        act = self.plays[job.number]
        self.note(f"tries-{job.number}", str(os.getpid()))
        values: dict[str, object] = {
            "pid": os.getpid(),
            "writeable": self.array.flags.writeable,
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        }
        if act == "infeasible":
            return Infeasible(COST, 0.5)
        if act != "no score":
            yield Score(1, {"accuracy": 0.25})
        if act in FAULTS:
            FAULTS[act](self.folder / f"tries-{job.number}")
        try:
            yield Score(2, {"accuracy": 0.5})
        finally:
            self.note(f"closed-{job.number}", "")
        if act == "unpicklable":
            values["lock"] = threading.Lock()
        return Result(values | {"accuracy": 0.5}, COST, 0.0)


def _raise(error: BaseException) -> Callable[[Path], None]:
    def act(tries: Path) -> None:
        raise error

    return act


def _die_once(tries: Path) -> None:
    if len(tries.read_text().split()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)


FAULTS: dict[str, Callable[[Path], None]] = {
    "error": _raise(ValueError("no such layer")),
    "trial error": _raise(TrialError("loss is nan in epoch 2")),
    "memory": _raise(MemoryError()),
    "torch memory": _raise(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")),
    "exit": _raise(SystemExit(3)),
    "die": lambda _: os._exit(1),
    "die once": _die_once,
    "hang": lambda _: time.sleep(600),
}


@dataclass
class Run:
    """A run and all outcomes that were reported in it."""

    play: Play
    outcomes: list[tuple[int, Outcome]] = field(default_factory=list)

    def of(self, number: int) -> Outcome:
        return dict(self.outcomes)[number]

    def results(self) -> list[Result]:
        return [outcome for _, outcome in self.outcomes if isinstance(outcome, Result)]

    def notes(self, name: str) -> list[str]:
        path = self.play.folder / name
        return path.read_text().splitlines() if path.exists() else []


def job(number: int) -> Job:
    return Job("search", number, NET, seed=number)


def run(executor, folder: Path, plays: dict[int, str]) -> Run:
    """Runs the plays; `keep` stops a job at the step that its play names."""
    ended = Run(Play(folder, plays))
    numbers = iter(plays)

    def ask() -> Job | None:
        number = next(numbers, None)
        return None if number is None else job(number)

    executor.run(
        ask,
        ended.play,
        lambda job, score: plays[job.number] != f"stop at {score.step}",
        lambda job, outcome: ended.outcomes.append((job.number, outcome)),
    )
    return ended


def make(name: str, **options):
    workers = {} if name == "serial" else {"workers": 2}
    return plugins.load("executors", name)(**workers, **options)


def gone(pids: list[int]) -> bool:
    """Whether these processes end within a few seconds."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and any(map(_alive, pids)):
        time.sleep(0.05)
    return not any(map(_alive, pids))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
