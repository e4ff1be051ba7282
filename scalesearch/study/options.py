"""Plain mappings to frozen records, with every mistake in the words of the YAML file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError

from scalesearch.errors import UserError, nearest
from scalesearch.files.paths import LONGEST_PATH
from scalesearch.files.strict import format_key
from scalesearch.plugins import describe
from scalesearch.text import look, quoted, shortened

# What pydantic calls a mistake to what would have been right.
_ALLOWED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a word",
    "bool_type": "true or false",
    "path_type": "a path",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "key: value pairs",
    "model_type": "key: value pairs",
    "model_attributes_type": "key: value pairs",
    "dataclass_type": "key: value pairs",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
}

_SHOWN = 10  # mistakes beside the first


class Mistakes(ValueError):
    """Several user errors found in one reading."""

    def __init__(self, errors: Iterable[UserError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, self.errors)))

    def under(self, key: str) -> Mistakes:
        """The same mistakes below a key."""
        return Mistakes(error.at(under=key) for error in self.errors)

    def merged(self) -> UserError:
        """One error: the first mistake in full, the others a line each below it."""
        first, *others = self.errors
        if not others:
            return first
        shown = [_one_line(error) for error in others[:_SHOWN]]
        if len(others) > _SHOWN:
            shown.append("...")
        more = [f"and {len(others)} more:", *shown]
        return UserError(
            first.problem,
            key=first.key,
            allowed=first.allowed,
            hint="\n  ".join(([first.hint] if first.hint else []) + more),
            file=first.file,
            line=first.line,
        )


def read_record(kind: type[Any], plain: Mapping[str, Any], folder: Path) -> Any:
    """An instance of a dataclass from its options; relative paths start at `folder`.

    Raises:
        Mistakes: unknown and missing keys, wrong types, values that the class rejects.
    """
    if not dataclasses.is_dataclass(kind):
        raise Mistakes(
            [
                UserError(
                    f"{kind.__name__} is not a dataclass, so it has no options",
                    hint="write @dataclass(frozen=True) above it",
                )
            ]
        )
    allowed = [field.name for field in dataclasses.fields(kind) if field.init]
    unknown = [_unknown(str(key), allowed) for key in plain if key not in allowed]
    known = {key: value for key, value in plain.items() if key in allowed}
    paths = path_fields(kind).intersection(known)
    for key in (*paths, *getattr(kind, "sources", ())):
        given = known.get(key)
        if isinstance(given, str) and (key in paths or given.endswith((".yaml", ".yml"))):
            known[key] = absolute(given, folder)
    try:
        record = adapter(kind).validate_json(json.dumps(known), strict=True)
    except ValidationError as error:
        raise Mistakes([*unknown, *translate(error, kind)]) from None
    except UserError as error:
        raise Mistakes([*unknown, error]) from None
    except Exception as error:  # raised by a stranger's `__post_init__`
        raise Mistakes([UserError(f"{kind.__name__} cannot be made: {describe(error)}")]) from error
    if unknown:
        raise Mistakes(unknown)
    return record


def plain_record(record: Any) -> dict[str, Any]:
    """Every option of a dataclass instance as YAML holds it."""
    dumped = adapter(type(record)).dump_python(record, mode="json")  # type: ignore[arg-type]
    return {field.name: dumped[field.name] for field in dataclasses.fields(record) if field.init}


def path_fields(kind: type[Any]) -> set[str]:
    """The options of a dataclass that are paths."""
    try:
        hints = get_type_hints(kind)
    except Exception as error:  # a name that is imported for type checkers alone
        raise UserError(
            f"the options of {kind.__name__} cannot be read: {describe(error)}"
        ) from error
    return {name for name, hint in hints.items() if Path in (hint, *get_args(hint))}


def absolute(path: str, folder: Path) -> str:
    """A path as seen from `folder`; `~` is the home folder."""
    if len(path) > LONGEST_PATH:  # no file is there, and resolving it would take minutes
        return str(folder / path)
    return str((folder / Path(path).expanduser()).resolve())


@lru_cache(maxsize=256)
def adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Pydantic's reader of a dataclass."""
    try:
        return TypeAdapter(kind)
    except (PydanticUserError, NameError, TypeError) as error:  # annotations of a stranger's
        raise UserError(
            f"the options of {kind.__name__} cannot be read: {describe(error)}"
        ) from error


def translate(error: ValidationError, kind: type[Any]) -> list[UserError]:
    """Pydantic's findings on a `kind` as user errors, each with its key; none twice."""
    mistakes: dict[tuple[str, str], UserError] = {}
    details = error.errors(include_url=False)
    places = [detail["loc"] for detail in details]
    for detail in details:
        # A list with a wrong element counts as too short, too.
        place = detail["loc"]
        if detail["type"] == "too_short" and any(
            len(other) > len(place) and other[: len(place)] == place for other in places
        ):
            continue
        for mistake in _mistakes(dict(detail), kind):
            mistakes.setdefault((mistake.key, mistake.problem), mistake)
    return list(mistakes.values())


def _mistakes(detail: dict[str, Any], kind: type[Any]) -> list[UserError]:
    keys, sort, context = detail["loc"], detail["type"], detail.get("ctx", {})
    key = format_key(keys)
    cause = context.get("error")
    if isinstance(cause, Mistakes):
        return list(cause.under(key).errors)
    if isinstance(cause, UserError):
        return [cause.at(under=key)]
    if sort == "default_factory_not_called":  # follows from a mistake that is reported already
        return []
    if sort == "missing":
        return [UserError(f"{keys[-1]!r} is missing", key=format_key(keys[:-1]))]
    if sort in ("extra_forbidden", "unexpected_keyword_argument"):  # of models, of dataclasses
        return [
            _unknown(str(keys[-1]), _fields_at(kind, keys[:-1])).at(under=format_key(keys[:-1]))
        ]
    value = detail["input"]
    if sort == "literal_error":
        words = context["expected"].replace("'", "")
        near = nearest(str(value), words.replace(" or ", ", ").split(", "))
        return [UserError(f"{quoted(value)} is not known", key=key, allowed=words, hint=near)]
    allowed = _ALLOWED.get(sort, detail["msg"]).format(**context)
    return [UserError(f"{quoted(value)} cannot be used", key=key, allowed=allowed)]


def _unknown(key: str, allowed: list[str]) -> UserError:
    text = ", ".join(allowed) or "no options"
    hint = nearest(look(key), allowed)
    return UserError(f"unknown key {quoted(key)}", key=shortened(key), allowed=text, hint=hint)


def _fields_at(kind: type[Any], keys: tuple[str | int, ...]) -> list[str]:
    """The keys that pydantic's model, or a dataclass, has at a place below `kind`."""
    model: Any = kind
    for key in keys:
        hint = get_type_hints(model).get(str(key))
        inner = [part for part in (hint, *get_args(hint)) if isinstance(part, type)]
        model = next(p for p in inner if issubclass(p, BaseModel) or dataclasses.is_dataclass(p))
    if issubclass(model, BaseModel):
        return list(model.model_fields)
    return [field.name for field in dataclasses.fields(model)]


def _one_line(error: UserError) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines())
