"""`scalesearch profile --latency` and `--space`: times of one network, and a table for a space."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import typer

from scalesearch.arch.detector import Architecture
from scalesearch.arch.graph import Size
from scalesearch.cli.progress import is_terminal
from scalesearch.cli.tables import console
from scalesearch.cost.cost import Deployment
from scalesearch.errors import UserError
from scalesearch.history.agreement import agreement
from scalesearch.spaces.backbone import BackboneSpace
from scalesearch.units import format_latency, format_seconds

_INTERRUPTED = 130  # the shell's exit code for Ctrl-C
# Options of `profile` that say something of a space's table, and of any measured latency.
_OF_TABLES = {"latency_out", "in_channels", "num_classes"}
_OF_LATENCY = {"latency", "device", "latency_batch", "threads"}
Told = Callable[[int, int], None]


class Images(NamedTuple):
    """What a data set says of its images; None is what the space's file says."""

    in_channels: int | None
    num_classes: int | None


def require_sense(given: Set[str]) -> None:
    """Refuses options of `profile` that would do nothing beside the others that are given.

    Raises:
        UserError: one of a network beside --space, one of a space or of latency without it, or
            neither a network nor a space.
    """
    if "space" in given:
        beside, why = (
            given - {"space", "as_json", *_OF_TABLES, *_OF_LATENCY},
            "--space takes no network",
        )
    elif "network" in given:
        beside, why = given & _OF_TABLES, "only --space makes a table"
    else:
        raise UserError("there is nothing to profile", allowed="a network, or --space SPACE.yaml")
    if not beside and "latency" not in given and "space" not in given:
        beside, why = given & _OF_LATENCY, "only --latency measures"
    if beside:
        words = ", ".join(sorted(name.replace("_", "-") for name in beside))
        raise UserError(f"{words} would do nothing here: {why}", hint="leave it out")


def chosen_deployment(
    wanted: bool, device: str | None, batch: int | None, threads: int | None
) -> Deployment | None:
    """What latency shall be measured for, or None if it shall not."""
    options = {"device": device, "batch": batch, "threads": threads}
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    return Deployment(**given) if wanted else None


def network_latency(net: Architecture, size: Size, deployment: Deployment) -> dict[str, Any]:
    """The measured latency of a network in seconds, its quartiles, and what it was measured for."""
    from scalesearch.cost.latency import measure_latency
    from scalesearch.nn.build import build

    found = measure_latency(build(net), (net.in_channels, *size), deployment)
    return {**found._asdict(), **asdict(deployment)}


def latency_sentence(found: dict[str, Any], deployment: Deployment) -> str:
    """`12.3 ms (quartiles 12.1 ms to 12.9 ms of 81 passes; cpu, batch 1, 1 thread)`."""
    middle, low, high = (format_latency(found[key]) for key in ("median", "low", "high"))
    return f"{middle} (quartiles {low} to {high} of {found['repeats']} passes; {deployment})"


def show_table(
    file: Path, out: Path | None, deployment: Deployment, images: Images, as_json: bool
) -> None:
    """Measures the latency table of a space, or goes on with it, and says how well it predicts."""
    if out is None:
        raise UserError(
            "the table needs a file to be written to", key="latency-out", allowed="TABLE.json"
        )
    from scalesearch.study.tabulate import tabulate

    space = BackboneSpace.load(file)
    own = {key: space.slots[key][0] for key in Images._fields}
    given = {key: value for key, value in images._asdict().items() if value is not None}
    space = space.with_images(**own | given)
    with _progress(out, quiet=as_json) as told:
        table, pairs = tabulate(space, deployment, out, told)
    found = agreement(pairs)
    if as_json:
        plain = {"file": str(out), "entries": len(table.entries), "networks": len(table.rests)}
        print(json.dumps(plain | {"agreement": asdict(found) if found else None}, indent=2))
        return
    print(
        f"{out}: {len(table.entries)} entries, timed within {len(table.rests)} networks; "
        f"{deployment}; {table.machine}, torch {table.torch}"
    )
    if found is not None:
        print(f"networks of the space, predicted against measured: {found}")


@contextmanager
def _progress(out: Path, quiet: bool) -> Iterator[Told]:
    """Tells how far the measuring has got; an interrupt says how to go on."""
    try:
        if quiet:
            yield lambda done, total: None
        elif is_terminal():
            with _bar() as bar:
                task = bar.add_task("latency", total=None)
                yield lambda done, total: bar.update(task, completed=done, total=total)
        else:
            yield _lines()
    except KeyboardInterrupt:
        print(f"stopped: what was measured is in {out}; run the same command to go on")
        raise typer.Exit(_INTERRUPTED) from None


def _bar() -> Any:
    # Here and not above: most profiles draw no bar.
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("measurements, left"),
        TimeRemainingColumn(),
        console=console(),
    )


def _lines() -> Told:
    """A line for each tenth, with the time that is left by the pace so far."""
    started, first, tenth = time.monotonic(), -1, -1

    def told(done: int, total: int) -> None:
        nonlocal first, tenth
        first = done if first < 0 else first
        if 10 * done // total == tenth:
            return
        tenth = 10 * done // total
        pace = (time.monotonic() - started) / (done - first) if done > first else 0.0
        left = f", about {format_seconds(pace * (total - done))} left" if pace else ""
        print(f"{done} of {total} measurements{left if done < total else ''}", flush=True)

    return told
