"""Joins definitions of our modules into one text that imports only other packages.

Starting from some names, every global name that a definition uses is followed to the module of ours
that defines it, and the source is copied unchanged, with the comments right above. Modules come in
the order in which they import each other, definitions in the order of their module. Two rules make
the result shorter: a frozen dataclass keeps only the methods that are used in it, so without the
checks of descriptions, which were done before; and a table keeps only the entries that are asked
for, so without the blocks that a network does not have.
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
Key = tuple[str, str]  # a module and a name that it defines


class Import(NamedTuple):
    """`import module`, or `from module import name`; `known_as` is the global name it makes."""

    module: str
    name: str
    known_as: str


@dataclass(frozen=True)
class Source:
    """A module of ours: its lines, its definitions and imports by the global names they make."""

    lines: tuple[str, ...]
    definitions: dict[str, ast.stmt]
    imports: dict[str, Import]

    @property
    def own_imports(self) -> list[Import]:
        """Those of other modules of ours."""
        return [one for one in self.imports.values() if one.module.startswith(_OURS)]


class Kept(NamedTuple):
    """What definitions keep: methods of frozen dataclasses by name, entries of tables by key."""

    methods: Set[str]
    entries: Mapping[str, Set[str]]


def link(
    starts: Sequence[Key], entries: Mapping[str, Set[str]] | None = None
) -> tuple[str, dict[str, str]]:
    """The import statements and definitions, by name, that `starts` need to run without us.

    `entries` are the keys that a table, a dict written out under a global name, keeps.
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
    modules = dict.fromkeys(name for module, _ in starts for name in _in_order(module))
    definitions = {
        name: _text(source(module), node, kept)
        for module in modules
        for name, node in source(module).definitions.items()
        if (module, name) in nodes
    }
    return _import_statements(outside), definitions


@cache
def source(module: str) -> Source:
    """A module of ours, read and not run."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert isinstance(spec.loader, InspectLoader)
    text = spec.loader.get_source(module) or ""
    definitions: dict[str, ast.stmt] = {}
    imports: list[Import] = []
    for node in ast.parse(text).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                definitions[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                definitions[name] = node
            case ast.Import(names=names):
                imports += [Import(n.name, "", n.asname or n.name.split(".")[0]) for n in names]
            case ast.ImportFrom(module=home, names=names):
                imports += [Import(home or "", n.name, n.asname or n.name) for n in names]
    by_name = {one.known_as: one for one in imports}
    return Source(tuple(text.splitlines()), definitions, by_name)


def _needed(starts: Sequence[Key], kept: Kept) -> tuple[dict[Key, ast.stmt], set[Import]]:
    """Definitions of ours, and imports from others, that `starts` lead to."""
    nodes: dict[Key, ast.stmt] = {}
    outside: set[Import] = set()
    queue = list(starts)
    while queue:
        key = module, name = queue.pop()
        if key in nodes:
            continue
        home = source(module)
        nodes[key] = home.definitions[name]
        for part in _parts(nodes[key], kept):
            if not isinstance(part, ast.Name):
                continue
            if part.id in home.definitions:
                queue.append((module, part.id))
            elif one := home.imports.get(part.id):
                if one in home.own_imports:
                    assert one.name == one.known_as, f"{key} uses {one} by another name"
                    queue.append((one.module, one.name))
                else:
                    outside.add(one)
    return nodes, outside


def _parts(node: ast.AST, kept: Kept) -> Iterator[ast.AST]:
    """Every syntax node of a definition, without what it does not keep."""
    dropped = {part for parts in _dropped(node, kept) for part in parts}
    if not dropped:
        yield from _all_parts(node)
        return
    queue = [node]
    while queue:
        part = queue.pop()
        if part not in dropped:
            yield part
            queue.extend(ast.iter_child_nodes(part))


@cache
def _all_parts(node: ast.AST) -> tuple[ast.AST, ...]:
    """Every syntax node of a definition, which every network that is exported asks for again."""
    return tuple(ast.walk(node))


def _dropped(node: ast.AST, kept: Kept) -> list[tuple[ast.stmt | ast.expr, ...]]:
    """Methods, and entries as pairs of key and value, that a definition does not keep."""
    match node:
        case ast.ClassDef() if _is_record(node):
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
    """Whether an ordinary class uses an attribute of its own, which no dataclass has to keep."""
    of_self = isinstance(part.value, ast.Name) and part.value.id == "self"
    return of_self and not _is_record(node)


@cache
def _is_record(node: ast.stmt) -> bool:
    """Whether it is a frozen dataclass."""
    decorators = getattr(node, "decorator_list", [])
    return any(isinstance(d, ast.Call) and "frozen=True" in ast.unparse(d) for d in decorators)


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
    imported = (name for one in source(module).own_imports for name in _in_order(one.module))
    return [*dict.fromkeys(imported), module]


def _import_statements(outside: Set[Import]) -> str:
    """Import statements as ruff sorts them: Python's own, then the others."""
    future: Set[Import] = {Import("__future__", "annotations", "annotations")}
    python = {one for one in outside if one.module.split(".")[0] in sys.stdlib_module_names}
    groups = [_import_lines(group) for group in (future, python, outside - python)]
    return "\n\n".join("\n".join(lines) for lines in groups if lines)


def _import_lines(group: Set[Import]) -> list[str]:
    modules: list[str] = []
    members: dict[str, list[str]] = defaultdict(list)
    for one in sorted(group, key=lambda one: (one.module, _rank(one.name), one.name)):
        imported = one.name or one.module
        renamed = "" if one.known_as == imported.split(".")[0] else f" as {one.known_as}"
        (members[one.module] if one.name else modules).append(imported + renamed)
    return [
        *(f"import {module}" for module in modules),
        *(f"from {module} import {', '.join(names)}" for module, names in members.items()),
    ]


def _rank(name: str) -> int:
    """Constants before classes before the rest, as ruff sorts members."""
    return 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
