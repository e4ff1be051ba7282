"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from scalesearch.errors import UserError
from scalesearch.files.strict import EXPONENT

_LINE = 96
_FULL = (errno.ENOSPC, errno.EDQUOT)
# What a file system answers that has no symbolic links, no locks, or no way to flush.
UNSUPPORTED = (
    *(errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS),
    *(errno.ENOLCK, errno.EINVAL, errno.EPROTONOSUPPORT),
)
_NAME = re.compile(r"\w(?:[\w .+-]*[\w+-])?")


def write_bytes(path: Path | str, content: bytes) -> Path:
    """The path, once it holds `content`; a reader sees the old file or the new, never half of it.

    Raises:
        UserError: the disk is full or the place cannot be written; the old file is as it was.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            _flush_to_disk(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise _cannot(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
    return path


def write_text(path: Path | str, text: str) -> Path:
    r"""The path, once it holds `text` in UTF-8, and `\udcff` for a byte that is no text."""
    return write_bytes(path, text.encode(errors="backslashreplace"))


def write_yaml(path: Path | str, plain: Mapping[str, Any], about: Mapping[str, Any] = {}) -> Path:
    """The path, once it holds `plain` as YAML, below a comment line for each entry of `about`."""
    lines = "\n".join(f"{key}: {value}" for key, value in about.items()).splitlines()
    comments = "".join(f"# {line}\n" for line in lines)
    return write_text(path, comments + format_yaml(plain))


def add_comments(path: Path, about: Mapping[str, Any]) -> Path:
    """The path of a YAML file, once its comments above say this, too; an entry is replaced."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    count = next((n for n, line in enumerate(lines) if not line.startswith("# ")), len(lines))
    kept = [line for line in lines[:count] if line[2:].partition(":")[0] not in about]
    added = [f"# {key}: {value}\n" for key, value in about.items()]
    return write_text(path, "".join([*kept, *added, *lines[count:]]))


def format_yaml(plain: Mapping[str, Any]) -> str:
    """YAML text in the order of `plain`; whatever fits on a line stands on one: `- {block: …}`."""
    stream = io.StringIO()
    dumper = _Dumper(stream, width=10 * _LINE, sort_keys=False, allow_unicode=True)
    node = dumper.represent_data(dict(plain))
    for _, child in node.value:
        _set_flow(child, 1)
    dumper.open()
    dumper.serialize(node)
    dumper.close()
    return stream.getvalue()


def safe_name(text: str) -> str:
    """`text`, if it may name a file of the run folder.

    Raises:
        UserError: it is empty, hidden, or leads elsewhere.
    """
    if not _NAME.fullmatch(text) or ".." in text or len(text) > 100:
        raise UserError(
            f"{text!r} cannot name a file",
            allowed="up to 100 letters, digits, spaces and _ - + . with a letter or digit first",
        )
    return text


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Unicode's own line breaks survive in double quotes only, and so does a text like 1e3. One
        # that begins with a space of another kind would be read as indented.
        needs_quotes = any(mark in data for mark in "\x85\u2028\u2029")
        needs_quotes |= not data[:1].isprintable()
        style = '"' if needs_quotes or EXPONENT.fullmatch(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.add_representer(str, _Dumper.represent_str)


def _set_flow(node: yaml.Node, depth: int) -> None:
    """Puts a short mapping of at most two levels on one line, and a short list of scalars."""
    if not isinstance(node, yaml.CollectionNode):
        return
    children = [part for pair in node.value for part in pair] if _is_mapping(node) else node.value
    for child in children:
        _set_flow(child, depth + 1)
    levels = 2 if _is_mapping(node) else 1
    node.flow_style = _levels(node) <= levels and _length(node) + 2 * depth <= _LINE


def _is_mapping(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode)


def _levels(node: yaml.Node) -> int:
    if isinstance(node, yaml.ScalarNode):
        return 0
    values = [value for _, value in node.value] if _is_mapping(node) else node.value
    return 1 + max(map(_levels, values), default=0)


def _length(node: yaml.Node) -> int:
    if isinstance(node, yaml.ScalarNode):
        return len(node.value)
    parts = [part for pair in node.value for part in pair] if _is_mapping(node) else node.value
    return 2 + sum(_length(part) + 2 for part in parts)


def _flush_to_disk(number: int) -> None:
    try:
        os.fsync(number)
    except OSError as error:
        if (
            error.errno not in UNSUPPORTED
        ):  # else the disk cannot, and the file is as safe as it gets
            raise


def _cannot(path: Path, error: OSError) -> UserError:
    if error.errno in _FULL:
        full = "the disk is full" if error.errno == errno.ENOSPC else "the disk quota is used up"
        return UserError(
            full,
            file=str(path),
            hint="finished trials are safe: free some space and run the same command again",
        )
    return UserError(f"cannot be written: {error.strerror or error}", file=str(path))
