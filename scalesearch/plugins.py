"""From a folder and a name in YAML to a class: the only dynamic import of the package."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from typing import Any

from scalesearch.errors import UserError, nearest

# Folder of plug-ins to the class that each of its files defines.
FOLDERS = {
    "samplers": "Sampler",
    "evaluators": "Evaluator",
    "datasets": "Dataset",
    "executors": "Executor",
    "exporters": "Exporter",
    "necks": "FusionTable",
}
_MODULE_AND_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def names(folder: str) -> tuple[str, ...]:
    """The plug-ins that ship in a folder, sorted: one per file."""
    package = importlib.import_module(f"scalesearch.{folder}")
    modules = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in modules if not name.startswith("_")))


def load(folder: str, name: str) -> Any:
    """The class of plug-in `name`: a file of `folder`, or anyone's `package.module:Name`.

    Raises:
        UserError: no such file, module or attribute.
    """
    if ":" in name:
        return load_object(name)
    shipped = names(folder)
    if name not in shipped:
        raise UserError(
            f"there is no {name!r} among the {folder}",
            allowed=", ".join(shipped) + ", or package.module:Name of your own",
            hint=nearest(name, shipped),
        )
    return getattr(importlib.import_module(f"scalesearch.{folder}.{name}"), FOLDERS[folder])


def load_object(path: str) -> Any:
    """The object at `package.module:Name`; modules beside the place of the call are found too."""
    if not _MODULE_AND_NAME.fullmatch(path):
        raise UserError(f"{path!r} is not of the form package.module:Name")
    module_name, name = path.split(":")
    if "" not in sys.path:
        sys.path.append("")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever a module of the user's does when it is run
        raise UserError(
            f"cannot import {module_name!r}: {type(error).__name__}: {error}",
            hint="install its package, or run from the folder that holds it",
        ) from error
    if not hasattr(module, name):
        public = [word for word in vars(module) if not word.startswith("_")]
        raise UserError(f"{module_name} has no {name!r}", hint=nearest(name, public))
    return getattr(module, name)
