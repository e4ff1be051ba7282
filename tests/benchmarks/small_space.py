"""A table of every network of a small MBConv space, each trained twice on mnist5k.

`python -m tests.benchmarks.small_space` trains what the table lacks and may be stopped at any time:
a row is written as soon as it is known. The table was made on one core in about a quarter of an
hour; another machine or version of torch gives other accuracies in the last digits.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from scalesearch.datasets.mnist5k import Dataset
from scalesearch.evaluators.training import Evaluator
from scalesearch.history.jobs import Infeasible, Job, Result, seed_for
from scalesearch.interfaces import Parameters
from scalesearch.spaces.space import Space
from scalesearch.study.assess import Assess

SPACE = Path(__file__).parent / "data" / "small_space.yaml"
TABLE = SPACE.with_suffix(".csv")
SEEDS = (0, 1)
# 2,000 images validate: an accuracy of 0.92 has a standard error of 0.006.
DATASET = Dataset(validation=0.4)
EVALUATOR = Evaluator(
    epochs=6,
    validate_every=6,
    batch_size=64,
    learning_rate=0.05,
    label_smoothing=0.0,
    augment=False,
    precision="float32",
    device="cpu",
)
MEASURED = ("accuracy", "flops", "params")


def load(path: Path = TABLE) -> pd.DataFrame:
    """A row for each network and seed, in the order in which they were trained.

    Columns:
        stem.kernel, stage1.width, …: the parameters of the space in `SPACE` that are a choice.
        seed: 0 or 1, of the first weights and of the order of the training images.
        accuracy: share of the 2,000 validation images, after the last epoch.
        flops: multiply-adds of convolutions and linear layers for one image.
        params: learnable parameters.
    """
    return pd.read_csv(path)


def main() -> None:
    """Trains every network with every seed that is not in the table yet."""
    space = Space.load(SPACE)
    columns = [*space.parameters, "seed", *MEASURED]
    missing = list(trainings(space, finished(TABLE, columns)))
    assess = Assess(EVALUATOR, DATASET.load(0))
    assess.prepare(threads=1)
    start = time.perf_counter()
    # A line at a time is buffered: an interruption leaves whole rows only.
    with TABLE.open("a", newline="", encoding="utf-8", buffering=1) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if not TABLE.stat().st_size:
            writer.writeheader()
        for done, (number, parameters, seed) in enumerate(missing, 1):
            row = {**parameters, "seed": seed, **train(space, assess, number, parameters, seed)}
            writer.writerow(row)
            left = (time.perf_counter() - start) / done * (len(missing) - done)
            print(f"{done}/{len(missing)} {row['accuracy']} {left / 60:.1f} min left", flush=True)
    print(statistics(load()), file=sys.stderr)


def finished(path: Path, columns: list[str]) -> set[tuple[str, ...]]:
    """The parameters and the seed of each row, as written; `ValueError` for other columns."""
    if not path.exists() or not path.stat().st_size:
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != columns:
            raise ValueError(f"{path.name} is of another space: remove it to train this one")
        return {tuple(row[name] for name in columns[: -len(MEASURED)]) for row in reader}


def trainings(
    space: Space, done: set[tuple[str, ...]]
) -> Iterator[tuple[int, dict[str, Any], int]]:
    """Number and parameters of each network, with each seed, that is not among those `done`."""
    for number, parameters in enumerate(space.points()):
        for seed in SEEDS:
            if tuple(map(str, (*parameters.values(), seed))) not in done:
                yield number, parameters, seed


def train(
    space: Space, assess: Assess, number: int, parameters: Parameters, seed: int
) -> dict[str, float | str]:
    """What is `MEASURED` of one network after one training."""
    own_seed = seed_for(seed, "search", number)
    result = last_of(assess, Job("search", number, space.decode(parameters), own_seed))
    assert isinstance(result, Result), "there is no limit on latency"
    accuracy = f"{result.values['accuracy']:.5f}"
    return {"accuracy": accuracy, "flops": result.cost.flops, "params": result.cost.params}


def last_of(assess: Assess, job: Job) -> Result | Infeasible:
    """What an assessment returns after its scores."""
    scores = assess(job)
    while True:
        try:
            next(scores)
        except StopIteration as end:
            return end.value


def statistics(table: pd.DataFrame) -> dict[str, float]:
    """Standard deviations of accuracy, among the means of networks and among seeds of one."""
    parameters = list(table.columns[: table.columns.get_loc("seed")])
    accuracy = table.groupby(parameters)["accuracy"]
    return {
        "networks": float(accuracy.ngroups),
        "mean": float(accuracy.mean().mean()),
        "among networks": float(accuracy.mean().std()),
        "among seeds": float(accuracy.var().mean() ** 0.5),
    }


if __name__ == "__main__":
    main()
