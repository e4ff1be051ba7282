"""Facts that are kept with an exported network: some counted here, some told by the caller."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import scalesearch
from scalesearch.arch.backbone import Backbone
from scalesearch.arch.plain import digest
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError

Facts = dict[str, Any]
# Numbers of each channel, which the caller may tell.
CHANNEL_FACTS = ("mean", "std")


def counted(net: Backbone) -> Facts:
    """What is known of every network."""
    found = cost(net)
    return {
        "flops": found.flops,
        "params": found.params,
        "activations": found.activations,
        "digest": digest(net),
    }


def facts(net: Backbone, name: str, about: Mapping[str, Any]) -> Facts:
    """Every fact by its name, fit for JSON; what was counted here is never replaced.

    Raises:
        UserError: facts in `about` that do not fit the network.
    """
    told = {str(key): value for key, value in about.items()}
    told |= {key: channel_numbers(net, about, key) for key in CHANNEL_FACTS if key in about}
    if "classes" in about:
        told["classes"] = class_names(net, about)
    size = [net.in_channels, net.resolution, net.resolution]
    text = f"Image classifier: images [batch, {', '.join(map(str, size))}] in float32"
    if told.keys() >= set(CHANNEL_FACTS):
        text += ", scaled from 0 to 1, minus `mean` and divided by `std` by channel,"
    ours = {
        "description": f"{text} to logits [batch, {net.num_classes}].",
        "input_size": size,
        "written_by": f"scalesearch {scalesearch.__version__}",
    }
    return {"name": name} | told | counted(net) | ours


def channel_numbers(net: Backbone, about: Mapping[str, Any], key: str) -> list[float]:
    """A fact that has a number for each channel; `UserError` if it has not."""
    try:
        numbers = [float(value) for value in about[key]]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != net.in_channels or not all(map(math.isfinite, numbers)):
        raise UserError(
            f"{about[key]!r} cannot be used",
            key=f"about.{key}",
            allowed=f"a finite number for each channel, {net.in_channels} in all",
        )
    return numbers


def class_names(net: Backbone, about: Mapping[str, Any]) -> list[str]:
    """The names of the classes; `UserError` unless there is one for each."""
    names = [str(name) for name in about["classes"]]
    if len(names) != net.num_classes:
        raise UserError(
            f"there are {len(names)} names for {net.num_classes} classes", key="about.classes"
        )
    return names
