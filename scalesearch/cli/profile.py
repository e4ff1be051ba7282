"""`scalesearch profile`: the costs of a network, a row for each stage."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, NamedTuple, cast, get_args

from scalesearch.arch.check import one_of
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import Factory
from scalesearch.arch.graph import Size
from scalesearch.cli.tables import print_table
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import ADDITIVE, Cost, Deployment, Precision, Workload
from scalesearch.errors import UserError
from scalesearch.files.architecture import architecture
from scalesearch.report.by_stage import by_stage
from scalesearch.training.recipe import OPTIMIZERS
from scalesearch.units import format_bytes, format_count, format_latency, format_seconds

# Columns to leave out on a narrow screen; JSON has them all.
_SPARE = ("flops_total", "activations")
# Options that only apply to a space's latency table, and to any measured latency.
_TABLE_OPTIONS = {"latency_out", "in_channels", "num_classes"}
_LATENCY_OPTIONS = {"latency", "device", "latency_batch", "threads"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to profile.

    Attributes:
        resolution: pixels, `224` or `480x640`; None for the network's own.
        batch, optimizer, precision: of the training step whose memory is counted.
        measured: whether to build the network and count it with fvcore.
        deployment: what to measure latency for; None not to.
    """

    resolution: str | None
    batch: int
    optimizer: str
    precision: str
    measured: bool
    deployment: Deployment | None

    @property
    def workload(self) -> Workload:
        """The training step as `cost` takes it."""
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("precision", self.precision, get_args(Precision))
        return Workload(
            training_batch=self.batch,
            optimizer_copies=OPTIMIZERS[self.optimizer].copies,
            precision=cast(Precision, self.precision),
        )


class Measured(NamedTuple):
    """Costs of a built model, and the seconds taken by building, fvcore and memory runs."""

    cost: Cost
    build_seconds: float
    count_seconds: float
    memory_seconds: float


def require_meaningful(options: Set[str]) -> None:
    """Rejects options of `profile` that would have no effect beside the others that are given.

    Raises:
        UserError: one of a network beside --space, one of a space or of latency without it, or
            neither a network nor a space.
    """
    if "space" in options:
        allowed = {"space", "as_json", *_TABLE_OPTIONS, *_LATENCY_OPTIONS}
        useless, why = options - allowed, "--space takes no network"
    elif "network" in options:
        useless, why = options & _TABLE_OPTIONS, "only --space makes a table"
    else:
        raise UserError("there is nothing to profile", allowed="a network, or --space SPACE.yaml")
    if not useless and not options & {"latency", "space"}:
        useless, why = options & _LATENCY_OPTIONS, "only --latency measures"
    if useless:
        words = ", ".join(sorted(name.replace("_", "-") for name in useless))
        raise UserError(f"{words} would do nothing here: {why}", hint="leave it out")


def deployment_of(**options: Any) -> Deployment:
    """The deployment that latency is measured for; options that are None keep their default."""
    return Deployment(**{key: value for key, value in options.items() if value is not None})


def show_profile(name: str, options: Options, as_json: bool) -> None:
    """Prints a network's costs: by stage, in total, its memory, and measured if asked for."""
    net, workload, deployment = architecture(name), options.workload, options.deployment
    side = net.resolution
    size = _parse_size(options.resolution) if options.resolution else (side, side)
    start = perf_counter()
    total = cost(net, size=size, workload=workload)
    seconds = perf_counter() - start
    measured = measure_network(net, size, workload) if options.measured else None
    latency = None if deployment is None else _measure_latency(net, size, deployment)
    if as_json:
        report: dict[str, Any] = {"network": name}
        report["resolution"] = size[0] if size[0] == size[1] else size
        report |= {**total.known(), "stages": list(_stage_rows(net, size))}
        report |= {"measured": measured.cost.known()} if measured else {}
        report |= {"latency": latency} if latency else {}
        print(json.dumps(report, indent=2))
        return
    _print_stages(name, net, size, total)
    training = f"training, batch {options.batch}"
    width = len(training)
    print(f"{'inference, batch 1':<{width}}   {format_bytes(total.inference_bytes)}")
    step = f"{options.precision}, {options.optimizer}"
    print(f"{training:<18}   {format_bytes(total.training_bytes)} ({step})")
    if latency is not None:
        median, low, high = (format_latency(latency[key]) for key in ("median", "low", "high"))
        spread = f"quartiles {low} to {high} of {latency['repeats']} passes"
        print(f"{'latency':<{width}}   {median} ({spread}; {deployment})")
    if measured is not None:
        print_measured(total, seconds, measured)


def measure_network(net: Architecture, size: Size, workload: Workload) -> Measured:
    """Builds a network, counts it with fvcore and measures its memory in counted runs."""
    # Imported here: the closed form must not wait for torch.
    from scalesearch.cost.measured import measure_counts
    from scalesearch.cost.measured_memory import measure_inference_bytes, measure_training_bytes
    from scalesearch.nn.build import build
    from scalesearch.training.detect import loss_without_objects

    shape = (1, net.in_channels, *size)
    start = perf_counter()
    model = build(net)
    built = perf_counter()
    counts = measure_counts(model, shape)
    counted = perf_counter()
    inference = measure_inference_bytes(model, shape, workload)
    loss = loss_without_objects if isinstance(net, Detector) else None
    training = measure_training_bytes(model, shape, workload, loss)
    costs = Cost(**counts, inference_bytes=inference, training_bytes=training)
    return Measured(costs, built - start, counted - built, perf_counter() - counted)


def print_measured(closed_form: Cost, seconds: float, measured: Measured) -> None:
    """Both numbers of each cost: counts must be equal, memory may differ a little."""
    expected, rows = closed_form.known(), []
    for key, value in measured.cost.known().items():
        equal = expected[key] == value
        difference = "equal" if equal else f"{expected[key] / value - 1:+.2%}"
        rows.append((key, f"{expected[key]:,}", f"{value:,}", difference))
    print_table("", ("cost", "closed form", "measured", "difference"), rows)
    print(
        f"closed form in {format_seconds(seconds)}; built in "
        f"{format_seconds(measured.build_seconds)}, counted by fvcore in "
        f"{format_seconds(measured.count_seconds)}, memory measured in "
        f"{format_seconds(measured.memory_seconds)}"
    )


def _measure_latency(net: Architecture, size: Size, deployment: Deployment) -> dict[str, Any]:
    """The latency in seconds with its quartiles, and what it was measured for."""
    from scalesearch.cost.latency import measure_latency
    from scalesearch.nn.build import build

    latency = measure_latency(build(net), (net.in_channels, *size), deployment)
    return {**latency._asdict(), **asdict(deployment)}


def _stage_rows(net: Architecture, size: Size) -> Iterator[dict[str, Any]]:
    """For stem, each stage and head: block, depth, width, output size and additive costs."""
    for row in by_stage(net, size):
        about = {"stage": row.name, "block": row.block, "depth": row.depth, "width": row.width}
        yield {**about, "output": _format_size(row.size), **row.costs}


def _print_stages(name: str, net: Architecture, size: Size, total: Cost) -> None:
    columns = ("stage", "block", "depth", "width", "output")
    rows = [(*(row[key] for key in columns), *_counts(row)) for row in _stage_rows(net, size)]
    depth = "" if isinstance(net, Factory) else net.depth
    rows.append(("total", "", depth, "", "", *_counts(total.known())))
    title = f"{name} at {_format_size(size)}, one image, 1 flop = 1 multiply-add"
    print_table(title, (*columns, *ADDITIVE), rows, ends=[-2], spare=_SPARE)


def _parse_size(text: str) -> Size:
    """Height and width of `224` or `480x640`."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if min(size) < 1:
        allowed = "pixels: 224, or height and width: 480x640"
        raise UserError(f"{text!r} cannot be used", key="resolution", allowed=allowed)
    return size


def _format_size(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def _counts(costs: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(format_count(costs[key]) for key in ADDITIVE)
