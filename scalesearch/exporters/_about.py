"""Facts that are kept with an exported network: some counted here, some told by the caller."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import scalesearch
from scalesearch.arch import check
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.graph import Size, shrink
from scalesearch.arch.plain import digest
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError

Facts = dict[str, Any]
# Numbers of each channel, which the caller may tell.
CHANNEL_FACTS = ("mean", "std")


def counted(net: Architecture, size: Size) -> Facts:
    """What is known of every network, for an image of `size`."""
    found = cost(net, size=size)
    return {
        "flops": found.flops,
        "params": found.params,
        "activations": found.activations,
        "digest": digest(net),
    }


def facts(
    net: Architecture, name: str, about: Mapping[str, Any], size: Size, outputs: str
) -> Facts:
    """Every fact by its name, fit for JSON; what was counted here is never replaced.

    Args:
        net: the network.
        name: of the file, if `about` tells no other.
        about: what the caller tells.
        size: height and width of the images.
        outputs: in words, what comes out.

    Raises:
        UserError: facts in `about` that do not fit the network.
    """
    told = {str(key): value for key, value in about.items()}
    told |= {key: channel_numbers(net, about, key) for key in CHANNEL_FACTS if key in about}
    if "classes" in about:
        told["classes"] = class_names(net, about)
    if "category_ids" in about:
        told["category_ids"] = category_ids(net, about)
    shape = [net.in_channels, *size]
    kind = "Object detector" if isinstance(net, Detector) else "Image classifier"
    text = f"{kind}: images [batch, {', '.join(map(str, shape))}] in float32"
    if told.keys() >= set(CHANNEL_FACTS):
        text += ", scaled from 0 to 1, minus `mean` and divided by `std` by channel,"
    ours = {
        "description": f"{text} to {outputs}.",
        "input_size": shape,
        "written_by": f"scalesearch {scalesearch.__version__}",
    }
    return {"name": name} | told | counted(net, size) | ours


def raw_outputs(net: Architecture, size: Size) -> str:
    """What the network itself puts out, in words."""
    if isinstance(net, Detector):
        anchors = anchor_count(net, size)
        return (
            f"class logits [batch, {anchors}, {net.num_classes}] and box codes "
            f"[batch, {anchors}, 4]"
        )
    return f"logits [batch, {net.num_classes}]"


def anchor_count(net: Detector, size: Size) -> int:
    """Anchors in an image of `size`."""
    levels = (shrink(size, 2**level) for level in net.neck.levels)
    return net.anchors.count * sum(height * width for height, width in levels)


def square(net: Architecture) -> Size:
    """The size of the images that the network is described for."""
    return (net.resolution, net.resolution)


def check_size(exporter: Any) -> None:
    """Refuses a `size` of images that is neither None nor two sides; makes a tuple of a list."""
    size = exporter.size
    if size is None:
        return
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise UserError(f"{size!r} cannot be used", key="size", allowed="[height, width]")
    for side in size:
        check.whole("size", side)
    object.__setattr__(exporter, "size", tuple(size))


def channel_numbers(net: Architecture, about: Mapping[str, Any], key: str) -> list[float]:
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


def class_names(net: Architecture, about: Mapping[str, Any]) -> list[str]:
    """The names of the classes; `UserError` unless there is one for each."""
    names = [str(name) for name in about["classes"]]
    if len(names) != net.num_classes:
        raise UserError(
            f"there are {len(names)} names for {net.num_classes} classes", key="about.classes"
        )
    return names


def category_ids(net: Architecture, about: Mapping[str, Any]) -> list[int]:
    """The number that the data set gives each class; `UserError` unless each has its own."""
    ids = list(about["category_ids"])
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in ids)
    if not whole or len(set(ids)) != len(ids) or len(ids) != net.num_classes:
        raise UserError(
            f"{about['category_ids']!r} cannot be used",
            key="about.category_ids",
            allowed=f"a whole number for each class, {net.num_classes} different ones in all",
        )
    return ids
