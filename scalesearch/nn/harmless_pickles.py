"""Values that programs keep beside weights in a checkpoint and whose loading runs no code."""

from __future__ import annotations

import datetime
import pathlib
from functools import cache
from typing import Any

import numpy as np

_NUMBERS = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128", "str"),
)
# Modules that had NumPy's constructors before 2.0, and have them now.
_OF_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")


@cache
def harmless() -> list[Any]:
    """For `torch.serialization.safe_globals`: NumPy's numbers and arrays, paths, dates, defaults.

    Each makes a value of what stands in the file. Paths of another system are pure ones here:
    those of its own cannot be made.
    """
    numbers = [type(np.dtype(name)) for name in _NUMBERS]
    made = (
        (np.array(0.0)[()].__reduce__()[0], "scalar"),
        (np.zeros(0).__reduce__()[0], "_reconstruct"),
    )
    constructors = [(make, f"{module}.{name}") for module in _OF_NUMPY for make, name in made]
    paths = [
        (kind, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for kind, name in (
            (pathlib.PurePosixPath, "PosixPath"),
            (pathlib.PurePosixPath, "PurePosixPath"),
            (pathlib.PureWindowsPath, "WindowsPath"),
            (pathlib.PureWindowsPath, "PureWindowsPath"),
        )
    ]
    dates = [datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone]
    # Under the names of Python 3 and, in older pickles, of Python 2.
    factories = [
        (kind, f"{module}.{kind.__name__}")
        for module in ("builtins", "__builtin__")
        for kind in (int, float, str, bool, list, dict, set)
    ]
    defaults = [(_default_dict, "collections.defaultdict"), *factories]
    return [np.ndarray, np.dtype, *numbers, *constructors, *paths, *dates, *defaults]


def _default_dict(factory: object = None) -> dict[Any, Any]:
    """What a `defaultdict` becomes: torch fills no class of another name than its own few."""
    return {}
