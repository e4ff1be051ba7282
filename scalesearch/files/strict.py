"""YAML read strictly: plain values with the line of every key, or one clear mistake."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from scalesearch.errors import UserError, nearest
from scalesearch.files.paths import exists
from scalesearch.text import odd_characters, shortened

Keys = tuple[str | int, ...]

_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_MOST_BYTES = 4 * 2**20
_MOST_VALUES = 100_000
_DEEPEST = 40
# Numbers with an exponent, which YAML 1.1 wants a point and a sign in.
EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
# Octal without an o, and base 60.
_AMBIGUOUS = re.compile(r"[-+]?0[0-9_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_MERGE = "tag:yaml.org,2002:merge"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


@dataclass(frozen=True)
class Document:
    """A YAML file that was read.

    Attributes:
        plain: mappings, lists, numbers, words, true, false and null.
        path: of the file.
        lines: place of a value, such as `("stages", 2, "kernel")`, to its line from 1.
    """

    plain: dict[str, Any]
    path: Path
    lines: Mapping[Keys, int]

    def locate(self, error: UserError) -> UserError:
        """The same mistake with this file and the line of its key, or of the nearest parent.

        One that is placed in another file stays there.
        """
        if error.file and error.file != str(self.path):
            return error
        return error.at(file=str(self.path), line=self.line(parse_key(error.key)))

    def line(self, keys: Keys) -> int:
        """The line of a key, or of the nearest parent that has one."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys, 0)


def load_yaml(path: Path | str) -> Document:
    """The mapping in a YAML file; `yaml.safe_load`'s values, no tags, no key twice.

    Raises:
        UserError: with the file and the line of whatever is wrong.
    """
    path = Path(path)
    text = _read(path)
    try:
        plain, lines = _parsed(text)
    except UserError as error:
        raise error.at(file=str(path)) from None
    if plain is None:
        raise UserError("the file is empty", file=str(path), allowed="key: value pairs")
    if not isinstance(plain, dict):
        raise UserError(
            f"the top level is {_kind(plain)}",
            file=str(path),
            line=1,
            allowed="key: value pairs",
            hint=f"the file holds {odd}" if (odd := _odd(text)) else "",
        )
    return Document(copy.deepcopy(plain), path, lines)


@lru_cache(maxsize=64)
def _parsed(text: str) -> tuple[Any, Mapping[Keys, int]]:
    """The values of a text and their lines: a run reads its own few files again and again."""
    lines: dict[Keys, int] = {}
    return _Reader(lines).read(text), lines


def _odd(text: str) -> str:
    return odd_characters("".join(text.splitlines()))


def parse_value(text: str) -> Any:
    """The plain value of one piece of YAML, such as the right side of `search.trials=5`."""
    return _Reader({}).read(text)


def parse_key(key: str) -> Keys:
    """`stages[2].kernel` as `("stages", 2, "kernel")`."""
    parts = re.findall(r"\[(\d+)\]|([^.\[\]]+)", key)
    return tuple(int(index) if index else word for index, word in parts)


def format_key(keys: Keys) -> str:
    """`("stages", 2, "kernel")` as `stages[2].kernel`."""
    parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return "".join(parts).removeprefix(".")


class _Reader:
    """Builds plain values from YAML's nodes and notes the line of each."""

    def __init__(self, lines: dict[Keys, int]) -> None:
        self._lines = lines
        self._values = 0
        self._open: set[int] = set()

    def read(self, text: str) -> Any:
        _check_indents(text)
        try:
            self._loader = _Loader(text)
            node = self._loader.get_single_node()
            return None if node is None else self._value(node, ())
        except yaml.MarkedYAMLError as error:
            raise _readable(error, text) from None
        except (RecursionError, MemoryError):
            raise UserError(f"nested deeper than {_DEEPEST}") from None
        except yaml.YAMLError as error:
            raise UserError(f"this is not YAML: {error}".splitlines()[0]) from None

    def _value(self, node: yaml.Node, keys: Keys) -> Any:
        self._count()
        if id(node) in self._open:
            raise _at(node, "an alias refers to the value that holds it", keys)
        self._open.add(id(node))
        try:
            self._lines.setdefault(keys, _line(node))
            if isinstance(node, yaml.MappingNode):
                return dict(self._pairs(node, keys))
            if isinstance(node, yaml.SequenceNode):
                return [self._value(item, (*keys, i)) for i, item in enumerate(node.value)]
            return self._scalar(node, keys)
        finally:
            self._open.discard(id(node))

    def _pairs(self, node: yaml.MappingNode, keys: Keys) -> Iterator[tuple[str, Any]]:
        """The entries of a mapping, merged ones first so that its own replace them."""
        own = [pair for pair in node.value if pair[0].tag != _MERGE]
        names = [self._name(key, keys) for key, _ in own]
        merged = [value for key, value in node.value if key.tag == _MERGE]
        for name, value in [pair for each in merged for pair in self._merged(each, keys)]:
            if name not in names:
                yield name, value
        for (key, _), name, index in zip(own, names, range(len(own)), strict=True):
            if name in names[:index]:
                raise _at(key, f"the key {name!r} stands twice", (*keys, name))
            self._lines[(*keys, name)] = _line(key)
        for (_, value), name in zip(own, names, strict=True):
            yield name, self._value(value, (*keys, name))

    def _merged(self, node: yaml.Node, keys: Keys) -> Iterator[tuple[str, Any]]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        # The first of several merged mappings wins, so it is given last.
        for part in reversed(parts):
            if not isinstance(part, yaml.MappingNode) or id(part) in self._open:
                raise _at(node, "<< needs a mapping or a list of mappings", keys)
            self._count()
            self._open.add(id(part))
            yield from self._pairs(part, keys)
            self._open.discard(id(part))

    def _count(self) -> None:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise UserError(
                f"the file holds more than {_MOST_VALUES:,} values, aliases written out"
            )

    def _name(self, node: yaml.Node, keys: Keys) -> str:
        value = self._scalar(node, keys) if isinstance(node, yaml.ScalarNode) else node.value
        if not isinstance(value, str):
            raise _at(
                node, f"the key {node.value!r} is {_kind(value)}", keys, "a word; or quote it"
            )
        odd = "" if getattr(node, "style", None) else value[: len(value) - len(_bare(value))]
        if odd:  # which YAML takes for letters
            raise _at(node, f"{odd_characters(odd)} indents this line", keys, "spaces")
        return value

    def _scalar(self, node: yaml.Node, keys: Keys) -> Any:
        if node.tag == _TIMESTAMP:
            raise _at(node, f"{node.value} reads as a date", keys, f'"{node.value}" in quotes')
        if getattr(node, "style", None) is None and (number := _number(node, keys)) is not None:
            return number
        try:
            return self._loader.construct_object(node)
        except (ValueError, OverflowError) as error:
            text = shortened(str(error), 80)
            raise _at(node, f"{node.value[:40]!r} cannot be read: {text}", keys) from None


def _number(node: yaml.Node, keys: Keys) -> int | float | None:
    """A number that YAML 1.1 does not read as it is written; None for all else.

    `1e-3` is a text there, as it has no point.

    Raises:
        UserError: one that YAML reads as another: `0123` with the base 8, `1:30` with the base 60;
            or one that no float holds.
    """
    text = node.value
    if node.tag in _NUMBERS and _AMBIGUOUS.fullmatch(text):
        plain = text.replace("_", "").lstrip("+-0") or "0"
        allowed = f'"{text}" in quotes' + ("" if ":" in text else f", or {plain} without the 0")
        problem = f"{text[:40]} reads as another number in YAML"
        raise _at(node, problem, keys, shortened(allowed))
    if not EXPONENT.fullmatch(text):
        return None
    value = float(text)
    if math.isinf(value):
        raise _at(node, f"{text[:40]} is beyond what a number can be", keys, "up to 1.8e308")
    is_whole = "." not in text and value.is_integer() and abs(value) < 2**53
    return int(value) if is_whole else value


def _read(path: Path) -> str:
    if not exists(path):
        beside = [other.name for other in path.parent.glob("*.y*ml")]
        raise UserError("there is no such file", file=str(path), hint=nearest(path.name, beside))
    if not path.is_file():
        raise UserError("this is a folder, not a file", file=str(path), allowed="a YAML file")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError("the file is larger than 4 MiB", file=str(path), allowed="a YAML file")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError("this is not UTF-8 text", file=str(path), line=line) from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", file=str(path)) from None


def _bare(word: str) -> str:
    return word.lstrip().lstrip(_INVISIBLE)


def _check_indents(text: str) -> None:
    for number, line in enumerate(text.split("\n"), 1):
        first = next((c for c in line if c != " "), "")
        if first == "\t" and line.strip():
            raise UserError("a tab indents this line", line=number, allowed="spaces")


class _Loader(yaml.SafeLoader):
    """Rejects tags and deep nesting where they stand, before anything is built of them."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if tag:
            raise UserError(
                f"the tag {tag!r} is not allowed",
                line=_line(event),
                allowed="plain values without tags",
            )
        holds_others = isinstance(event, yaml.CollectionStartEvent)
        self._depth += holds_others
        if self._depth > _DEEPEST:
            raise UserError(f"nested deeper than {_DEEPEST}", line=_line(event))
        node = super().compose_node(parent, index)
        self._depth -= holds_others
        return node


def _readable(error: yaml.MarkedYAMLError, text: str) -> UserError:
    mark = error.problem_mark or error.context_mark
    parts = ", ".join(part for part in (error.context, error.problem) if part)
    marks = [one.line for one in (error.context_mark, error.problem_mark) if one]
    around = text.split("\n")[min(marks) : max(marks) + 1] if marks else []
    odd = odd_characters(" ".join(around).replace("\t", " "))
    return UserError(
        f"this is not YAML: {parts}",
        line=mark.line + 1 if mark else 0,
        hint=f"there stands {odd}" if odd else "",
    )


def _at(node: yaml.Node, problem: str, keys: Keys, allowed: str = "") -> UserError:
    return UserError(problem, key=format_key(keys), allowed=allowed, line=_line(node))


def _line(place: yaml.Node | yaml.Event) -> int:
    return int(place.start_mark.line) + 1 if place.start_mark else 0


def _kind(value: object) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "a text", bool: "true or false"}
    return kinds.get(type(value), "empty" if value is None else "a number")
