"""What a network of anyone's costs: its factory is called, and what it builds is counted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from scalesearch.arch.factory import REJECTED_SIDES, Factory, build_module, declared
from scalesearch.arch.graph import Size
from scalesearch.cost.any_module import running
from scalesearch.cost.composition import BlockCost
from scalesearch.cost.cost import Cost, Workload
from scalesearch.cost.counts import Counts
from scalesearch.cost.measured import measure_counts
from scalesearch.cost.measured_memory import measure_inference_bytes, measure_training_bytes
from scalesearch.errors import UserError

_BYTES = 4  # of a weight
_is_quick: dict[str, bool] = {}  # calls whose quick count is fvcore's
_TWICE = 2.0  # by what a dimension is multiplied to see what it changes
# Of a factory's code: what fills tensors, and layers that change neither a shape nor a product.
_FILLS = {"normal_", "uniform_", "zero_", "fill_", "trunc_normal_", "constant_", "ones_", "zeros_"}
_FILLS |= {"kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_"}
_SAME_SHAPE = {"batch_norm", "relu", "relu_", "relu6", "hardtanh", "hardtanh_", "silu", "dropout"}
_SAME_SHAPE |= {"hardswish", "hardsigmoid", "gelu", "leaky_relu", "sigmoid", "layer_norm"}


@lru_cache(maxsize=1000)
def factory_counts(net: Factory, size: Size) -> Counts:
    """fvcore's counts of what a factory builds, for one image of `size`.

    Raises:
        UserError: the factory fails, or what it builds cannot be run or followed.
    """
    return Counts(**measure_counts(_built(net), (1, net.in_channels, *size)))


@lru_cache(maxsize=1000)
def factory_cost(net: Factory, size: Size, workload: Workload) -> Cost:
    """Its counts, and its memory in counted runs on fake tensors; errors as `factory_counts`."""
    counted = factory_counts(net, size)
    shape = (1, net.in_channels, *size)
    model = _built(net)
    return Cost(
        **counted._asdict(),
        inference_bytes=measure_inference_bytes(model, shape, workload),
        training_bytes=measure_training_bytes(model, shape, workload),
    )


def as_block(cost: Cost, workload: Workload) -> BlockCost:
    """A whole cost as that of one block, of which `composition.price` makes the cost again."""
    weights = _BYTES * cost.params
    kept = weights * (1 + workload.optimizer_copies + workload.ema)
    return BlockCost(
        **cost.counts(),
        inference_peak=cost.inference_bytes - weights,
        forward_peak=cost.training_bytes - kept,
    )


@lru_cache(maxsize=10_000)
def factory_flops(net: Factory) -> int:
    """The FLOPs of `factory_counts` for the network's own images, counted several times as fast.

    It is run on the meta device, without memory or arithmetic, where fvcore cannot follow it. To
    realise one network takes many. If the quick count of a factory's first network differs from
    fvcore's, all of them are fvcore's.
    """
    call = f"{net.factory} {sorted(net.options.items())}"
    flops, size = _quick_flops(net), (net.resolution, net.resolution)
    if call not in _is_quick:
        _is_quick[call] = flops == factory_counts(net, size).flops
    return flops if flops and _is_quick[call] else int(factory_counts(net, size).flops)


@lru_cache(maxsize=100)
def scaled_dimensions(net: Factory) -> tuple[str, ...]:
    """Those of depth, width and resolution in which a factory can scale a network.

    Depth and width are scaled if its signature has them. Its module is built a few times and run
    on fake images; nothing is trained.

    Raises:
        UserError: the factory cannot be imported or called, fails, returns no module, gives outputs
            that are not [N, num_classes] or modules that differ, or asks for a dimension and
            ignores it.
    """
    if _shapes(net) != _shapes(net):
        raise UserError(
            f"{net.factory} builds another network each time it is called",
            key="factory",
            hint="its shapes may depend on its arguments alone, not on random numbers",
        )
    check_outputs(net)
    asked = declared(net)
    for name in ("depth", "width"):
        if name in asked:
            _check_grows(net, name, replace(net, **{name: _TWICE * getattr(net, name)}))
    known: list[str] = [name for name in ("depth", "width") if name in asked]
    try:
        _check_grows(net, "resolution", replace(net, resolution=round(_TWICE * net.resolution)))
        known.append("resolution")
    except UserError:
        if "resolution" in asked or not known:
            raise
    return tuple(known)


@lru_cache(maxsize=10_000)
def alike(net: Factory) -> tuple[object, ...]:
    """What two networks of one factory share if it has built the same for both."""
    return (net.factory, net.resolution, net.in_channels, *sorted(_shapes(net).items()))


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
    """Rejects a network that does not give a row for each image and a column for each class."""
    model, shape = _built(net).eval(), (2, net.in_channels, net.resolution, net.resolution)
    with running(model, shape), torch.no_grad():
        outputs = model(torch.zeros(shape))
    wanted = (2, net.num_classes)
    if not isinstance(outputs, Tensor) or tuple(outputs.shape) != wanted:
        shaped = isinstance(outputs, Tensor)
        given = list(outputs.shape) if shaped else type(outputs).__name__
        raise UserError(
            f"{net.factory} builds a network that gives {given} for two images",
            key="factory",
            allowed=f"logits {list(wanted)}: a row for each image, a column for each class",
            hint="" if "num_classes" in declared(net) else "let it take `num_classes`",
        )


@lru_cache(maxsize=1000)
def side_taken(net: Factory, wanted: int) -> int:
    """The side of images nearest to `wanted`, below the network's own, that its module takes.

    The module is built for the network's own resolution, and run on images of other sides.

    Raises:
        UserError: it takes none of those around `wanted`.
    """
    model, reason = _built(net).eval(), None
    for away in range(REJECTED_SIDES):
        for side in dict.fromkeys((wanted - away, wanted + away)):
            if not 0 < side < net.resolution:
                continue
            shape = (2, net.in_channels, side, side)
            try:
                with torch.random.fork_rng(devices=[]), running(model, shape), torch.no_grad():
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


def _shapes(net: Factory) -> Mapping[str, tuple[int, ...]]:
    state = _on_meta(net).state_dict()
    lazy = [name for name, value in state.items() if is_lazy(value)]
    if lazy:
        raise UserError(
            f"{net.factory} leaves the size of {lazy[0]!r} to its first images",
            key="factory",
            hint="lazy layers have no shapes to count: give their sizes",
        )
    return {name: tuple(v.shape) for name, v in state.items() if isinstance(v, Tensor)}


def _built(net: Factory) -> nn.Module:
    """What a factory builds; the random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        module: nn.Module = build_module(net)
    return module


def _on_meta(net: Factory) -> nn.Module:
    """What a factory builds, on the meta device if it can do so."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), _Unfilled():
            module: nn.Module = build_module(net)
        return module
    except UserError:  # it reads a value; a mistake of its own shows again
        return _built(net)


def _quick_flops(net: Factory) -> int | None:
    """Products of matrices and convolutions in a forward pass on the meta device; None if not."""
    model = _on_meta(net).eval()
    shape = (1, net.in_channels, net.resolution, net.resolution)
    if not all(value.is_meta for value in model.state_dict().values() if isinstance(value, Tensor)):
        return None
    try:
        with warnings.catch_warnings(), torch.no_grad(), _Products() as products, _SameShapes():
            warnings.simplefilter("ignore")
            model(torch.empty(shape, device="meta"))
    except Exception:
        return None
    return products.flops


class _Unfilled(TorchFunctionMode):
    """Leaves new tensors as they are: on the meta device there is nothing to fill."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") in _FILLS:
            tensor = args[0] if args else given["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **given)


class _SameShapes(TorchFunctionMode):
    """Passes over layers that keep the shape and multiply no matrices."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__name__", "") in _SAME_SHAPE and args:
            return args[0]
        return func(*args, **(kwargs or {}))


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts multiply-adds of convolutions and matrix products in `flops`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        rule = flop_registry.get(func._overloadpacket)  # type: ignore[attr-defined]
        if rule is not None:
            self.flops += rule(*args, **(kwargs or {}), out_val=out) // 2  # two for each
        return out
