"""Counts, bytes and seconds as people write them, to and from numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from scalesearch.errors import UserError

_COUNTS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BYTES = {
    "": 1,
    "B": 1,
    **{"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40},
}
_SECONDS: Mapping[str, int | Decimal] = {
    "": 1,
    "ms": Decimal("0.001"),
    "s": 1,
    "m": 60,
    "min": 60,
    "h": 3600,
    "d": 86400,
}

_COUNT_FORMS = "a whole number, or one with k, M, G or T: 2k, 400M, 1.2G"
_BYTE_FORMS = "a whole number of bytes, or one with KiB, MiB, GiB (1024), kB, MB, GB (1000): 64MiB"
_SECOND_FORMS = "a number of seconds, or one with ms, s, m, h or d: 20ms, 90s, 10m, 1h30m"

_NUMBER = r"(\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d{1,2})?)"
_ONE = re.compile(rf"\s*{_NUMBER}\s*([A-Za-z]*)\s*")
_MANY = re.compile(rf"\s*(?:{_NUMBER}\s*[A-Za-z]*\s*)+")


def parse_count(value: object) -> int:
    """The whole number that `400M`, `1.2G`, `2k` or a number stands for, exactly."""
    return _whole(value, _COUNTS, _COUNT_FORMS)


def parse_amount(value: object) -> float:
    """The number that `24M`, `0.39G` or a number stands for; as rounded, it need not be whole."""
    exact = _number(value)
    if isinstance(value, str) and (match := _ONE.fullmatch(value)):
        exact = _product(match[1], match[2], _COUNTS)
    if exact is None:
        raise UserError(
            f"{value!r} is not understood", allowed="a number, or one with k, M, G or T"
        )
    return float(exact)


def parse_bytes(value: object) -> int:
    """The bytes that `64MiB`, `1.5GiB`, `512MB` or a number stands for, exactly."""
    return _whole(value, _BYTES, _BYTE_FORMS)


def parse_seconds(value: object) -> float:
    """The seconds that `20ms`, `90s`, `10m`, `1h30m` or a number stands for."""
    if isinstance(value, str) and _MANY.fullmatch(value):
        parts = [_product(number, unit, _SECONDS) for number, unit in _ONE.findall(value)]
        if None not in parts and (len(parts) == 1 or re.fullmatch(r".*[a-z]\s*", value)):
            return float(sum(part for part in parts if part is not None))
    elif (number := _number(value)) is not None:
        return float(number)
    raise UserError(f"{value!r} is not a time", allowed=_SECOND_FORMS)


def format_count(count: float) -> str:
    """A count with four digits at most and its prefix: 385814816 is `385.8 M`."""
    return _with_prefix(count, 1000, ("", "k", "M", "G", "T", "P"))


def format_bytes(count: float) -> str:
    """Bytes with four digits at most and a binary prefix: 67108864 is `64.0 MiB`."""
    return _with_prefix(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def format_seconds(seconds: float) -> str:
    """A span of time in two units at most: `0.4 ms`, `4.2 s`, `2 min 05 s`, `1 h 02 min`."""
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"


def format_latency(seconds: float) -> str:
    """A short time with three digits: `0.85 ms`, `12.3 ms`, `123 ms`, `1.23 s`."""
    value, unit = (seconds, "s") if seconds >= 0.9995 else (seconds * 1000, "ms")
    places = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{places}f} {unit}"


@dataclass(frozen=True)
class Unit:
    """Makes pydantic read a field through `parse`; pydantic itself is loaded only where it runs."""

    parse: Callable[[object], float]
    forms: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """The field's own schema behind the parser."""
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.parse, handler(source))

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """What an editor accepts: a number or a text with a unit."""
        return {"type": ["number", "string"], "description": self.forms}


# For the options of plug-ins: `timeout: Seconds | None = None`.
Count = Annotated[int, Unit(parse_count, _COUNT_FORMS)]
Bytes = Annotated[int, Unit(parse_bytes, _BYTE_FORMS)]
Seconds = Annotated[float, Unit(parse_seconds, _SECOND_FORMS)]


def _whole(value: object, units: Mapping[str, int], forms: str) -> int:
    exact = _number(value)
    if isinstance(value, str) and (match := _ONE.fullmatch(value)):
        exact = _product(match[1], match[2], units)
    if exact is None:
        raise UserError(
            f"{value!r} is not understood", allowed=forms, hint=_near_unit(value, units)
        )
    if exact != exact.to_integral_value():
        raise UserError(f"{value!r} is {exact.normalize():f}, not a whole number", allowed=forms)
    return int(exact)


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # repr gives the digits that were written: 0.1 stays one tenth.
    exact = Decimal(repr(value))
    return exact if exact.is_finite() and exact >= 0 else None


def _product(number: str, unit: str, units: Mapping[str, int | Decimal]) -> Decimal | None:
    return Decimal(number) * units[unit] if unit in units else None


def _near_unit(value: object, units: Mapping[str, int]) -> str:
    match = _ONE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return ""
    written = match[2].lower()
    near = [unit for unit in units if unit and unit.lower() in (written, written + "ib")]
    return f"did you mean {match[1]}{near[0]}?" if near else ""


def _with_prefix(count: float, base: int, prefixes: tuple[str, ...]) -> str:
    power, value = 0, float(count)
    # 999.95 would be printed as 1000.0: it belongs to the next prefix.
    while abs(value) >= base - 0.05 and power + 1 < len(prefixes):
        power, value = power + 1, value / base
    text = f"{value:.0f}" if power == 0 else f"{value:.1f}"
    return f"{text} {prefixes[power]}".rstrip()
