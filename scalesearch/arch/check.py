"""Checks that every field of a description passes when it is made."""

from __future__ import annotations

import math
from collections.abc import Iterable

from scalesearch.errors import UserError, nearest
from scalesearch.text import shortened

# What no network has, and what would take hours to write down.
_MOST = {"depth": 10_000}


def whole(key: str, value: object, least: int = 1) -> None:
    """Rejects anything but an integer of at least `least` (a bool is not an integer)."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        problem = f"{shortened(repr(value))} cannot be used"
        raise UserError(problem, key=key, allowed=f"a whole number >= {least}")
    most = _MOST.get(key, 2**31 - 1)
    if value > most:
        problem = f"{shortened(str(value), 40)} cannot be used"
        raise UserError(problem, key=key, allowed=f"up to {most:,}")


def odd(key: str, value: object) -> None:
    """Rejects anything but an odd positive integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or value % 2 == 0:
        raise UserError(
            f"{value!r} cannot be used", key=key, allowed="an odd whole number: 1, 3, 5"
        )


def yes_or_no(key: str, value: object) -> None:
    """Rejects anything but a bool."""
    if not isinstance(value, bool):
        raise UserError(f"{value!r} cannot be used", key=key, allowed="true or false")


def above_zero(key: str, value: object) -> None:
    """Rejects anything but a finite number above 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:  # type: ignore[operator]
        raise UserError(f"{value!r} cannot be used", key=key, allowed="a number above 0")


def share(record: object, key: str) -> None:
    """Rejects anything but a number from 0 to 1, and makes it a float: 0 and 0.0 are the same."""
    value = getattr(record, key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UserError(f"{value!r} cannot be used", key=key, allowed="a number from 0 to 1")
    object.__setattr__(record, key, float(value))


def made(key: str, value: object, kind: type) -> None:
    """Rejects anything but a record of `kind`."""
    if not isinstance(value, kind):
        raise UserError(f"{value!r} cannot be used", key=key, allowed=f"a {kind.__name__}")


def one_of(key: str, value: object, words: Iterable[str]) -> None:
    """Rejects a word that is not in the list and names the nearest that is."""
    allowed = list(words)
    if value not in allowed:
        hint = nearest(str(value), allowed)
        raise UserError(f"{value!r} is not known", key=key, allowed=", ".join(allowed), hint=hint)
