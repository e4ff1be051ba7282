"""From a folder and a name in YAML to a class: the only dynamic import of the package."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from scalesearch.errors import UserError, is_interrupt, nearest
from scalesearch.text import shortened

# Folder of plug-ins to the class that each of its files defines.
FOLDERS = {
    "samplers": "Sampler",
    "evaluators": "Evaluator",
    "datasets": "Dataset",
    "executors": "Executor",
    "exporters": "Exporter",
    "necks": "FusionTable",
}
# What the core calls on an instance, by position: the methods of `interfaces.py`.
METHODS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "samplers": {"make": ("space", "seed", "limits", "workload")},
    "evaluators": {"evaluate": ("model", "architecture", "data", "seed")},
    "datasets": {"load": ("seed",)},
    "executors": {"run": ("ask", "assess", "keep", "tell"), "connect": ()},
    "exporters": {"export": ("architecture", "path", "weights", "about")},
    "necks": {"nodes": ("levels",)},
}
_MISSING = object()
_LIBRARIES = {"site-packages", "dist-packages"}
_MODULE_AND_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def names(folder: str) -> tuple[str, ...]:
    """The plug-ins that ship in a folder, sorted: one per file."""
    package = importlib.import_module(f"scalesearch.{folder}")
    modules = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in modules if not name.startswith("_")))


def load(folder: str, name: str) -> Any:
    """The class of plug-in `name`: a file of `folder`, or anyone's `package.module:Name`.

    Raises:
        UserError: no such file, module or attribute, or what is there does not keep the contract.
    """
    if ":" in name:
        loaded = load_object(name)
        _check_kind(folder, name, loaded)
        return loaded
    shipped = names(folder)
    if name not in shipped:
        raise UserError(
            f"there is no {name!r} among the {folder}",
            allowed=", ".join(shipped) + ", or package.module:Name of your own",
            hint=nearest(name, shipped),
        )
    return getattr(importlib.import_module(f"scalesearch.{folder}.{name}"), FOLDERS[folder])


@contextmanager
def calling(name: str, method: str) -> Iterator[None]:
    """Turns what a plug-in of one's own raises into a `UserError` that names it and the method.

    What ships raises on: that would be a mistake of ours, to be reported with its traceback.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if ":" not in name:
            raise
        raise UserError(f"{name!r} failed in `{method}`: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """An exception of a stranger's code: its type, what it says if it can, and where it arose."""
    try:
        text = shortened(" ".join(str(error).split()), 400)
    except Exception:
        text = ""
    said = ": ".join(part for part in (type(error).__name__, text) if part)
    frames = traceback.extract_tb(error.__traceback__)
    # Where it arose in code of one's own, not in a library that this called.
    own = [frame for frame in frames if _is_own(Path(frame.filename))]
    place = (own or frames)[-1] if frames else None
    return f"{said} ({Path(place.filename).name}:{place.lineno})" if place else said


def _is_own(file: Path) -> bool:
    """Whether a source file belongs neither to a library, nor to Python, nor to us."""
    others = (Path(__file__).parent, Path(sysconfig.get_path("stdlib")))
    of_others = any(map(file.is_relative_to, others)) or _LIBRARIES & {*file.parts}
    return file.is_absolute() and not of_others  # frozen modules have no path


def load_object(path: str) -> Any:
    """The object at `package.module:Name`; modules beside the place of the call are found too."""
    if not _MODULE_AND_NAME.fullmatch(path):
        hint = "a file is named as a module, from the folder that holds it: `my_file:Name`"
        raise UserError(
            f"{shortened(path)!r} is not of the form package.module:Name",
            hint=hint if ".py:" in path else "",
        )
    module_name, name = path.split(":")
    if "" not in sys.path:
        sys.path.append("")
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, name, _MISSING)
    except BaseException as error:  # whatever a module of the user's does when it is run
        if is_interrupt(error):
            raise KeyboardInterrupt from error
        if isinstance(error, SystemExit):
            hint = "put what it does when it is called under `if __name__ == '__main__':`"
        elif module_name.endswith(".py"):
            hint = f"did you mean '{module_name.removesuffix('.py')}:{name}'?"
        else:
            hint = "install its package, or run from the folder that holds it"
        said = "it exits when it is imported" if isinstance(error, SystemExit) else _said(error)
        raise UserError(f"cannot import {shortened(module_name)!r}: {said}", hint=hint) from error
    if found is _MISSING:
        public = [word for word in vars(module) if not word.startswith("_")]
        raise UserError(f"{module_name} has no {shortened(name)!r}", hint=nearest(name, public))
    return found


def _said(error: BaseException) -> str:
    """An exception's type and text; its place too if it arose below the import itself."""
    missing = isinstance(error, ModuleNotFoundError)
    return f"{type(error).__name__}: {error}" if missing else describe(error)


def _check_kind(folder: str, name: str, loaded: Any) -> None:
    """Rejects what is no class, or has not the methods that the core calls."""
    wanted = " and ".join(_call(method, names) for method, names in METHODS[folder].items())
    allowed = f"a class with {wanted}"
    if not isinstance(loaded, type):
        kind = "a module" if isinstance(loaded, ModuleType) else f"an instance of {_type(loaded)}"
        kind = "a function" if inspect.isroutine(loaded) else kind
        raise UserError(f"{name!r} is {kind}, not one of the {folder}", allowed=allowed)
    for method, names in METHODS[folder].items():
        function = getattr(loaded, method, None)
        if not callable(function):
            others = [f for f in FOLDERS if all(hasattr(loaded, m) for m in METHODS[f])]
            hint = f"it looks like one of the {others[0]}" if others else ""
            raise UserError(
                f"{name!r} is not one of the {folder}: it has no method `{method}`",
                allowed=allowed,
                hint=hint,
            )
        bound = isinstance(inspect.getattr_static(loaded, method), staticmethod | classmethod)
        try:
            inspect.signature(function).bind(*(() if bound else (None,)), *names)
        except TypeError:
            raise UserError(
                f"{name!r} cannot be used: it is called as `{_call(method, names)}` and takes "
                f"`{method}{inspect.signature(function)}`",
                allowed=allowed,
            ) from None
        except ValueError:  # a method in C, which does not say
            continue


def _call(method: str, names: tuple[str, ...]) -> str:
    return f"{method}({', '.join(names)})"


def _type(value: object) -> str:
    return shortened(type(value).__name__)
