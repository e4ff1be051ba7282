"""`scalesearch profile --space`: the latency table of a space."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from scalesearch.cli.progress import bars, interruptible, is_terminal
from scalesearch.cost.cost import Deployment
from scalesearch.errors import UserError
from scalesearch.history.agreement import agreement
from scalesearch.spaces.backbone import BackboneSpace
from scalesearch.study.tabulate import tabulate
from scalesearch.units import format_seconds

Progress = Callable[[int, int], None]  # measurements that are done, and of all


def show_table(
    file: Path,
    out: Path | None,
    deployment: Deployment,
    images: Mapping[str, int | None],
    as_json: bool,
) -> None:
    """Measures the latency table of a space, or resumes it, and prints how well it predicts.

    `images` are `in_channels` and `num_classes` of the data set; None is what the file has.
    """
    if out is None:
        raise UserError(
            "the table needs a file to be written to", key="latency-out", allowed="TABLE.json"
        )
    space = BackboneSpace.load(file)
    own = {key: space.slots[key][0] for key in images}
    space = space.with_images(
        **own | {key: value for key, value in images.items() if value is not None}
    )
    message = f"stopped: what was measured is in {out}; run the same command to resume"
    with interruptible(message), _progress(quiet=as_json) as progress:
        table, pairs = tabulate(space, deployment, out, progress)
    result = agreement(pairs)
    if as_json:
        report = {"file": str(out), "entries": len(table.entries), "networks": len(table.rests)}
        print(json.dumps(report | {"agreement": result and asdict(result)}, indent=2))
        return
    print(
        f"{out}: {len(table.entries)} entries, timed within {len(table.rests)} networks; "
        f"{deployment}; {table.machine}, torch {table.torch}"
    )
    if result is not None:
        print(f"networks of the space, predicted against measured: {result}")


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    """Shows the number of measurements: nothing, a bar on a terminal, or lines elsewhere."""
    if quiet:
        yield lambda done, total: None
    elif is_terminal():
        with bars("measurements, left") as display:
            task = display.add_task("latency", total=None, news="")
            yield lambda done, total: display.update(task, completed=done, total=total)
    else:
        yield _lines()


def _lines() -> Progress:
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
        print(f"{done} of {total} measurements{left}", flush=True)

    return report
