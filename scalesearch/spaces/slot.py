"""One part of a network with its choices: which parameters give which value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from itertools import product
from typing import TYPE_CHECKING, Any

from scalesearch.arch.plain import make, make_stage
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.errors import UserError
from scalesearch.interfaces import Choice

if TYPE_CHECKING:
    import numpy as np

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
        """Value to its position among `values`."""
        return {value: position for position, value in enumerate(self.first)}

    @cached_property
    def choices(self) -> np.ndarray:
        """Of each value the positions of its canonical choices, int [values, parameters]."""
        import numpy as np

        order = [{c: n for n, c in enumerate(choices)} for choices in self.parameters.values()]
        rows = [
            [positions[choice] for positions, choice in zip(order, chosen, strict=True)]
            for chosen in self.first.values()
        ]
        return np.array(rows, np.intp).reshape(len(rows), len(order))

    def renamed(self, name: str) -> Slot:
        """The same slot under another name; parameters of its fields follow."""
        parameters = {name + old.removeprefix(self.name): c for old, c in self.parameters.items()}
        return replace(self, name=name, parameters=parameters)


def scalar_slot(name: str, given: Any, check: Callable[[Any], object]) -> Slot:
    """The slot of one number or word of the network."""
    choices = _choices(given, name)
    for path, value in choices.items():
        _checked(check, value, path)
    parameters = {name: tuple(choices.values())} if isinstance(given, list) else {}
    return _slot(name, parameters, lambda value=given: value)


def record_slot(name: str, kind: type[Any], plain: Mapping[str, Any], key: str) -> Slot:
    """The slot of a record whose fields may be lists; `key` is its path in the file."""
    if not isinstance(plain, Mapping):
        raise UserError(f"{plain!r} is not a mapping", key=key, allowed="key: value pairs")
    choices = {field: _choices(given, f"{key}.{field}") for field, given in plain.items()}
    base = {field: next(iter(values.values())) for field, values in choices.items()}
    make(kind, base, key)
    for field, values in choices.items():
        for path, value in values.items():
            _checked(partial(_with_field, kind, base, field), value, path)
    listed = [field for field in plain if isinstance(plain[field], list)]
    parameters = {f"{name}.{field}": tuple(choices[field].values()) for field in listed}
    combinations = math.prod(map(len, parameters.values()))
    if combinations > _MOST:
        raise UserError(
            f"{combinations:,} combinations in one stage are too many",
            key=key,
            allowed=f"{_MOST:,}",
            hint="list the stages you mean as `options`, or take fewer values",
        )
    return _slot(
        name, parameters, lambda *chosen: kind(**base | dict(zip(listed, chosen, strict=True)))
    )


def stage_slot(number: int, plain: Mapping[str, Any]) -> Slot:
    """The slot of a stage, counted from 1 in names and from 0 in the file's keys."""
    name, key = f"stage{number}", f"stages[{number - 1}]"
    if isinstance(plain, Mapping) and "options" in plain:
        return options_slot(name, plain, key, make_stage)
    slot = record_slot(name, Stage, plain, key)
    blocks = [str(block) for block in _choices(plain.get("block", "mbconv"), key).values()]
    read = {"block", "width", "stride"}.union(*map(BLOCK_FIELDS.__getitem__, blocks))
    for field in plain:
        if field not in read:
            raise UserError(
                f"the block {'/'.join(blocks)!r} has no {field!r}",
                key=f"{key}.{field}",
                allowed=", ".join(field.name for field in fields(Stage) if field.name in read),
            )
    return slot


def options_slot(
    name: str, plain: Mapping[str, Any], key: str, read: Callable[[Any, str], Any]
) -> Slot:
    """The slot of `options: […]`: whole stages or necks, distinguished by their labels.

    `read` makes one of them from its mapping and its path in the file.
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
    records: dict[str, Any] = {}
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
        if record.label in records:
            raise UserError(f"{record.label!r} is listed twice among the options", key=path)
        records[record.label] = record
    return _slot(name, {name: tuple(records)}, records.__getitem__)


def _slot(
    name: str, parameters: Mapping[str, tuple[Choice, ...]], value: Callable[..., Any]
) -> Slot:
    table = {chosen: value(*chosen) for chosen in product(*parameters.values())}
    first: dict[Any, tuple[Choice, ...]] = {}
    for chosen, result in table.items():
        first.setdefault(result, chosen)
    return Slot(name, parameters, table, first)


def _choices(given: Any, key: str) -> dict[str, Choice]:
    """The choices of a field, by their paths in the file: those of its list, or its one value."""
    if not isinstance(given, list):
        return {key: given}
    if not given:
        raise UserError("an empty list leaves no choice", key=key, allowed="at least one value")
    choices: dict[str, Choice] = {}
    for index, value in enumerate(given):
        path = f"{key}[{index}]"
        if isinstance(value, list | dict) or value is None:
            raise UserError(f"{value!r} is not a choice", key=path, allowed="a number or a word")
        # True == 1 and 1.0 == 1 in Python: equal choices give the same network.
        if value in choices.values():
            raise UserError(f"{value!r} is listed twice among the choices", key=path)
        choices[path] = value
    return choices


def _with_field(kind: type[Any], base: Mapping[str, Any], field: str, value: Any) -> Any:
    return make(kind, {**base, field: value}, "")


def _checked(check: Callable[[Any], object], value: Any, path: str) -> None:
    try:
        check(value)
    except UserError as error:
        raise UserError(error.problem, key=path, allowed=error.allowed, hint=error.hint) from None
