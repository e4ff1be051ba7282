"""A study file to a frozen `Study`, and back to plain values."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from scalesearch.cost.limits import Limit
from scalesearch.errors import UserError
from scalesearch.files.strict import Document, Keys, format_key, load_yaml, parse_key, parse_value
from scalesearch.history.objective import Objective
from scalesearch.plugins import names
from scalesearch.study.checks import check_task
from scalesearch.study.detection import DetectionStudy
from scalesearch.study.options import Mistakes, translate
from scalesearch.study.parts import Plugin, plain_limits, plain_objective, plain_options
from scalesearch.study.schema import Study

_TASKS: dict[Any, type[Study]] = {"detection": DetectionStudy}
_SETTINGS = frozenset((*Study.model_fields, *DetectionStudy.model_fields))
_EXECUTION = ("executor", "address")  # whose mistakes show themselves when workers start
_NAMED = ("dataset", "evaluator", "sampler")
# Sections with an evaluator, each with the one whose evaluator it takes where it says nothing: ""
# is the study itself.
_ABOVE = {"search": "", "grid": "", "family": "", "search.confirm": "search"}


def load_study(path: Path | str, overrides: Sequence[str] = ()) -> Study:
    """The study in a YAML file, with settings such as `search.trials=5` in place of its own.

    Relative paths start at the file's folder, those of overrides too.

    Raises:
        UserError: every mistake in it, each with file, line, key, value and what is allowed.
    """
    document = load_yaml(path)
    _reject_empty_sections(document)
    plain, changed = _overridden(document.plain, overrides)
    context = {"folder": document.path.resolve().parent}
    task = plain.get("task")
    kind = _TASKS.get(task, Study) if isinstance(task, str) else Study
    _reject_other_task(plain, document, kind)
    _reject_loose_confirm(plain, document, changed)
    try:
        text = json.dumps(_with_phase_evaluators(plain, kind.default_evaluator))
        return kind.model_validate_json(text, strict=True, context=context)
    except ValidationError as error:
        mistakes = [_placed(mistake, document, changed) for mistake in translate(error, kind)]
        raise Mistakes(_own(mistakes, plain)).merged() from None


@contextmanager
def placing(path: Path | str, overrides: Sequence[str] = ()) -> Iterator[None]:
    """Gives a mistake that shows itself after a study was read the file and line of its key."""
    document = load_yaml(path)  # now: it may be another one when something is wrong
    plain, changed = _overridden(document.plain, overrides)
    try:
        yield
    except UserError as error:
        keys = parse_key(error.key)
        if error.file or not keys:
            raise
        if keys[0] in _EXECUTION:
            keys = ("execution", *keys)
        elif keys[0] not in _SETTINGS:  # a key of something else
            raise
        keys = _written(keys, plain)
        raise _placed(error.moved(format_key(keys)), document, changed) from error


def resolved(study: Study) -> dict[str, Any]:
    """The study with every default filled in, as plain values; itself a valid study file."""
    plain: dict[str, Any] = _plain(study)
    return {key: value for key, value in plain.items() if value is not None}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed from one resolved study to another: `search.trials: 24 -> 30`."""
    before, after = dict(_leaves(old, "")), dict(_leaves(new, ""))
    keys = [*before, *(key for key in after if key not in before)]
    return [
        f"{key}: {_word(before, key)} -> {_word(after, key)}"
        for key in keys
        if _word(before, key) != _word(after, key)
    ]


def _reject_empty_sections(document: Document) -> None:
    for key, value in document.plain.items():
        if value is None:
            raise document.locate(
                UserError(
                    f"{key!r} is empty",
                    key=key,
                    hint=f"write `{key}: {{}}` for its defaults, or leave it out",
                )
            )


def _reject_other_task(plain: Mapping[str, Any], document: Document, kind: type[Study]) -> None:
    """Rejects a data set of the other task first of all: it makes most other keys wrong as well."""
    given = _named(plain.get("dataset"))
    name = given.get("name") if isinstance(given, Mapping) else None
    if plain.get("task", kind.task_name) != kind.task_name or name not in names("datasets"):
        return
    try:
        check_task(Plugin("datasets", name, {}), kind.task_name, "dataset")
    except UserError as error:
        raise document.locate(error) from None


def _reject_loose_confirm(
    plain: Mapping[str, Any], document: Document, changed: Sequence[Keys]
) -> None:
    """Rejects a section that belongs to the search, where it stands by itself or without one."""
    if "confirm" in plain:
        problem, key = "a part of the search, not of the study", "confirm"
    elif (search := _section(plain, "search")) and "confirm" in search and "space" not in search:
        problem, key = "there is no search whose networks could be confirmed", "search.confirm"
    else:
        return
    hint = "write `search: {space: ..., trials: ..., confirm: {top: 3, seeds: 3}}`"
    raise _placed(UserError(problem, key=key, hint=hint), document, changed)


def _overridden(
    plain: Mapping[str, Any], overrides: Sequence[str]
) -> tuple[dict[str, Any], list[Keys]]:
    """The plain study with each `key=value` set, and the keys that were."""
    changed: dict[Any, Any] = json.loads(json.dumps(plain))
    keys = []
    for override in overrides:
        key, equals, text = override.partition("=")
        path = parse_key(key.strip())
        if not equals or not path or not all(isinstance(word, str) for word in path):
            raise UserError(
                f"{override!r} is not a setting", file="command line", allowed="key=value"
            )
        try:
            _set(changed, path, parse_value(text))
        except UserError as error:
            raise UserError(
                error.problem, key=key, allowed=error.allowed, file="command line"
            ) from None
        keys.append(path)
    return changed, keys


def _set(plain: dict[str | int, Any], path: Keys, value: Any) -> None:
    for key in path[:-1]:
        if key in _NAMED and isinstance(plain.get(key), str):
            plain[key] = {"name": plain[key]}  # the short form: `sampler: tpe`
        plain = plain.setdefault(key, {})
        if not isinstance(plain, dict):
            raise UserError(f"{key!r} is {plain!r} and has no settings below it")
    plain[path[-1]] = value


def _with_phase_evaluators(plain: Mapping[str, Any], default: str) -> dict[str, Any]:
    """Each phase's evaluator: the study's, with what the phase says otherwise."""
    merged: dict[str, Any] = copy.deepcopy(dict(plain))
    for name, above in _ABOVE.items():
        section = _section(merged, name)
        if section is None:
            continue
        base = _named((_section(merged, above) or {}).get("evaluator", default))
        own = _named(section.get("evaluator", {}))
        both = isinstance(own, dict) and isinstance(base, dict)
        same = both and own.get("name", base.get("name")) == base.get("name")
        if same and "recipe" in own:  # which takes nothing else of the one above
            base = {"name": base.get("name")}
        section["evaluator"] = base | own if same else own
    return merged


def _section(plain: Mapping[str, Any], name: str) -> Any:
    """The mapping at a key such as `search.confirm`, or None."""
    section: Any = plain
    for key in name.split(".") if name else ():
        section = section.get(key) if isinstance(section, dict) else None
    return section if isinstance(section, dict) else None


def _own_evaluator(plain: Mapping[str, Any], name: str) -> Any:
    """What a section says of its evaluator."""
    return _named((_section(plain, name) or {}).get("evaluator", {}))


def _written(keys: Keys, plain: Mapping[str, Any]) -> Keys:
    """The key of an evaluator's option where it was written: that section's own, or one above."""
    for name in reversed(_ABOVE):
        place = (*name.split("."), "evaluator")
        if keys[: len(place)] != place:
            continue
        option, own = keys[len(place) :][:1], _own_evaluator(plain, name)
        stays = isinstance(own, dict) and (option[0] in own if option else bool(own))
        if stays:
            return keys
        above = _ABOVE[name].split(".") if _ABOVE[name] else []
        return _written((*above, "evaluator", *keys[len(place) :]), plain)
    return keys


def _named(given: Any) -> Any:
    return {"name": given} if isinstance(given, str) else given


def _own(mistakes: list[UserError], plain: Mapping[str, Any]) -> list[UserError]:
    """By line, without what a phase has from the study's evaluator: that is reported there."""
    reported = {mistake.key for mistake in mistakes}
    own_mistakes = []
    for mistake in mistakes:
        name = next((n for n in reversed(_ABOVE) if mistake.key.startswith(f"{n}.evaluator")), None)
        if name is not None:
            rest, above = mistake.key.removeprefix(f"{name}."), _ABOVE[name]
            own = _own_evaluator(plain, name)
            own = own if isinstance(own, dict) else {"evaluator": own}
            same = f"{above}.{rest}".removeprefix(".") in reported
            if same and rest.removeprefix("evaluator.") not in own:
                continue
        own_mistakes.append(mistake)
    return sorted(own_mistakes, key=lambda mistake: (mistake.file == "command line", mistake.line))


def _placed(mistake: UserError, document: Document, changed: Sequence[Keys]) -> UserError:
    keys = parse_key(mistake.key)
    if any(keys[: len(path)] == path for path in changed):
        return mistake.at(file="command line")
    return document.locate(mistake)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {key: _plain(getattr(value, key)) for key in type(value).model_fields}
    if isinstance(value, Mapping):
        limits = all(isinstance(limit, Limit) for limit in value.values())
        if limits:
            return plain_limits(value)
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, Objective):
        return plain_objective(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return plain_options(value) if dataclasses.is_dataclass(value) else value


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping) or not value:
        yield key, value
        return
    for name, inner in value.items():
        yield from _leaves(inner, f"{key}.{name}".removeprefix("."))


def _word(leaves: Mapping[str, Any], key: str) -> str:
    return json.dumps(leaves[key], ensure_ascii=False) if key in leaves else "not set"
