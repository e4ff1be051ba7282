"""`scalesearch pack`: a data set as one file of images that are decoded and resized already."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import scalesearch
from scalesearch.cli.progress import counting, interruptible
from scalesearch.cli.tables import print_table
from scalesearch.contracts import check_data
from scalesearch.errors import UserError
from scalesearch.files.large import require_writable
from scalesearch.files.paths import is_dir
from scalesearch.files.strict import parse_value
from scalesearch.interfaces import BoxData, Data, hook
from scalesearch.pack.file import PackFile
from scalesearch.pack.manifest import Source
from scalesearch.pack.write import write_pack
from scalesearch.plugins import calling, names
from scalesearch.study.load import load_study
from scalesearch.study.options import Mistakes
from scalesearch.study.parts import Plugin, read_plugin
from scalesearch.units import format_bytes, format_seconds

_FORMS = (
    "a study's YAML file, a folder with a sub-folder for each class, the name of a data set with "
    "its options (coco images=val2017 annotations=val.json), or '{name: coco, ...}'"
)


class _Chosen(NamedTuple):
    """A data set, and the seed of its split."""

    dataset: Plugin
    seed: int


def pack_dataset(
    source: str, options: Sequence[str], output: Path, side: int, seed: int | None
) -> None:
    """Packs a data set and prints what was written."""
    if output.is_dir():
        raise UserError(f"{output} is a folder", key="output", allowed="a file, such as train.pack")
    dataset, own_seed = _chosen(source, options)
    require_writable(output)  # to read the data set may take hours
    seed = own_seed if seed is None else seed
    started = time.monotonic()
    data = _loaded(dataset, seed)
    for note in data.notes:
        print(f"note  {note}", flush=True)
    origin = Source(
        dataset=dataset.name,
        options=dataset.options,
        seed=seed,
        scalesearch=scalesearch.__version__,
    )
    message = f"stopped: {output} was not written"
    with interruptible(message), counting("images") as progress:
        pack = write_pack(data, output, side, origin, progress)
    _print(pack, time.monotonic() - started)


def _chosen(source: str, options: Sequence[str]) -> _Chosen:
    """The data set that is meant.

    Raises:
        UserError: there is none of these words, or an option of it is wrong.
    """
    if source.endswith((".yaml", ".yml")):
        study = load_study(source, options)
        if study.dataset is None:
            raise UserError(f"{source} has no data set", key="dataset")
        return _Chosen(study.dataset, study.seed)
    given = _plain(source) | dict(map(_option, options))
    try:
        return _Chosen(read_plugin("datasets", given, Path()), 0)
    except UserError as error:
        if error.key == "name":
            raise UserError(error.problem, key="DATASET", allowed=_FORMS, hint=error.hint) from None
        raise
    except Mistakes as mistakes:
        raise mistakes.merged() from None


def _plain(source: str) -> dict[str, Any]:
    """The data set as a study has it."""
    if source.lstrip().startswith("{"):
        plain = parse_value(source)
        if not isinstance(plain, Mapping):
            raise UserError(f"{source!r} is not understood", key="DATASET", allowed=_FORMS)
        return dict(plain)
    # A name is one, also beside a folder that is called so: `./cifar10` is the folder.
    if source not in names("datasets") and is_dir(source):
        return {"name": "image_folder", "path": source}
    return {"name": source}


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"{text!r} is not an option", file="command line", allowed="key=value")
    return key.strip(), parse_value(value)


def _loaded(dataset: Plugin, seed: int) -> Data:
    plugin = dataset.make()
    with calling(dataset.name, "load"):
        data = plugin.load(seed)
    task = "detection" if isinstance(data, BoxData) else "classification"
    return check_data(dataset.name, data, hook(plugin, "task") or task)


def _print(pack: PackFile, seconds: float) -> None:
    about = pack.manifest
    shape = "longer side at most" if about.task == "detection" else "squares of"
    colour = "colour" if about.channels == 3 else "grey"
    rows = [[part, f"{count:,}"] for part, count in about.parts.items()]
    print_table("", ["part", "images"], rows)
    size = format_bytes(os.stat(pack.path).st_blocks * 512)  # noqa: PTH116
    print(
        f"{pack.path}: {about.count:,} images, {shape} {about.side} pixels, {colour}, "
        f"{len(about.classes):,} classes; {size} in {format_seconds(seconds)}\n"
        f"from {about.source}\n"
        f"a study reads it with `dataset: {{name: packed, path: {pack.path}}}`"
    )
