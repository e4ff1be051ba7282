"""Values and foreign words as text of a Python file, laid out as `ruff format` does."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, fields, is_dataclass

from scalesearch.arch.stage import BLOCK_FIELDS, Stage

WIDTH = 100


@dataclass(frozen=True)
class Group:
    """Things between brackets: a tuple, list or dict, or a call when `opening` is `Name(`."""

    opening: str
    items: tuple[tuple[str, Item], ...]  # each after a prefix, such as `width=`

    @property
    def flat(self) -> str:
        """On one line."""
        inner = ", ".join(prefix + _flat(item) for prefix, item in self.items)
        comma = "," if self.opening == "(" and len(self.items) == 1 else ""
        return f"{self.opening}{inner}{comma}{self.closing}"

    @property
    def closing(self) -> str:
        """The bracket that ends it."""
        return {"(": ")", "[": "]", "{": "}"}[self.opening[-1]]


Item = str | Group


def literal(value: object) -> Item:
    """The expression that makes a description, a name or a number; of a stage what it uses."""
    if is_dataclass(value):
        names = [field.name for field in fields(value)]
        if isinstance(value, Stage):
            used = {"block", "width", "stride", *BLOCK_FIELDS[value.block]}
            names = [name for name in names if name in used]
        items = tuple((f"{name}=", literal(getattr(value, name))) for name in names)
        return Group(f"{type(value).__name__}(", items)
    if isinstance(value, tuple):
        record = type(value).__name__ if hasattr(value, "_fields") else ""
        return Group(f"{record}(", tuple(("", literal(inner)) for inner in value))
    if isinstance(value, list):
        return Group("[", tuple(("", literal(inner)) for inner in value))
    if isinstance(value, dict):
        pairs = ((f"{quoted(key)}: ", literal(inner)) for key, inner in value.items())
        return Group("{", tuple(pairs))
    return quoted(value) if isinstance(value, str) else repr(value)


def assignment(name: str, value: Item) -> str:
    """`name = value` on one line, or one item a line where that is too long."""
    return f"{name} = " + _laid_out(value, 0, len(name) + 3)


def quoted(text: str) -> str:
    """A string literal: double quotes unless that needs more escapes; odd characters escaped."""
    mark = "'" if text.count('"') > text.count("'") else '"'
    return mark + "".join(_escaped(letter, mark) for letter in text) + mark


def prose(text: str, used: int = 0, indent: str = "") -> str:
    """Text for a docstring whose first line has `used` columns taken; nothing in it can end it."""
    words = " ".join(text.split())
    safe = "".join(_escaped(letter, "") for letter in words).replace('"""', r"\"\"\"")
    wrapped = textwrap.fill(
        safe,
        WIDTH,
        initial_indent="-" * used,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapped[used:]


def _flat(item: Item) -> str:
    return item if isinstance(item, str) else item.flat


def _escaped(letter: str, mark: str) -> str:
    if letter == mark or letter == "\\":
        return "\\" + letter
    # repr escapes what cannot be printed: controls, line ends, marks that turn the reading order.
    return letter if letter in "'\"" else repr(letter)[1:-1]


def _laid_out(item: Item, indent: int, used: int, after: int = 0) -> str:
    """The item where `used` columns of its line are taken, and `after` follow it."""
    if isinstance(item, str) or used + len(item.flat) + after <= WIDTH:
        return _flat(item)
    deeper = " " * (indent + 4)
    lines = [
        deeper + prefix + _laid_out(inner, indent + 4, indent + 4 + len(prefix), 1) + ","
        for prefix, inner in item.items
    ]
    return "\n".join([item.opening, *lines, " " * indent + item.closing])
