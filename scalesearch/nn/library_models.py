"""Models of timm and torchvision as functions of multipliers of depth and width.

Both libraries build most families by a helper that takes multipliers, to which each named model
passes its own: `efficientnet_b2` passes 1.1 and 1.2. The builders here are the named models with a
helper that multiplies these further, so that at 1 they build what the library does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from torch import nn

from scalesearch.arch.rounding import round_depth
from scalesearch.errors import UserError, nearest

Builder = Callable[..., nn.Module]


class _Growth(NamedTuple):
    """What a multiplier does to one argument of a helper.

    Attributes:
        dimension: `depth` or `width`.
        grow: the new value, of the old one and the multiplier.
        default: of an argument that the helper hands on without naming it.
    """

    dimension: str
    grow: Callable[[Any, float], Any] = lambda value, by: value * by
    default: Any = None


def _deeper(layers: list[int], by: float) -> list[int]:
    return [round_depth(number * by) for number in layers]


def _whole(value: int, by: float) -> int:
    return max(1, round(value * by))


_WIDTH = _Growth("width")
_DEPTH = _Growth("depth")
# Arguments of helpers; those of timm have the same names in all of its families.
_TIMM = {"channel_multiplier": _WIDTH, "model_width": _WIDTH, "depth_multiplier": _DEPTH}
_TORCHVISION: Mapping[str, Mapping[str, _Growth]] = {
    "MobileNetV2": {"width_mult": _WIDTH},
    "_efficientnet_conf": {"width_mult": _WIDTH, "depth_mult": _DEPTH},
    "_mobilenet_v3_conf": {"width_mult": _WIDTH},
    "_mnasnet": {"alpha": _WIDTH},
    "_resnet": {"layers": _Growth("depth", _deeper)},
}
# Of the 3x3 convolutions in bottlenecks alone, as in Wide ResNet-50-2; basic blocks take no other.
_BOTTLENECKS = {"width_per_group": _Growth("width", _whole, 64)}


def timm_builder(name: str) -> Builder:
    """The function of depth, width, in_channels, num_classes and options that builds timm's `name`.

    Its signature has the multipliers that the family takes.

    Raises:
        UserError: timm is not installed, or has no such model.
    """
    try:
        import timm
        from timm.models import model_entrypoint
    except ModuleNotFoundError as error:
        raise UserError("timm is not installed", hint="pip install timm") from error
    _check_known(name, timm.list_models(), "timm")
    entry = model_entrypoint(name)
    helpers = {h: _TIMM for h in entry.__code__.co_names if h.startswith("_gen_")}
    scaled, growths = _scaled(entry, helpers)

    def build(**given: Any) -> nn.Module:
        own = {"num_classes": given.pop("num_classes"), "in_chans": given.pop("in_channels")}
        by = {dimension: given.pop(dimension) for dimension in growths}
        model: nn.Module = scaled(by)(pretrained=False, **own, **given)
        return model

    return _signed(build, growths)


def torchvision_builder(name: str) -> Builder:
    """The same of torchvision's classifier `name`.

    Its models are for colour: for other images the first convolution is replaced by one of the same
    shape that takes their channels.

    Raises:
        UserError: torchvision has no such model.
    """
    from torchvision import models

    _check_known(name, models.list_models(module=models), "torchvision")
    entry = inspect.unwrap(models.get_model_builder(name))
    helpers = {h: rules for h, rules in _TORCHVISION.items() if h in entry.__code__.co_names}
    if "Bottleneck" in entry.__code__.co_names:
        helpers["_resnet"] = {**helpers["_resnet"], **_BOTTLENECKS}
    scaled, growths = _scaled(entry, helpers)

    def build(**given: Any) -> nn.Module:
        channels = given.pop("in_channels")
        by = {dimension: given.pop(dimension) for dimension in growths}
        model: nn.Module = scaled(by)(weights=None, **given)
        if channels != 3:
            _take_channels(model, channels)
        return model

    return _signed(build, growths)


def _scaled(
    entry: Any, helpers: Mapping[str, Mapping[str, _Growth]]
) -> tuple[Callable[[Mapping[str, float]], Builder], tuple[str, ...]]:
    """The entry as a function of multipliers, and the dimensions that these are of."""
    known = {name: dict(_known(entry, name, rules)) for name, rules in helpers.items()}
    growths = dict.fromkeys(g.dimension for rules in known.values() for g in rules.values())

    def scaled(by: Mapping[str, float]) -> Builder:
        own = {
            name: _grown(entry.__globals__[name], rules, by)
            for name, rules in known.items()
            if any(by[growth.dimension] != 1 for growth in rules.values())
        }
        # The same code, to which the helpers are others.
        same = FunctionType(entry.__code__, {**entry.__globals__, **own}, entry.__name__)
        same.__defaults__, same.__kwdefaults__ = entry.__defaults__, entry.__kwdefaults__
        return same

    return scaled, tuple(growths)


def _known(entry: Any, helper: str, rules: Mapping[str, _Growth]) -> Iterator[tuple[str, _Growth]]:
    """The arguments that a helper takes, or that the entry passes through it."""
    parameters = inspect.signature(entry.__globals__[helper]).parameters
    passed = [name for one in entry.__code__.co_consts if isinstance(one, tuple) for name in one]
    for name, growth in rules.items():
        if name in parameters or name in passed or growth.default is not None:
            yield name, growth


def _grown(
    helper: Callable[..., Any], rules: Mapping[str, _Growth], by: Mapping[str, float]
) -> Callable[..., Any]:
    """The helper, called with arguments that are multiplied."""
    signature = inspect.signature(helper)

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for name, growth in rules.items():
            place = bound.arguments if name in signature.parameters else bound.arguments["kwargs"]
            value = place.get(name, growth.default)
            place[name] = growth.grow(value, by[growth.dimension])
        return helper(*bound.args, **bound.kwargs)

    return call


def _signed(build: Builder, dimensions: tuple[str, ...]) -> Builder:
    """The function with a signature that says what it takes."""
    kinds = inspect.Parameter
    names = [*dimensions, "in_channels", "num_classes"]
    parameters = [kinds(name, kinds.KEYWORD_ONLY) for name in names]
    parameters.append(kinds("options", kinds.VAR_KEYWORD))
    build.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return build


def _take_channels(model: nn.Module, channels: int) -> None:
    """Replaces the first convolution by one for images of so many channels."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            fields = ("out_channels", "kernel_size", "stride", "padding", "dilation")
            shape = {field: getattr(layer, field) for field in fields}
            same = nn.Conv2d(channels, **shape, bias=layer.bias is not None)
            model.set_submodule(name, same)
            return
    raise UserError(
        f"{type(model).__name__} has no convolution to take images of {channels} channels",
        key="factory",
    )


def _check_known(name: str, known: list[str], library: str) -> None:
    if name not in known:
        hint = nearest(name, known)
        raise UserError(f"{library} has no model {name!r}", key="factory", hint=hint)
