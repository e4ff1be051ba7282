"""A network of anyone's, known by the call that builds it: described here, and called."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scalesearch import plugins
from scalesearch.arch import check
from scalesearch.errors import UserError, nearest
from scalesearch.text import shortened

DIMENSIONS = ("depth", "width", "resolution")
# What is passed to a factory whose signature has it, beside its options.
ARGUMENTS = (*DIMENSIONS, "in_channels", "num_classes")
# Sides in a row that a factory or its module may reject: multiples of 32 pixels are found.
REJECTED_SIDES = 17
# Libraries whose models are named as `timm:mobilenetv3_large_100`, and what gives their builders.
LIBRARIES = {
    "timm": "scalesearch.nn.library_models:timm_builder",
    "torchvision": "scalesearch.nn.library_models:torchvision_builder",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory:
    """A classifier that a function builds from multipliers of depth and width, and a resolution.

    Attributes:
        factory: the function, as `package.module:name`, or a model of a library: `timm:NAME`,
            `torchvision:NAME`. It returns a torch module: images [N, C, R, R] to logits [N, K].
        depth, width: its multipliers, relative to what it builds at 1.
        resolution: side of the square input in pixels.
        in_channels: 3 for colour, 1 for grey.
        num_classes: outputs of the classifier.
        options: more keyword arguments: words, numbers, and lists and mappings of them.
    """

    factory: str
    depth: float = 1.0
    width: float = 1.0
    resolution: int = 224
    in_channels: int = 3
    num_classes: int = 1000
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.factory, str) or ":" not in self.factory:
            raise UserError(
                f"{shortened(repr(self.factory))} names no factory",
                key="factory",
                allowed="package.module:function, timm:NAME or torchvision:NAME",
            )
        for key in ("depth", "width"):
            check.above_zero(key, getattr(self, key))
            object.__setattr__(self, key, float(getattr(self, key)))  # 1 and 1.0 are the same
        for key in ("resolution", "in_channels", "num_classes"):
            check.whole(key, getattr(self, key))
        object.__setattr__(self, "options", _plain_options(self.options))

    @property
    def call(self) -> str:
        """The call that builds it, as Python writes it: `build(depth=1.2, width=1.1)`."""
        given = arguments(self)
        words = [f"{key}={value!r}" for key, value in given.items()]
        return f"{self.factory.partition(':')[2]}({', '.join(words)})"


def builder(net: Factory) -> Callable[..., Any]:
    """The function that builds a network.

    Raises:
        UserError: it cannot be imported, or is none.
    """
    library, _, name = net.factory.partition(":")
    if library in LIBRARIES:
        made: Callable[..., Any] = plugins.load_object(LIBRARIES[library])(name)
        return made
    function = plugins.load_object(net.factory)
    if not callable(function):
        raise UserError(
            f"{net.factory} is {type(function).__name__}, which cannot be called",
            key="factory",
            allowed="a function of depth, width and resolution that returns a torch module",
        )
    if not is_factory(function):  # names from files are data: no other function is called
        raise UserError(
            f"{net.factory} takes none of {', '.join(ARGUMENTS)}, by which it could be scaled",
            key="factory",
            allowed="a function of depth, width and resolution that returns a torch module",
            hint="name them in its signature: `**` does not say what is scaled"
            if any(one.kind is one.VAR_KEYWORD for one in _parameters(function).values())
            else "",
        )
    called: Callable[..., Any] = function
    return called


def is_factory(function: object) -> bool:
    """Whether a function asks for what a factory is given, so that it may build a module."""
    return callable(function) and bool({*ARGUMENTS} & {*_parameters(function)})


def takes_arguments(function: object) -> bool:
    """Whether a function's signature has any argument."""
    return callable(function) and bool(_parameters(function))


def declared(net: Factory) -> tuple[str, ...]:
    """Those of `ARGUMENTS` that a factory asks for."""
    names = _parameters(builder(net))
    return tuple(name for name in ARGUMENTS if name in names)


def arguments(net: Factory) -> dict[str, Any]:
    """The keyword arguments that a network is built with.

    Raises:
        UserError: an option that the factory does not know, or an argument that nothing gives.
    """
    function = builder(net)
    parameters = _parameters(function)
    open_end = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in net.options:
        if name in ARGUMENTS or not (open_end or name in parameters):
            known = [name for name in parameters if name not in ARGUMENTS]
            raise UserError(
                f"{net.factory} takes no option {name!r}",
                key=f"options.{name}",
                allowed=", ".join(known) or "none",
                hint="it stands beside `options`" if name in ARGUMENTS else nearest(name, known),
            )
    given = {name: getattr(net, name) for name in ARGUMENTS if name in parameters}
    given |= copy.deepcopy(dict(net.options))
    if by_position := [n for n, one in parameters.items() if one.kind is one.POSITIONAL_ONLY]:
        raise UserError(
            f"{net.factory} takes {by_position[-1]!r} by position alone",
            key="factory",
            allowed="arguments that can be given by their names",
            hint="take the `/` out of its signature",
        )
    needed = [
        name
        for name, one in parameters.items()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if lacking := [name for name in needed if name not in given]:
        raise UserError(
            f"{net.factory} needs {lacking[0]!r}, which nothing gives",
            key="factory",
            allowed=f"{', '.join(ARGUMENTS)}, and what `options` give",
            hint=f"write `options: {{{lacking[0]}: …}}`",
        )
    return given


def build_module(net: Factory) -> Any:
    """The torch module of a network, freshly initialised by its own code.

    Raises:
        UserError: the factory fails, or returns something else.
    """
    function, given = builder(net), arguments(net)
    try:
        module = function(**given)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{net.factory} failed: {plugins.describe(error)}", key="factory", hint=f"in {net.call}"
        ) from error
    if not isinstance(module, plugins.load_object("torch.nn:Module")):
        raise UserError(
            f"{net.factory} returns {type(module).__name__}, not a torch module",
            key="factory",
            allowed="a torch.nn.Module",
            hint="one that returns a description takes no arguments",
        )
    return module


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C, or no function
        return {}


def _plain_options(options: object) -> dict[str, Any]:
    """A copy of options, whose tuples have become lists, as a file would give them back."""
    allowed = "key: value pairs of words, numbers, lists and mappings"
    if not isinstance(options, Mapping):
        raise UserError(f"{options!r} is not a mapping", key="options", allowed=allowed)
    if not all(isinstance(name, str) and name.isidentifier() for name in options):
        raise UserError("a name in the options is none", key="options", allowed=allowed)
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(options), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"options that cannot be written down: {shortened(str(error))}"
        raise UserError(problem, key="options", allowed=allowed) from None
    return plain
