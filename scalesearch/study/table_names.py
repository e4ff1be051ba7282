"""Columns of a table of results by their names: dimensions, metric, cost and weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from scalesearch.errors import UserError, nearest
from scalesearch.scaling.evidence import DIMENSIONS

if TYPE_CHECKING:
    import pandas as pd

# Names of columns, in lower case, without what is no letter or digit: those that are taken first,
# and parts of a name that mean the same.
_NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "depth": (
        ("depth", "layers", "blocks", "alpha", "numlayers", "nlayers", "numblocks", "nblocks"),
        ("depth",),
    ),
    "width": (
        ("width", "channels", "beta", "widenfactor", "numchannels", "nchannels"),
        ("width",),
    ),
    "resolution": (
        (
            *("resolution", "res", "imagesize", "imgsize", "imgsz", "imsize", "inputsize"),
            *("inputres", "imageres", "imgres", "cropsize", "pixels", "px", "side", "gamma"),
        ),
        ("resolution", "imagesize", "imgsize", "inputsize", "inputres", "imageres", "imgres"),
    ),
    "accuracy": (("accuracy", "top1", "top1accuracy", "acc", "acc1", "ap", "map"), ("acc", "top")),
    "error": (("error", "top1error", "err"), ("err",)),
    "flops": (("flops", "macs"), ("flop", "mac", "madd", "multadd", "multiplyadd")),
    "latency": (("latency", "seconds", "ms"), ("latency", "seconds")),
    "weight": (("weight", "weights"), ()),
}
# Names that may mean something else: of a dimension only if the base asks for it.
_WEAK = {"depth": ("d",), "width": ("w",), "resolution": ("r", "size")}
# What differs between trainings of one network without being a dimension of it.
_MEASURED = (
    *("acc", "top", "err", "loss", "auc", "flop", "mac", "madd", "multadd", "param", "latency"),
    *("seconds", "time", "memory", "throughput", "seed", "std", "sem"),
)
_COUNTED = ("id", "index", "run", "fold", "trial", "repeat", "rank", "ap", "map", "ms", "unnamed0")


def find(frame: pd.DataFrame, kind: str, but: str = "-") -> str | None:
    """The column of a kind by its name, or None; none whose name holds `but`.

    Raises:
        UserError: several could be it, and none is taken first.
    """
    plain = _by_plain_name(frame)
    first, parts = _NAMES[kind]
    for word in first:
        if word in plain:
            return plain[word]
    close = [name for word, name in plain.items() if any(part in word for part in parts)]
    close = [name for name in close if but not in plain_name(name)]
    if len(close) > 1:
        raise UserError(
            f"several columns could be the {kind}: {', '.join(reversed(close))}",
            hint="name one with --metric"
            if kind in ("accuracy", "error")
            else f"name one of them {kind!r}",
        )
    return close[0] if close else None


def dimension_columns(
    frame: pd.DataFrame, base: Mapping[str, float]
) -> tuple[dict[str, str], dict[str, float]]:
    """The column of each dimension that the table has, and the base's size by dimension.

    The base may name a dimension, its column, or another usual name of it.

    Raises:
        UserError: the base names what is no dimension, one that has no column, or one twice.
    """
    plain = _by_plain_name(frame)
    columns = {name: column for name in DIMENSIONS if (column := find(frame, name)) is not None}
    sizes: dict[str, float] = {}
    for name, size in base.items():
        dimension = _dimension_of(frame, name, columns)
        if dimension not in columns:
            weak = [plain[word] for word in _WEAK[dimension] if word in plain]
            if not weak:
                raise UserError(
                    f"the table has no column {name!r}",
                    key=f"base.{name}",
                    allowed=shown(frame),
                    hint=nearest(name, list(frame.columns))
                    or f"rename the column that holds it to {dimension}",
                )
            columns[dimension] = weak[0]
        if dimension in sizes:
            raise UserError(f"{dimension} is given twice, as {name!r} too", key="base")
        if not 0 < size < 1e9:
            raise UserError(f"{size:g} cannot be a size", key=f"base.{name}", allowed="above 0")
        sizes[dimension] = size
    return {name: columns[name] for name in DIMENSIONS if name in columns}, sizes


def _dimension_of(frame: pd.DataFrame, name: str, columns: Mapping[str, str]) -> str:
    """The dimension that a name of the base stands for."""
    for dimension in DIMENSIONS:
        own = (*_NAMES[dimension][0], *_WEAK[dimension])
        if name in (dimension, columns.get(dimension)) or plain_name(name) in own:
            return dimension
    for dimension in DIMENSIONS:
        if any(part in plain_name(name) for part in _NAMES[dimension][1]):
            return dimension
    if name in frame.columns:
        raise UserError(
            f"the column {name!r} is no dimension",
            key="base",
            allowed=", ".join(DIMENSIONS),
            hint="rename it, in the table and here, to the one of them that it is",
        )
    raise UserError(
        f"{name!r} is no dimension",
        key="base",
        allowed=", ".join(DIMENSIONS),
        hint=nearest(name, DIMENSIONS),
    )


def is_measured(column: str) -> bool:
    """Whether a column, by its name, differs between trainings of one network as it should."""
    word = plain_name(column)
    return word in _COUNTED or any(part in word for part in _MEASURED)


def require(frame: pd.DataFrame, column: str, key: str) -> None:
    """Raises `UserError` if the table has no such column."""
    if column not in frame.columns:
        raise UserError(
            f"the table has no column {column!r}",
            key=key,
            allowed=shown(frame),
            hint=nearest(column, list(frame.columns)),
        )


def shown(frame: pd.DataFrame) -> str:
    """The first columns in words."""
    return ", ".join(frame.columns[:12]) + (", …" if len(frame.columns) > 12 else "")


def plain_name(name: str) -> str:
    """In lower case, without what is no letter or digit."""
    return "".join(mark for mark in name.lower() if mark.isalnum())


def _by_plain_name(frame: pd.DataFrame) -> dict[str, str]:
    return {plain_name(name): name for name in reversed(list(frame.columns))}
