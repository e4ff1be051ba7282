"""One part of a network with its choices: which parameters give which value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from itertools import product
from typing import Any

from scalesearch.arch.plain import make, make_stage
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.errors import UserError
from scalesearch.interfaces import Choice

# Above this many combinations a table would take seconds to build.
_MOST = 1_000_000


@dataclass(frozen=True)
class Slot:
    """A stage, the stem, the head or one number of a network.

    Several combinations may give one value: an `identity` block reads no kernel. The first of
    them, in the order of the file, is the canonical one.

    Attributes:
        name: `stage1`, `stem`, `head`, `resolution`, …
        parameters: name to choices; none for a fixed part.
        table: a choice for each parameter, in their order, to the value they give.
        first: value to its canonical combination.
    """

    name: str
    parameters: Mapping[str, tuple[Choice, ...]]
    table: Mapping[tuple[Choice, ...], Any]
    first: Mapping[Any, tuple[Choice, ...]]

    @property
    def values(self) -> tuple[Any, ...]:
        """The different values, in the order of their canonical combinations."""
        return tuple(self.first)

    @cached_property
    def positions(self) -> Mapping[Any, int]:
        """Value to its place among `values`."""
        return {value: place for place, value in enumerate(self.first)}

    def renamed(self, name: str) -> Slot:
        """The same slot under another name; parameters of its fields follow."""
        parameters = {name + old.removeprefix(self.name): c for old, c in self.parameters.items()}
        return replace(self, name=name, parameters=parameters)


def scalar_slot(name: str, given: Any, check: Callable[[Any], object]) -> Slot:
    """The slot of one number or word of the network."""
    options = _choices(given, name)
    for index, value in enumerate(options):
        _checked(check, value, _place(name, given, index))
    listed = isinstance(given, list)
    parameters = {name: options} if listed else {}
    return _slot(name, parameters, lambda *chosen: chosen[0] if listed else given)


def record_slot(name: str, kind: type[Any], plain: Mapping[str, Any], key: str) -> Slot:
    """The slot of a record whose fields may be lists; `key` is its place in the file."""
    if not isinstance(plain, Mapping):
        raise UserError(f"{plain!r} is not a mapping", key=key, allowed="key: value pairs")
    options = {field: _choices(value, f"{key}.{field}") for field, value in plain.items()}
    base = {field: values[0] for field, values in options.items()}
    make(kind, base, key)
    for field, values in options.items():
        for index, value in enumerate(values):
            path = _place(f"{key}.{field}", plain[field], index)
            _checked(partial(_with_field, kind, base, field), value, path)
    listed = [field for field in options if isinstance(plain[field], list)]
    parameters = {f"{name}.{field}": options[field] for field in listed}
    _check_size(parameters, key)
    return _slot(
        name, parameters, lambda *chosen: kind(**base | dict(zip(listed, chosen, strict=True)))
    )


def stage_slot(number: int, plain: Mapping[str, Any]) -> Slot:
    """The slot of a stage, counted from 1 in names and from 0 in the file's keys."""
    name, key = f"stage{number}", f"stages[{number - 1}]"
    if isinstance(plain, Mapping) and "options" in plain:
        return options_slot(name, plain, key, make_stage)
    slot = record_slot(name, Stage, plain, key)
    blocks = _choices(plain.get("block", "mbconv"), key)
    read = {"block", "width", "stride"}.union(*(BLOCK_FIELDS[str(block)] for block in blocks))
    for field in plain:
        if field not in read:
            raise UserError(
                f"the block {'/'.join(map(str, blocks))!r} has no {field!r}",
                key=f"{key}.{field}",
                allowed=", ".join(field.name for field in fields(Stage) if field.name in read),
            )
    return slot


def options_slot(
    name: str, plain: Mapping[str, Any], key: str, read: Callable[[Any, str], Any]
) -> Slot:
    """The slot of `options: […]`: whole stages or necks, told apart by their labels.

    `read` makes one of them from its mapping and its place in the file.
    """
    for other in plain:
        if other != "options":
            raise UserError(
                f"{other!r} cannot stand beside 'options'",
                key=f"{key}.{other}",
                hint="write it into every option",
            )
    options, what = plain["options"], name.rstrip("0123456789")
    if not isinstance(options, list) or not options:
        raise UserError(
            f"{options!r} gives no options", key=f"{key}.options", allowed=f"a list of {what}s"
        )
    table: dict[tuple[Choice, ...], Any] = {}
    for index, option in enumerate(options):
        path = f"{key}.options[{index}]"
        for field, value in option.items() if isinstance(option, Mapping) else ():
            if isinstance(value, list):
                raise UserError(
                    f"an option is one whole {what} and holds no list",
                    key=f"{path}.{field}",
                    hint="write one option for each value",
                )
        record = read(option, path)
        if (record.label,) in table:
            raise UserError(f"{record.label!r} stands twice among the options", key=path)
        table[(record.label,)] = record
    return _slot(name, {name: tuple(label for (label,) in table)}, lambda label: table[(label,)])


def _slot(
    name: str, parameters: Mapping[str, tuple[Choice, ...]], value: Callable[..., Any]
) -> Slot:
    table = {chosen: value(*chosen) for chosen in product(*parameters.values())}
    first: dict[Any, tuple[Choice, ...]] = {}
    for chosen, result in table.items():
        first.setdefault(result, chosen)
    return Slot(name, parameters, table, first)


def _choices(given: Any, key: str) -> tuple[Choice, ...]:
    """The choices of a field: those of its list, or its one value."""
    if not isinstance(given, list):
        return (given,)
    if not given:
        raise UserError("an empty list leaves no choice", key=key, allowed="at least one value")
    for index, value in enumerate(given):
        path = f"{key}[{index}]"
        if isinstance(value, list | dict) or value is None:
            raise UserError(f"{value!r} is not a choice", key=path, allowed="a number or a word")
        # True == 1 and 1.0 == 1 in Python: equal choices give the same network.
        if value in given[:index]:
            raise UserError(f"{value!r} stands twice among the choices", key=path)
    return tuple(given)


def _checked(check: Callable[[Any], object], value: Any, place: str) -> None:
    try:
        check(value)
    except UserError as error:
        raise UserError(error.problem, key=place, allowed=error.allowed, hint=error.hint) from None


def _with_field(kind: type[Any], base: Mapping[str, Any], field: str, value: Any) -> Any:
    return make(kind, {**base, field: value}, "")


def _place(key: str, given: Any, index: int) -> str:
    return f"{key}[{index}]" if isinstance(given, list) else key


def _check_size(parameters: Mapping[str, Sequence[Choice]], key: str) -> None:
    combinations = math.prod(map(len, parameters.values()))
    if combinations > _MOST:
        raise UserError(
            f"{combinations:,} combinations in one stage are too many",
            key=key,
            allowed=f"{_MOST:,}",
            hint="list the stages you mean as `options`, or take fewer values",
        )
