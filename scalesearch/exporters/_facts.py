"""Facts that are kept with an exported network: some counted here, some given by the caller."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import scalesearch
from scalesearch.arch.plain import digest
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.exporters._export_task import ExportTask

Facts = dict[str, Any]
# Of each channel.
CHANNEL_FACTS = ("mean", "std")


def facts(
    task: ExportTask, name: str, about: Mapping[str, Any], outputs: str | None = None
) -> Facts:
    """Every fact by its name, fit for JSON; what is counted here is never replaced.

    Args:
        task: the network.
        name: of the file, if `about` has no other.
        about: the caller's facts.
        outputs: in words; None: the raw outputs.

    Raises:
        UserError: facts in `about` that do not fit the network.
    """
    given = checked(task, about)
    shape = ", ".join(map(str, task.image_shape))
    text = f"{task.kind}: images [batch, {shape}] in float32"
    if given.keys() >= set(CHANNEL_FACTS):
        text += ", scaled from 0 to 1, minus `mean` and divided by `std` by channel,"
    ours = {
        "description": f"{text} to {outputs or task.described_outputs}.",
        "input_size": list(task.image_shape),
        "written_by": f"scalesearch {scalesearch.__version__}",
    }
    return {"name": name} | given | counted(task) | ours


def counted(task: ExportTask) -> Facts:
    """What is known of every network, for one image."""
    costs = cost(task.net, size=task.size)
    return {
        "flops": costs.flops,
        "params": costs.params,
        "activations": costs.activations,
        "digest": digest(task.net),
    }


def checked(task: ExportTask, about: Mapping[str, Any]) -> Facts:
    """The caller's facts; those that have a meaning to us as lists that fit the network.

    Raises:
        UserError: one of these does not fit.
    """
    given = {str(key): value for key, value in about.items()}
    count = task.net.num_classes
    for key in CHANNEL_FACTS:
        if key in about:
            given[key] = _channel_numbers(f"about.{key}", about[key], task.net.in_channels)
    if "classes" in about:
        given["classes"] = names = [str(name) for name in about["classes"]]
        if len(names) != count:
            raise UserError(
                f"there are {len(names)} names for {count} classes", key="about.classes"
            )
    if "category_ids" in about:
        given["category_ids"] = _category_ids("about.category_ids", about["category_ids"], count)
    return given


def _channel_numbers(key: str, values: Any, channels: int) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != channels or not all(map(math.isfinite, numbers)):
        raise UserError(
            f"{values!r} cannot be used",
            key=key,
            allowed=f"a finite number for each channel, {channels} in all",
        )
    return numbers


def _category_ids(key: str, values: Any, classes: int) -> list[int]:
    ids = list(values)
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in ids)
    if not whole or len(set(ids)) != len(ids) or len(ids) != classes:
        raise UserError(
            f"{values!r} cannot be used",
            key=key,
            allowed=f"a whole number for each class, {classes} different ones in all",
        )
    return ids
