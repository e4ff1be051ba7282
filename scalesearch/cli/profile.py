"""`scalesearch profile`: what a network costs, a row for each stage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.walk import Part, walk
from scalesearch.cli.tables import print_table
from scalesearch.cost.closed_form import cost
from scalesearch.cost.tally import tally
from scalesearch.files.architecture import architecture
from scalesearch.units import format_bytes, format_count

_ADDITIVE = ("flops", "flops_total", "params", "activations")


def show_profile(name: str, resolution: int | None, as_json: bool) -> None:
    """Prints a network's costs: by stage, in all, and its memory."""
    net = architecture(name)
    if resolution is not None:
        net = replace(net, resolution=resolution)
    rows, total = list(stage_rows(net)), cost(net)
    if as_json:
        plain = {"network": name, "resolution": net.resolution, **asdict(total), "stages": rows}
        print(json.dumps(plain, indent=2))
        return
    shown = [
        (r["stage"], r["block"], r["depth"], r["width"], r["output"], *_counts(r)) for r in rows
    ]
    all_of_it = ("total", "", net.depth, "", "", *_counts(asdict(total)))
    head = ("stage", "block", "depth", "width", "output", *_ADDITIVE)
    title = f"{name} at {net.resolution} x {net.resolution}, one image, 1 flop = 1 multiply-add"
    print_table(title, head, [*shown, all_of_it], total=True)
    print(f"inference, batch 1   {format_bytes(total.inference_bytes)}")
    print(f"training, batch 32   {format_bytes(total.training_bytes)} (float32, SGD with momentum)")


def stage_rows(net: Backbone) -> Iterator[dict[str, object]]:
    """For stem, each stage and head: block, depth, width, output size and additive costs."""
    parts: dict[str, list[Part]] = {}
    for part in walk(net):
        parts.setdefault(part.name, []).append(part)
    size = (net.resolution, net.resolution)
    for name, group in parts.items():
        sums = dict.fromkeys(_ADDITIVE, 0)
        for part in group:
            counted = tally(part.ops)
            for key in _ADDITIVE:
                sums[key] += part.repeats * getattr(counted, key)
        spatial = [op.size_out for part in group for op in part.ops if op.size_out != (1, 1)]
        size = spatial[-1] if spatial else size
        block, depth, width = _shape(net, name)
        output = f"{size[0]} x {size[1]}"
        row: dict[str, object] = {"stage": name, "block": block, "depth": depth, "width": width}
        yield row | {"output": output} | sums


def _shape(net: Backbone, name: str) -> tuple[str, int, int]:
    if name == "stem":
        return f"conv k{net.stem.kernel} s{net.stem.stride}", 1, net.stem.width
    if name == "head":
        return "conv, pool, linear", 1, net.head.width
    stage = net.stages[int(name.removeprefix("stage")) - 1]
    if stage.block == "identity":
        return f"identity s{stage.stride}", stage.depth, stage.width
    se = f" se{stage.se:g}" if stage.se else ""
    block = f"{stage.block} k{stage.kernel} s{stage.stride} e{stage.expand}{se}"
    return block, stage.depth, stage.width


def _counts(costs: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(format_count(costs[key]) for key in _ADDITIVE)
