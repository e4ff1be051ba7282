"""What a factory can scale, and what is wrong with one that cannot be counted or trained."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from scalesearch.arch.factory import REJECTED_SIDES, Factory, declared
from scalesearch.cost.any_module import running
from scalesearch.cost.factory import built, counted, factory_counts, quick_flops, seeded, shapes
from scalesearch.cost.factory_outputs import check_logits, training
from scalesearch.errors import UserError
from scalesearch.units import format_count

_TWICE = 2.0  # by what a dimension is multiplied to see what it changes
_SEEDS = (0, 1, 2, 3)  # of passes that are to be alike


@lru_cache(maxsize=100)
def scaled_dimensions(net: Factory) -> tuple[str, ...]:
    """Those of depth, width and resolution in which a factory can scale a network.

    Depth and width are scaled if its signature has them. Its module is built a few times and run
    on fake images; nothing is trained.

    Raises:
        UserError: the factory cannot be imported or called, fails, returns no module, gives outputs
            that are not [N, num_classes] or modules that differ, asks for a dimension and ignores
            it, or can scale nothing.
    """
    _check_shapes(net)
    check_outputs(net)
    _check_passes(net)
    asked = declared(net)
    known: list[str] = [name for name in ("depth", "width") if name in asked]
    for name in known:
        _check_grows(net, name, replace(net, **{name: _TWICE * getattr(net, name)}))
    larger = replace(net, resolution=round(_TWICE * net.resolution))
    try:
        _check_grows(net, "resolution", larger)
        known.append("resolution")
    except UserError as error:
        if "resolution" in asked or (not known and _runs(larger)):
            raise
        if not known:
            raise UserError(
                f"{net.factory} takes images of {net.resolution} pixels alone, and scales neither "
                "depth nor width: there is nothing to scale",
                key="factory",
                hint=f"at {larger.resolution} pixels: {error.problem}",
            ) from error
    return tuple(known)


@lru_cache(maxsize=1000)
def side_taken(net: Factory, wanted: int) -> int:
    """The side of images nearest to `wanted`, below the network's own, that its module takes.

    The module is built for the network's own resolution, and run on images of other sides.

    Raises:
        UserError: it takes none of those around `wanted`.
    """
    model, reason = built(net).eval(), None
    for away in range(REJECTED_SIDES):
        for side in dict.fromkeys((wanted - away, wanted + away)):
            if not 0 < side < net.resolution:
                continue
            shape = (2, net.in_channels, side, side)
            try:
                with seeded(0), running(model, shape), torch.no_grad():
                    outputs = model(torch.zeros(shape))
            except UserError as error:
                reason = reason or error.problem
                continue
            if isinstance(outputs, Tensor) and tuple(outputs.shape) == (2, net.num_classes):
                return side
            reason = reason or "it gives other outputs"
    raise UserError(
        f"{net.factory} builds a module for images of {net.resolution} pixels that takes none of "
        f"about {wanted}" + (f": {reason}" if reason else ""),
        hint="leave `resolution` out, or build a module that takes images of any side",
    )


def _check_shapes(net: Factory) -> None:
    """Rejects a factory whose network depends on random numbers."""
    if shapes(net, _SEEDS[0]) != shapes(net, _SEEDS[1]):
        raise UserError(
            f"{net.factory} builds another network each time it is called",
            key="factory",
            hint="its shapes may depend on its arguments alone, not on random numbers",
        )


def _check_passes(net: Factory) -> None:
    """Rejects a network that runs through other layers with other random numbers."""
    side = (net.resolution, net.resolution)
    flops = {quick_flops(net, seed) for seed in _SEEDS}
    if None in flops:  # the quick way cannot follow it
        flops = {counted(net, side, seed).flops for seed in _SEEDS[:2]}
    if len(flops) > 1:
        few = " and ".join(format_count(one or 0) for one in sorted(flops, key=str)[:2])
        raise UserError(
            f"{net.factory} builds a network that runs other layers each time: {few} FLOPs in two "
            "passes in evaluation mode",
            key="factory",
            hint="skip layers at random only `if self.training`",
        )


def _runs(net: Factory) -> bool:
    """Whether a network can be built and run on its own images."""
    try:
        factory_counts(net, (net.resolution, net.resolution))
    except UserError:
        return False
    return True


def _check_grows(net: Factory, name: str, grown: Factory) -> None:
    """Rejects a dimension that changes neither parameters nor FLOPs."""
    side, more = ((n.resolution, n.resolution) for n in (net, grown))
    before, after = factory_counts(net, side), factory_counts(grown, more)
    if (before.flops, before.params) == (after.flops, after.params):
        values = f"{getattr(net, name):g} and {getattr(grown, name):g}"
        raise UserError(
            f"{net.factory} ignores {name!r}: for {values} it builds networks of the same "
            f"{before.params:,} parameters and {before.flops:,} FLOPs",
            key="factory",
            hint=f"multiply with it, or take {name!r} out of the arguments: then it is not scaled",
        )


def check_outputs(net: Factory) -> None:
    """Rejects a network that does not give logits, or gives something else while it is trained."""
    model, shape = built(net), (2, net.in_channels, net.resolution, net.resolution)
    images = torch.zeros(shape)
    with running(model.eval(), shape), torch.no_grad(), seeded(0):
        outputs = model(images)
    check_logits(net, outputs, "for two images", images=2)
    with training(net, model), torch.no_grad(), seeded(0):
        with running(model.train(), shape):
            outputs = model(images)
        check_logits(net, outputs, "for two images in training", images=2)
