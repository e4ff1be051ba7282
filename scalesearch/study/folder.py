"""The run folder: where everything of one study lies, and who may write there."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.arch.detector import Architecture
from scalesearch.errors import UserError
from scalesearch.files.architecture import load_architecture, load_network
from scalesearch.files.strict import load_yaml
from scalesearch.files.write import UNSUPPORTED, format_yaml, write_text
from scalesearch.history.confirmed import Confirmation, confirmed
from scalesearch.history.objective import METRICS, Objective
from scalesearch.history.record import open_storage, read_trials
from scalesearch.history.trials import PHASES, Trial, is_of_class
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import DetectorCoefficients, Scaling
from scalesearch.scaling.family import Member, is_strategy
from scalesearch.study.parts import read_objective
from scalesearch.text import printable, shortened

if TYPE_CHECKING:
    import pandas as pd
    from optuna.storages import JournalStorage

# Settings that say how a study is carried out, not what it finds: they may change between runs.
_FREE = ("execution", "export")
_FREE_WITHIN = {"cache": ("folder",), "evaluator": ("loaders",)}
# Of the files in `family/`.
_MEMBER = re.compile(r"(?P<strategy>[a-z_0-9.]+)_phi(?P<phi>-?\d+(\.\d+)?(e[-+]?\d+)?)\.yaml")


@dataclass(frozen=True)
class RunFolder:
    """A study's folder: results as values, files by name.

    `ss.load_study("runs/quickstart").baseline` and so on; nothing is read before it is asked for.
    """

    path: Path

    @property
    def record(self) -> Path:
        """The journal of every trial."""
        return self.path / "record.journal"

    @property
    def settings(self) -> Mapping[str, Any]:
        """The study with every default filled in.

        Raises:
            UserError: it is damaged.
        """
        file = self.path / "resolved.yaml"
        plain = load_yaml(file).plain
        search = plain.get("search")
        wrong = [] if isinstance(plain.get("name"), str) else ["name"]
        wrong += [] if search is None or isinstance(search, dict) else ["search"]
        if wrong:
            raise UserError(
                "this is not what the run wrote",
                key=wrong[0],
                file=str(file),
                hint="remove it, and run the study again: nothing is trained anew",
            )
        return plain

    @property
    def baseline(self) -> Architecture:
        """The network that the search found, or that the study named.

        Of a search among rows of a table it is a `TableRow`.
        """
        network: Architecture = load_network(self._needed("baseline.yaml"))
        return network

    @property
    def coefficients(self) -> Scaling:
        """The winner of the grid, or what the study named."""
        kind = DetectorCoefficients if self.task == "detection" else Coefficients
        return kind.load(self._needed("coefficients.yaml"))

    @property
    def task(self) -> str:
        """`classification` or `detection`."""
        return str(self.settings.get("task", "classification"))

    @property
    def family(self) -> tuple[Member, ...]:
        """Every member, by phi, the compound one first."""
        members = []
        for file in sorted((self.path / "family").glob("*_phi*.yaml")):
            if file.name.startswith("."):  # what a Mac leaves beside files on other disks
                continue
            name = _MEMBER.fullmatch(file.name)
            word = "" if name is None else name["strategy"]
            known = is_strategy(word) or word in self._lines
            if name is None or not known or not file.is_file() or not isfinite(float(name["phi"])):
                raise UserError(
                    "this is no member of the family",
                    file=printable(str(file)),
                    allowed="STRATEGY_phiNUMBER.yaml, as the run writes them",
                    hint="move it elsewhere",
                )
            members.append(Member(name["strategy"], float(name["phi"]), load_architecture(file)))
        return tuple(sorted(members, key=lambda m: (m.phi, m.strategy != "compound", m.strategy)))

    @property
    def _lines(self) -> Collection[str]:
        """The names of the lines that the study lists."""
        if not (self.path / "resolved.yaml").is_file():
            return ()
        lines: Collection[str] = (self.settings.get("family") or {}).get("lines") or ()
        return lines

    @property
    def objective(self) -> Objective:
        """What the search maximised; where there was none, what all phases are ranked by."""
        search = self.settings.get("search") or {}
        return read_objective(search.get("objective", METRICS[self.task]), Path())

    @property
    def trials(self) -> pd.DataFrame:
        """Every recorded trial of every phase, one row each."""
        from scalesearch.history.table import table

        return table(self.read())

    @property
    def confirmation(self) -> Confirmation | None:
        """How sure it is that the baseline is the best candidate; None if none was confirmed."""
        return confirmed(self.read())

    @property
    def data(self) -> Mapping[str, Any]:
        """What users of the weights must know of the data set: classes, mean and std."""
        file = self._needed("data.json")
        plain = load_json(file)
        lists = ("classes", "mean", "std", "notes")
        if wrong := [key for key in lists if not isinstance(plain.get(key, []), list)]:
            hint = "remove it, and run the study again: nothing is trained anew"
            raise UserError("this is no list", key=wrong[0], file=str(file), hint=hint)
        return plain

    @property
    def test_images(self) -> int | None:
        """How many images are kept for the end; None if none are, or the run has not read any."""
        images = self.data.get("images") if (self.path / "data.json").exists() else None
        count = images.get("test") if isinstance(images, dict) else None
        return count if isinstance(count, int) else None

    def read(self, storage: JournalStorage | None = None) -> dict[str, list[Trial]]:
        """The trials of each phase that has begun, straight from the record.

        `storage` is the record where it is open already; a long one takes seconds to open.

        Raises:
            UserError: the record is damaged, or lacks finished trials that `trials.csv` has.
        """
        listed = self._listed()  # before the record, which may grow while it is read
        every: dict[str, list[Trial]] = {}
        if self.record.exists():
            storage = storage or open_storage(self.record, repair=False)
            try:
                every = {phase: read_trials(storage, phase) for phase in PHASES}
            except UserError as error:
                raise error.at(file=str(self.record)) from None
        self._require_all(every, listed)
        return {phase: trials for phase, trials in every.items() if trials}

    def _listed(self) -> list[tuple[str, int, str]]:
        """Phase, number and state of each trial in `trials.csv`; nothing if it is damaged."""
        try:
            with (self.path / "trials.csv").open(newline="", encoding="utf-8") as lines:
                return [
                    (row["phase"], int(row["number"]), row["state"])
                    for row in csv.DictReader(lines)
                ]
        except (OSError, ValueError, KeyError, TypeError, csv.Error):
            return []  # it is written anew from the record

    def _require_all(
        self, every: Mapping[str, Sequence[Trial]], rows: Sequence[tuple[str, int, str]]
    ) -> None:
        """Rejects a record that has lost finished trials, which only `trials.csv` shows."""
        known = {(phase, trial.number): trial for phase in every for trial in every[phase]}
        lost = [
            f"{phase} {number}"
            for phase, number, state in rows
            if state != "running"
            and ((phase, number) not in known or known[phase, number].state == "running")
        ]
        if lost:
            few = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
            raise UserError(
                f"the record has lost {len(lost)} finished trials that trials.csv has: {few}",
                file=str(self.record),
                hint="restore record.journal from a copy; to go on without them and assess them "
                "again, move trials.csv away",
            )

    def checkpoint(self, phase: str, number: int) -> Path:
        """Where the weights of a trial lie, if they were kept."""
        return self.path / "checkpoints" / f"{phase}-{number}.safetensors"

    def detections(self, phase: str, number: int) -> Path:
        """Where a detector's detections in the validation images lie, if its weights were kept."""
        return self.path / "detections" / f"{phase}-{number}.json"

    @property
    def truth(self) -> Path:
        """The objects of the validation images, as a COCO file."""
        return self.path / "detections" / "truth.json"

    def write_trials(self, rows: pd.DataFrame | None = None) -> Path:
        """`trials.csv`, rewritten from the record, or from `trials` where they were read already.

        Scores of single classes are left to the record, except for one that is the objective.
        """
        rows = self.trials if rows is None else rows
        of_class = [name for name in rows.columns if is_of_class(name, rows.columns)]
        if of_class:
            metric = self.objective.metric  # read once: there may be a thousand classes
            rows = rows.drop(columns=[name for name in of_class if name != metric])
        return write_text(self.path / "trials.csv", rows.to_csv(index=False))

    def _needed(self, name: str) -> Path:
        file = self.path / name
        if not file.exists():
            raise UserError(
                f"{self.path} has no {name} yet", hint="run the study to the end of that phase"
            )
        return file


def load_json(file: Path) -> Mapping[str, Any]:
    """The mapping in a JSON file of a run folder.

    Raises:
        UserError: it is damaged.
    """
    try:
        plain = json.loads(file.read_text("utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        reason = shortened(str(error))
        hint = "remove it, and run the study again: nothing is trained anew"
        raise UserError(f"cannot be read: {reason}", file=str(file), hint=hint) from error
    if not isinstance(plain, dict):
        raise UserError("this is no mapping", file=str(file), hint="remove it, and run again")
    return plain


def existing(path: str | Path) -> RunFolder:
    """The folder of a study that was run before.

    Raises:
        UserError: there is none.
    """
    folder = RunFolder(Path(path))
    if not (folder.path / "resolved.yaml").exists():
        raise UserError(
            f"{folder.path} is not a run folder: it has no resolved.yaml",
            hint="give the folder that `scalesearch run` made, such as runs/quickstart",
        )
    return folder


def is_running(folder: RunFolder) -> bool:
    """Whether a process is running the study now."""
    lock = folder.path / "lock"
    if not lock.exists():
        return False
    try:
        with lock.open("rb") as file:
            # Shared, so that two readers do not take each other for a run.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a disk without locks, or a file of somebody else's: nothing is known
        return False
    return False


@contextlib.contextmanager
def opened(folder: RunFolder, settings: Mapping[str, Any], source: str) -> Iterator[list[str]]:
    """The folder, new or of an earlier run, locked for this process; notes on it.

    Args:
        folder: of the study.
        settings: of the study with every default.
        source: text of the study file as given.

    Raises:
        UserError: it holds another study (with what differs), or another process has it.
    """
    _make(folder.path)
    with _locked(folder.path / "lock") as locked:
        resolved = folder.path / "resolved.yaml"
        if resolved.exists() and (changed := _changes(folder, settings)):
            _require_nothing_finished(folder, changed)
        write_text(folder.path / "study.yaml", source)
        write_text(resolved, format_yaml(settings))
        environment = json.dumps(_environment(settings), indent=2)
        write_text(folder.path / "environment.json", environment + "\n")
        note = (
            f"the disk of {folder.path} has no locks: nothing keeps a second process from running "
            "this study into the same folder, which would damage its record"
        )
        yield [] if locked else [note]


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the run folder {path} cannot be made: {error.strerror or error}",
            hint="choose another --folder",
        ) from error


def deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a study's settings that its results depend on."""
    return {key: _deciding(key, value) for key, value in settings.items() if key not in _FREE}


def _deciding(name: str, section: Any) -> Any:
    """A section without what is free in sections of this name, here or below."""
    if not isinstance(section, Mapping):
        return section
    free = _FREE_WITHIN.get(name, ())
    return {key: _deciding(key, value) for key, value in section.items() if key not in free}


def _changes(folder: RunFolder, settings: Mapping[str, Any]) -> list[str]:
    """What the study in a folder has otherwise, as far as its results depend on it."""
    from scalesearch.study.load import differences, load_study, resolved

    try:  # an option that came with a later version has its default
        before = resolved(load_study(folder.path / "resolved.yaml"))
    except UserError:  # a file that the study names is gone
        before = dict(folder.settings)
    changed = differences(deciding(before), deciding(settings))
    if changed and all(each.startswith("search.confirm") for each in changed):
        # The search is the same without it: what was confirmed, scaled or scored on test images
        # is another matter.
        later = folder.read().keys() & {"confirm", "grid", "family", "test"}
        return changed if later else []
    return changed


def _require_nothing_finished(folder: RunFolder, changed: Sequence[str]) -> None:
    """Rejects another study where there are results; what a run left before its first goes."""
    kept = ("trials.csv", "family", "checkpoints", "detections", "export")
    empty = not any(_holds(folder.path / name) for name in kept)
    try:
        trials = [trial for each in folder.read().values() for trial in each] if empty else []
    except UserError:  # damaged, so it was one with something in it
        empty = False
    if not empty or any(trial.state != "running" for trial in trials):
        raise UserError(
            f"{folder.path} holds another study; what differs: " + "; ".join(changed),
            hint="choose another name or --folder, undo the change, or delete the folder",
        )
    for name in ("record.journal", "baseline.yaml", "coefficients.yaml"):
        (folder.path / name).unlink(missing_ok=True)


def _holds(path: Path) -> bool:
    """Whether there is a file, or a folder with something in it."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether the lock could be taken: not every disk has locks."""
    with path.open("ab") as file:
        for patience in (0.1, 0.2, 0.0):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(patience)  # another process may only be reading: see `is_running`
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
                yield False
                return
        else:
            raise UserError(
                f"another process is running the study in {path.parent}",
                hint="wait for it, stop it, or choose another --folder",
            )
        yield True


def _environment(settings: Mapping[str, Any]) -> dict[str, Any]:
    packages = ("scalesearch", "torch", "torchvision", "optuna", "ray", "fvcore", "numpy")
    return {
        "seed": settings.get("seed"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "node": platform.node(),
        "gpus": _gpus(),
        "commit": _commit(),
        **{name: _version(name) for name in packages},
    }


def _gpus() -> dict[str, Any] | None:
    """The driver, its CUDA and the GPUs of this machine by its own tool; None without one."""
    fields = "name,memory.total,driver_version"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        rows = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        about = subprocess.run(
            ["nvidia-smi"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    cards = [[part.strip() for part in line.split(",")] for line in rows.stdout.splitlines()]
    cuda = re.search(r"CUDA Version:\s*([\d.]+)", about.stdout)
    return {
        "driver": cards[0][2] if cards else None,
        "cuda": cuda[1] if cuda else None,
        "cards": [f"{name}, {memory}" for name, memory, _ in cards],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the folder that the study is run from, if it is under git."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
