"""Measures the latency table of a space: every different block, within whole networks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.plain import digest
from scalesearch.arch.walk import walk
from scalesearch.cost.cost import Deployment
from scalesearch.cost.latency import machine, measure_latency, measure_links, version
from scalesearch.cost.latency_table import LatencyTable, entry_name, predict
from scalesearch.errors import UserError
from scalesearch.files.architecture import classifier
from scalesearch.history.agreement import Pair
from scalesearch.history.jobs import seed_for
from scalesearch.interfaces import SlottedSpace
from scalesearch.nn.build import build
from scalesearch.nn.links import links
from scalesearch.spaces.covering import best_network, entries_of
from scalesearch.study.latency import load_table, save_table

# Networks that each entry is timed in, and networks that predictions are compared with.
READINGS, CHECKS = 3, 20
_SECONDS = 0.2  # for the passes of one network


def tabulate(
    space: SlottedSpace,
    deployment: Deployment,
    path: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[LatencyTable, list[Pair]]:
    """The table of a space, and predictions of 20 networks with their direct measurement.

    Every measurement is written to the file at once; a file of an unfinished call is continued.

    Args:
        space: of backbones.
        deployment: to measure for.
        path: of the table's JSON file.
        progress: called with the number of measurements that are done, and of all.

    Raises:
        UserError: the file holds a table of another deployment, machine or version of torch.
    """
    table, entries = _opened(path, deployment), entries_of(space.slots)
    seeds = [seed_for(0, "latency", number) for number in range(CHECKS)]
    drawn = [classifier(space.sample(seed), "latency table") for seed in seeds]
    checked = {digest(network): network for network in drawn}
    total = READINGS * (len(entries) + len(checked))

    def report() -> None:
        readings = [len(table.entries.get(entry, ())) for entry in entries]
        readings += [len(table.checks.get(name, ())) for name in checked]
        progress(sum(min(READINGS, count) for count in readings), total)

    report()
    # In rounds, so that an entry's readings lie far apart and a disturbance affects one of them.
    for wanted in range(1, READINGS + 1):
        while lacking := {entry for entry in entries if len(table.entries.get(entry, ())) < wanted}:
            table = _with_blocks(table, _covering(space, lacking))
            save_table(path, table)
            report()
        for name, network in checked.items():
            if len(table.checks.get(name, ())) < wanted:
                reading = time_whole(network, deployment)
                table = replace(table, checks=_added(table.checks, {name: reading}))
                save_table(path, table)
                report()
    return table, [(predict(table, net), min(table.checks[name])) for name, net in checked.items()]


def time_whole(network: Backbone, deployment: Deployment) -> float:
    """The latency of a network in seconds: the lower quartile, as of its blocks."""
    side = network.resolution
    shape = (network.in_channels, side, side)
    return measure_latency(build(network), shape, deployment, seconds=_SECONDS).low


def time_blocks(network: Backbone, deployment: Deployment) -> tuple[dict[str, float], float]:
    """The seconds of each different block of a network by its entry, and of all the rest.

    Equal blocks in a row share their mean.
    """
    side = network.resolution
    shape = (network.in_channels, side, side)
    each, rest = measure_links(build(network), links, shape, deployment, seconds=_SECONDS)
    times = iter(each)
    readings: dict[str, list[float]] = {}
    for part in walk(network):
        readings.setdefault(entry_name(part.args), []).extend(
            next(times) for _ in range(part.repeats)
        )
    entries = {entry: sum(seconds) / len(seconds) for entry, seconds in readings.items()}
    return entries, rest


def _covering(space: SlottedSpace, lacking: Collection[str]) -> Backbone:
    """The network with the most entries among those that are lacking."""
    return best_network(space.slots, lambda entry, repeats: float(entry in lacking))


def _with_blocks(table: LatencyTable, network: Backbone) -> LatencyTable:
    times, rest = time_blocks(network, table.deployment)
    return replace(table, entries=_added(table.entries, times), rests=[*table.rests, rest])


def _added(
    readings: Mapping[str, Sequence[float]], times: Mapping[str, float]
) -> dict[str, Sequence[float]]:
    more = {name: [*readings.get(name, ()), reading] for name, reading in times.items()}
    return {**readings, **more}


def _opened(path: Path, deployment: Deployment) -> LatencyTable:
    fresh = LatencyTable(deployment=deployment, machine=machine(deployment.device), torch=version())
    if not path.exists():
        return fresh
    table = load_table(path)
    for key in ("deployment", "machine", "torch"):
        before, now = getattr(table, key), getattr(fresh, key)
        if before != now:
            raise UserError(
                f"its {key} was {before}, now it is {now}: a table has one",
                file=str(path),
                hint="choose another --latency-out, or delete the file to measure it again",
            )
    return table
