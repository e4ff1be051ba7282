"""Kills runs of small studies at random times, and looks whether anything was lost.

    python tests/soak/kill.py --kills 200 --executor serial

Every run is a process group of its own that gets SIGKILL after a random time, and is started again
until it ends. After each kill every finished trial that was seen before must still be there,
unchanged; at the end the table must be that of a run that nobody disturbed. Exit code 1 and the
folder are left if not. Takes about 4 seconds a kill; not part of the test suite.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fakes import write_study

# What differs from run to run, and says nothing of the result.
TIMES = ("seconds", "finished")


def main() -> int:
    """Prints a summary; 1 if something was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--executor", choices=("serial", "ray"), default="serial")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draws = random.Random(options.seed)
    place = Path(tempfile.mkdtemp(prefix="soak-"))
    started = time.monotonic()
    study = make_study(place, options.executor)
    whole, _ = run(study, place / "whole", None)
    expected, seconds = table(place / "whole"), time.monotonic() - started
    if whole != 0:
        print(f"the undisturbed run ended with {whole}: see {place}")
        return 1
    kills = rounds = 0
    while kills < options.kills:
        folder = place / f"run{rounds}"
        rounds += 1
        ended, known = False, {}
        while not ended:
            limit = draws.uniform(0, 1.1 * seconds) if kills < options.kills else None
            code, killed = run(study, folder, limit)
            kills += killed
            ended = not killed
            if wrong := lost(folder, known, code, killed):
                print(f"{wrong}: after {kills} kills, seed {options.seed}; see {folder}")
                return 1
        if table(folder) != expected:
            print(f"another result after {kills} kills, seed {options.seed}; see {folder}")
            return 1
        shutil.rmtree(folder)
        took = time.monotonic() - started
        left = took / max(kills, 1) * max(0, options.kills - kills)
        print(f"{kills} of {options.kills} kills, {rounds} runs, {left:.0f} s left", flush=True)
    print(f"nothing lost: {kills} kills ({options.executor}), {rounds} runs, seed {options.seed}")
    shutil.rmtree(place)
    return 0


def make_study(place: Path, executor: str) -> Path:
    """A whole study of a few seconds: search, grid, family and export."""
    execution = {"executor": executor, "workers": 1 if executor == "serial" else 2}
    if executor != "serial":
        execution |= {"deterministic": True}
    return write_study(place, execution=execution)


def run(study: Path, folder: Path, limit: float | None) -> tuple[int, bool]:
    """The exit code of a run, and whether it was killed after `limit` seconds."""
    command = [sys.executable, "-m", "scalesearch", "run", str(study), "--folder", str(folder)]
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=root, env=environment, start_new_session=True
        )
        try:
            return process.wait(limit), False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return -signal.SIGKILL, True


def lost(folder: Path, known: dict[tuple[str, int], str], code: int, killed: bool) -> str:
    """What went wrong, in words; adds the finished trials to the `known` ones."""
    if not killed and code != 0:
        return f"a run ended with {code}"
    now = finished(folder)
    for trial, outcome in known.items():
        if now.get(trial) != outcome:
            return f"trial {trial[1]} of the {trial[0]} was lost or changed"
    known.update(now)
    if not killed and (left := sorted(path.name for path in folder.rglob("*.tmp*"))):
        return f"left over: {', '.join(left)}"
    return ""


def finished(folder: Path) -> dict[tuple[str, int], str]:
    """The outcome of each finished trial, read from the journal without scalesearch.

    A torn last line is left out: the writer was killed in it.
    """
    studies: list[str] = []
    trials: list[tuple[str, int]] = []
    counts: dict[str, int] = {}
    outcomes: dict[tuple[str, int], str] = {}
    journal = folder / "record.journal"
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    for line in lines:
        entry = json.loads(line)
        if entry["op_code"] == 0:
            studies.append(entry["study_name"])
        elif entry["op_code"] == 4:
            phase = studies[entry["study_id"]]
            trials.append((phase, counts.get(phase, 0)))
            counts[phase] = counts.get(phase, 0) + 1
            if outcome := entry.get("user_attrs", {}).get("outcome"):
                outcomes[trials[-1]] = json.dumps(outcome, sort_keys=True)
        elif entry["op_code"] == 8 and "outcome" in entry["user_attr"]:
            outcome = json.dumps(entry["user_attr"]["outcome"], sort_keys=True)
            outcomes.setdefault(trials[entry["trial_id"]], outcome)
    return outcomes


def table(folder: Path) -> list[dict[str, str]]:
    """The rows of `trials.csv` without their times."""
    import csv

    with (folder / "trials.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


if __name__ == "__main__":
    sys.exit(main())
