"""`scalesearch profile`: what a network costs, a row for each stage."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any, NamedTuple, cast, get_args

from scalesearch.arch.check import one_of
from scalesearch.arch.detector import Architecture
from scalesearch.arch.graph import Size
from scalesearch.cli.latency import latency_sentence, network_latency
from scalesearch.cli.measured import measure_network, print_measured
from scalesearch.cli.tables import print_table
from scalesearch.cost.by_stage import ADDITIVE, by_stage
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Cost, Deployment, Precision, Workload
from scalesearch.errors import UserError
from scalesearch.files.architecture import architecture
from scalesearch.training.recipe import OPTIMIZERS
from scalesearch.units import format_bytes, format_count

# What a narrow screen goes without; JSON has it all.
_SPARE = ("flops_total", "activations")


class Training(NamedTuple):
    """The step that memory is counted for: images, one of `OPTIMIZERS`, a precision."""

    batch: int
    optimizer: str
    precision: str

    @property
    def workload(self) -> Workload:
        """The same as `cost` takes it."""
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("precision", self.precision, get_args(Precision))
        return Workload(
            training_batch=self.batch,
            optimizer_copies=OPTIMIZERS[self.optimizer].copies,
            precision=cast(Precision, self.precision),
        )


class Extras(NamedTuple):
    """What is measured beside the arithmetic: counts and memory; latency, if for something."""

    measured: bool
    deployment: Deployment | None


def show_profile(
    name: str, resolution: str | None, training: Training, extras: Extras, as_json: bool
) -> None:
    """Prints a network's costs: by stage, in all, its memory, and measured beside arithmetic."""
    net, workload = architecture(name), training.workload
    size = _size(resolution) if resolution else (net.resolution, net.resolution)
    began = perf_counter()
    total = cost(net, size=size, workload=workload)
    seconds = perf_counter() - began
    found = measure_network(net, size, workload) if extras.measured else None
    deployment = extras.deployment
    timed = network_latency(net, size, deployment) if deployment else {}
    if as_json:
        plain: dict[str, Any] = {"network": name}
        plain["resolution"] = size[0] if size[0] == size[1] else size
        plain |= {**total.known(), "stages": list(stage_rows(net, size))}
        plain |= {"measured": found.cost.known()} if found else {}
        plain |= {"latency": timed} if timed else {}
        print(json.dumps(plain, indent=2))
        return
    _print_stages(name, net, size, total)
    in_training = f"training, batch {training.batch}"
    print(f"{'inference, batch 1':<{len(in_training)}}   {format_bytes(total.inference_bytes)}")
    print(
        f"{in_training:<18}   {format_bytes(total.training_bytes)} "
        f"({training.precision}, {training.optimizer})"
    )
    if deployment is not None:
        print(f"{'latency':<{len(in_training)}}   {latency_sentence(timed, deployment)}")
    if found is not None:
        print_measured(total, seconds, found)


def stage_rows(net: Architecture, size: Size) -> Iterator[dict[str, object]]:
    """For stem, each stage and head: block, depth, width, output size and additive costs."""
    for row in by_stage(net, size):
        about = {"stage": row.name, "block": row.block, "depth": row.depth, "width": row.width}
        yield {**about, "output": _by(row.size), **row.costs}


def _print_stages(name: str, net: Architecture, size: Size, total: Cost) -> None:
    about = ("stage", "block", "depth", "width", "output")
    rows = [(*(row[key] for key in about), *_counts(row)) for row in stage_rows(net, size)]
    all_of_it = ("total", "", net.depth, "", "", *_counts(total.known()))
    title = f"{name} at {_by(size)}, one image, 1 flop = 1 multiply-add"
    print_table(title, (*about, *ADDITIVE), [*rows, all_of_it], ends=[-2], spare=_SPARE)


def _size(text: str) -> Size:
    """Height and width of `224` or `480x640`."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if min(size) < 1:
        allowed = "pixels: 224, or height and width: 480x640"
        raise UserError(f"{text!r} cannot be used", key="resolution", allowed=allowed)
    return size


def _by(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def _counts(costs: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(format_count(costs[key]) for key in ADDITIVE)
