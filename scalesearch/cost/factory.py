"""What a network of anyone's costs: its factory is called, and what it builds is counted."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from scalesearch.arch.factory import Factory, build_module
from scalesearch.arch.graph import Size
from scalesearch.cost.composition import BlockCost
from scalesearch.cost.cost import Cost, Workload
from scalesearch.cost.counts import Counts
from scalesearch.cost.factory_outputs import cross_entropy, training
from scalesearch.cost.measured import measure_counts
from scalesearch.cost.measured_memory import measure_inference_bytes, measure_training_bytes
from scalesearch.errors import UserError

_BYTES = 4  # of a weight
_is_quick: dict[str, bool] = {}  # calls whose quick count is fvcore's
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
    return counted(net, size, seed=0)


def counted(net: Factory, size: Size, seed: int) -> Counts:
    """The counts of a forward pass that takes its random numbers from a seed."""
    model = built(net)
    with seeded(seed):
        return Counts(**measure_counts(model, (1, net.in_channels, *size)))


@lru_cache(maxsize=1000)
def factory_cost(net: Factory, size: Size, workload: Workload) -> Cost:
    """Its counts, and its memory in counted runs on fake tensors; errors as `factory_counts`."""
    counts = factory_counts(net, size)
    shape = (1, net.in_channels, *size)
    model = built(net)
    inference = measure_inference_bytes(model, shape, workload)
    with training(net, model):
        step = measure_training_bytes(model, shape, workload, partial(cross_entropy, net))
    return Cost(**counts._asdict(), inference_bytes=inference, training_bytes=step)


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
    flops, size = quick_flops(net), (net.resolution, net.resolution)
    if call not in _is_quick:
        _is_quick[call] = flops == factory_counts(net, size).flops
    return flops if flops and _is_quick[call] else int(factory_counts(net, size).flops)


@lru_cache(maxsize=10_000)
def alike(net: Factory) -> tuple[object, ...]:
    """What two networks of one factory share if it has built the same for both."""
    return (net.factory, net.resolution, net.in_channels, *sorted(shapes(net).items()))


def shapes(net: Factory, seed: int = 0) -> Mapping[str, tuple[int, ...]]:
    """Those of the weights and buffers that a factory builds, by name, with a random seed.

    Raises:
        UserError: it fails, or leaves some to the first images.
    """
    state = _on_meta(net, seed).state_dict()
    lazy = [name for name, value in state.items() if is_lazy(value)]
    if lazy:
        raise UserError(
            f"{net.factory} leaves the size of {lazy[0]!r} to its first images",
            key="factory",
            hint="lazy layers have no shapes to count: give their sizes",
        )
    return {name: tuple(v.shape) for name, v in state.items() if isinstance(v, Tensor)}


def built(net: Factory, seed: int = 0) -> nn.Module:
    """What a factory builds; all random states are left alone."""
    with seeded(seed):
        module: nn.Module = build_module(net)
    return module


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers of torch (on the CPU), Python and NumPy from a seed; then as before."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _on_meta(net: Factory, seed: int = 0) -> nn.Module:
    """What a factory builds, on the meta device if it can do so."""
    try:
        with seeded(seed), torch.device("meta"), _Unfilled():
            module: nn.Module = build_module(net)
        return module
    except UserError:  # it reads a value; a mistake of its own shows again
        return built(net, seed)


def quick_flops(net: Factory, seed: int = 0) -> int | None:
    """Products of matrices and convolutions in a forward pass on the meta device; None if not.

    The pass takes its random numbers from a seed.
    """
    model = _on_meta(net).eval()
    shape = (1, net.in_channels, net.resolution, net.resolution)
    if not all(value.is_meta for value in model.state_dict().values() if isinstance(value, Tensor)):
        return None
    try:
        with (
            warnings.catch_warnings(),
            torch.no_grad(),
            seeded(seed),
            _Products() as products,
            _SameShapes(),
        ):
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
