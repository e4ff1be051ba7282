"""Joins our own definitions into one text that imports only what others made.

From some names on, every global name that a text uses is followed to the module that defines it,
and the text is taken as it stands, with the comments right above. Modules come in the order in
which they import each other, definitions in the order of their module. Two rules make it shorter:
a frozen dataclass keeps only the methods that are used somewhere in the result, so its checks go,
as they belong to the making of a description and what is exported was already made; and a table
keeps only the entries that are asked for, so that what one network does not use stays behind.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from importlib.abc import InspectLoader
from typing import NamedTuple

_OURS = "scalesearch."
Start = tuple[str, str]  # a module and a name that it defines


class Definition(NamedTuple):
    """A class, function or constant, and where it stands."""

    module: str
    name: str
    text: str


class Import(NamedTuple):
    """`import module`, or `from module import name`; `known_as` is the global name it makes."""

    module: str
    name: str
    known_as: str


@dataclass(frozen=True)
class Source:
    """A module of ours: its lines, its definitions and imports by the global names they make."""

    name: str
    lines: tuple[str, ...]
    definitions: dict[str, ast.stmt]
    imports: dict[str, Import]


class Linked(NamedTuple):
    """Everything that some names need: import statements, and definitions in a working order."""

    imports: str
    definitions: tuple[Definition, ...]


class Kept(NamedTuple):
    """What definitions keep: methods of frozen dataclasses by name, entries of tables by key."""

    methods: Set[str]
    entries: Mapping[str, Set[str]]


def link(starts: Sequence[Start], entries: Mapping[str, Set[str]] | None = None) -> Linked:
    """What the definitions `starts` need to live without us.

    `entries` are the keys that a table, a dict written out under a global name, shall keep.
    """
    kept = Kept(frozenset(), entries or {})
    while True:
        nodes, outside = _needed(starts, kept)
        used = {
            part.attr
            for node in nodes.values()
            for part in _parts(node, kept)
            if isinstance(part, ast.Attribute) and not _is_own(node, part)
        }
        if used <= kept.methods:
            break
        kept = kept._replace(methods=kept.methods | used)
    names = [name for _, name in nodes]
    assert len(set(names)) == len(names), f"two definitions of one name: {sorted(names)}"
    taken = tuple(
        Definition(place, name, _text(source(place), node, kept))
        for place in dict.fromkeys(place for module, _ in starts for place in _in_order(module))
        for name, node in source(place).definitions.items()
        if (place, name) in nodes
    )
    return Linked(_import_statements(outside), taken)


@cache
def source(module: str) -> Source:
    """A module of ours, read and not run."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert isinstance(spec.loader, InspectLoader)
    text = spec.loader.get_source(module) or ""
    found = Source(module, tuple(text.splitlines()), {}, {})
    for node in ast.parse(text).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                found.definitions[node.name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.definitions[name] = node
            case ast.Import():
                for alias in node.names:
                    known_as = alias.asname or alias.name.split(".")[0]
                    found.imports[known_as] = Import(alias.name, "", known_as)
            case ast.ImportFrom():
                for alias in node.names:
                    known_as = alias.asname or alias.name
                    found.imports[known_as] = Import(node.module or "", alias.name, known_as)
    return found


def _needed(starts: Sequence[Start], kept: Kept) -> tuple[dict[Start, ast.stmt], set[Import]]:
    """Definitions by module and name, and imports from others, that `starts` lead to."""
    nodes: dict[Start, ast.stmt] = {}
    outside: set[Import] = set()
    waiting = list(starts)
    while waiting:
        place = waiting.pop()
        if place in nodes:
            continue
        home = source(place[0])
        nodes[place] = node = home.definitions[place[1]]
        for part in _parts(node, kept):
            if not isinstance(part, ast.Name):
                continue
            if part.id in home.definitions:
                waiting.append((home.name, part.id))
            elif part.id in home.imports:
                found = home.imports[part.id]
                if found.module.startswith(_OURS):
                    assert found.name == found.known_as, f"{place} uses {found} by another name"
                    waiting.append((found.module, found.name))
                else:
                    outside.add(found)
    return nodes, outside


def _parts(node: ast.AST, kept: Kept) -> Iterator[ast.AST]:
    """Every syntax node of a definition, without what it does not keep."""
    dropped = [part for parts in _dropped(node, kept) for part in parts]
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if part not in dropped:
            yield part
            waiting.extend(ast.iter_child_nodes(part))


def _dropped(node: ast.AST, kept: Kept) -> list[tuple[ast.stmt | ast.expr, ...]]:
    """Methods, and entries as pairs of key and value, that a definition does not keep."""
    match node:
        case ast.ClassDef() if any(map(_makes_frozen, node.decorator_list)):
            methods = [member for member in node.body if isinstance(member, ast.FunctionDef)]
            return [(method,) for method in methods if method.name not in kept.methods]
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys, values))
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict(keys, values))
        ) if name in kept.entries:
            pairs = [(key, value) for key, value in zip(keys, values, strict=True) if key]
            return [pair for pair in pairs if ast.literal_eval(pair[0]) not in kept.entries[name]]
    return []


def _is_own(node: ast.stmt, part: ast.Attribute) -> bool:
    """What a class other than a frozen dataclass has of its own: no use of a dataclass's method."""
    of_self = isinstance(part.value, ast.Name) and part.value.id == "self"
    return of_self and not any(map(_makes_frozen, getattr(node, "decorator_list", [])))


def _makes_frozen(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and "frozen=True" in ast.unparse(decorator)


def _text(home: Source, node: ast.stmt, kept: Kept) -> str:
    """The lines of a definition from the comments right above it, without what is dropped."""
    first, last = _first_line(node), node.end_lineno or 0
    while home.lines[first - 2].startswith("#"):
        first -= 1
    lines = dict(enumerate(home.lines[first - 1 : last], start=first))
    for parts in _dropped(node, kept):
        start = _first_line(parts[0])
        while (above := home.lines[start - 2].strip()) == "" or above.startswith("#"):
            start -= 1
        for number in range(start, (parts[-1].end_lineno or 0) + 1):
            del lines[number]
    return "\n".join(lines.values())


def _first_line(node: ast.stmt | ast.expr) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _in_order(module: str) -> list[str]:
    """A module of ours after all modules of ours that it imports."""
    order: dict[str, None] = {}
    for found in source(module).imports.values():
        if found.module.startswith(_OURS):
            order |= dict.fromkeys(_in_order(found.module))
    return [*order, module]


def _import_statements(outside: Set[Import]) -> str:
    """Import statements as ruff sorts them: Python's own, then the others."""
    ours: Set[Import] = {Import("__future__", "annotations", "annotations")}
    python = {found for found in outside if found.module.split(".")[0] in sys.stdlib_module_names}
    groups = [_import_lines(group) for group in (ours, python, outside - python)]
    return "\n\n".join("\n".join(lines) for lines in groups if lines)


def _import_lines(group: Set[Import]) -> list[str]:
    modules: list[str] = []
    members: dict[str, list[str]] = defaultdict(list)
    for found in sorted(group, key=lambda found: (found.module, *_rank(found.name))):
        own = found.name or found.module
        text = own if found.known_as == own.split(".")[0] else f"{own} as {found.known_as}"
        (members[found.module] if found.name else modules).append(text)
    return [
        *(f"import {module}" for module in modules),
        *(f"from {module} import {', '.join(names)}" for module, names in members.items()),
    ]


def _rank(name: str) -> tuple[int, str]:
    """Constants before classes before the rest, as ruff sorts members."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2, name)
