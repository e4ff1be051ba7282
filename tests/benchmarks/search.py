"""How many trainings each sampler needs on tables of really trained networks.

`python -m tests.benchmarks.search --seeds 50` runs every sampler on every table, keeps each run in
`build/search/` so that it can be stopped and continued, and writes `build/search.json`;
`--write docs/search.md` puts the tables into the page. `make bench` runs a short form.

Tables: `mbconv_imagenet.csv` (4,100 networks, ImageNet), NAS-Bench-201, a small space of our own,
and 117 ImageNet networks with three seeds each. A table that is not on this machine is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from scalesearch import plugins
from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limit, Limits, violations, worst
from scalesearch.history.pareto import front
from scalesearch.prediction.regression import Regression
from scalesearch.spaces.pool import Pool
from scalesearch.spaces.space import Space
from tests.benchmarks import nas_bench_201, small_space

AT = (25, 50, 100, 200)
KEPT = Path("build/search")
# A checkout may have results beside it; a user has them in the folder that a variable names.
_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("SCALESEARCH_DATA", _BESIDE))
OPTUNA = ("tpe", "gp", "nsga2", "random")
OURS = ("predictor", "evolution", "local_search", "policy_gradient")
SPACE = Path(__file__).parents[2] / "search_spaces" / "mnasnet_imagenet.yaml"
# Trainings and seeds at most, of samplers that take minutes for more.
SLOW = {"gp": (50, 3)}
SINGLE = ("policy_gradient",)  # samplers of one objective
PARTS = ("<!-- search: begin -->", "<!-- search: end -->")


@dataclass(frozen=True, eq=False)
class Table:
    """A task: networks whose results are known.

    Attributes:
        space: of the networks.
        draw: result of a row by a random generator, as a training would give it.
        truth: true values of rows, float [n].
        best: the largest true value within the limits; of two objectives the whole hypervolume.
        limits: on FLOPs.
        pair: the second objective is the FLOPs.
        unit: of the regret.
    """

    space: Any
    draw: Callable[[np.ndarray, np.random.Generator], float]
    truth: Callable[[np.ndarray], np.ndarray]
    best: float
    limits: Limits = field(default_factory=dict)
    pair: bool = False
    unit: str = "points"


def tables() -> dict[str, Callable[[], Table]]:
    """Every table of this machine by its name."""
    found: dict[str, Callable[[], Table]] = {
        f"NAS-Bench-201 {name}": partial(_cells, name) for name in nas_bench_201.FILES
    }
    found["small space"] = _small
    if (DATA / "mbconv_imagenet.csv").exists():
        found |= {
            "MBConv pool": partial(_mbconv, limit=None),
            "MBConv pool, reward": partial(_mbconv, limit=None, reward=True),
            "MBConv pool, 300 M": partial(_mbconv, limit=300e6),
            "MBConv space, 350 M": _surrogate,
            "MBConv pool, front": partial(_mbconv, limit=None, pair=True),
            "MBConv seeds": _seeds,
        }
    return found


def _cells(name: str) -> Table:
    frame = nas_bench_201.load(name)
    return _pool(frame, list(nas_bench_201.EDGES), "accuracy")


def _small() -> Table:
    frame = small_space.load()
    space = Space.load(small_space.SPACE)
    frame = frame.assign(accuracy=100 * frame["accuracy"])
    return _pool(frame, list(space.parameters), "accuracy", base=space)


def _mbconv(*, limit: float | None, reward: bool = False, pair: bool = False) -> Table:
    frame = pd.read_csv(DATA / "mbconv_imagenet.csv")
    space = Space.load(SPACE)
    made = _pool(frame, list(space.parameters), "top1", base=space, reward=reward, pair=pair)
    if limit is None:
        return made
    limits = {"flops": Limit(max=limit)}
    rows = np.arange(made.space.size)[:, None]
    within = made.space.tables(Workload()).cost(rows).flops <= limit
    best = float(made.truth(rows)[within].max())
    return Table(made.space, made.draw, made.truth, best, limits)


def _seeds() -> Table:
    wide = pd.read_csv(DATA / "mbconv_imagenet_seeds.csv")
    space = Space.load(SPACE)
    columns = [f"short_top1_seed{n}" for n in (1, 2, 3)]
    names = list(space.parameters)
    frame = wide.melt(id_vars=names, value_vars=columns, value_name="top1")
    return _pool(frame, names, "top1", base=space)


def _pool(
    frame: pd.DataFrame,
    names: list[str],
    metric: str,
    *,
    base: Space | None = None,
    reward: bool = False,
    pair: bool = False,
) -> Table:
    """Networks of a long table: several rows of one network are seeds."""
    grouped = frame.groupby(names, sort=True)[metric].apply(list)
    keys = [tuple(v.item() if hasattr(v, "item") else v for v in key) for key in grouped.index]
    choices = {n: tuple(sorted({key[i] for key in keys})) for i, n in enumerate(names)}
    if base is not None:
        choices = dict(base.parameters)
    pool = Pool(choices_of=choices, networks=tuple(keys), base=base)
    results = [np.array(values, float) for values in grouped]
    if reward:
        flops = pool.tables(Workload()).cost(np.arange(pool.size)[:, None]).flops
        results = [r * (f / 400e6) ** -0.07 for r, f in zip(results, flops, strict=True)]
    means = np.array([values.mean() for values in results])

    def draw(row: np.ndarray, random: np.random.Generator) -> float:
        return float(random.choice(results[row[0]]))

    best = float(means.max())
    if pair:
        flops = pool.tables(Workload()).cost(np.arange(pool.size)[:, None]).flops
        best = hypervolume(means, np.asarray(flops, float), _corner(means, flops))
    return Table(
        pool, draw, lambda rows: means[rows[:, 0]], best, pair=pair, unit="%" if pair else "points"
    )


def _surrogate() -> Table:
    """The whole space, as predicted from the table; the best is what a long search finds."""
    frame = pd.read_csv(DATA / "mbconv_imagenet.csv")
    space, work = Space.load(SPACE), Workload()
    names = list(space.parameters)
    points = frame[names].to_dict("records")
    rows = np.array([space.locate(point) for point in points], np.intp)
    values = frame["top1"].to_numpy(float)
    fit = Regression.fit(space, work, rows, values)
    limits = {"flops": Limit(max=350e6)}
    feasible = space.within(limits, work)
    from scalesearch.population.candidates import Candidates

    candidates, random = Candidates(feasible, space.chosen), np.random.default_rng(0)
    top = feasible.draw(20_000, 0)
    top = top[np.argsort(-fit.predict(top))[:200]]
    for _ in range(12):
        more = np.concatenate([top, candidates.beside(top, 20_000, random)])
        more = np.unique(more, axis=0)
        top = more[np.argsort(-fit.predict(more))[:200]]
    return Table(
        space,
        lambda row, random: float(fit.predict(row[None])[0]),
        fit.predict,
        float(fit.predict(top[:1])[0]),
        limits,
    )


def _corner(values: np.ndarray, costs: np.ndarray) -> tuple[float, float]:
    """The poorest value and the highest cost of a table: they bound its hypervolume."""
    return float(values.min()), float(np.max(costs))


def hypervolume(values: np.ndarray, costs: np.ndarray, corner: tuple[float, float]) -> float:
    """The area between a front of values (maximised) and costs (minimised) and a corner."""
    points = list(zip(values.tolist(), costs.tolist(), strict=True))
    kept = sorted((points[n] for n in front(points, ("maximize", "minimize"))), key=lambda p: p[1])
    area, before = 0.0, corner[0]
    for value, spent in kept:
        area += max(0.0, value - max(before, corner[0])) * max(0.0, corner[1] - spent)
        before = max(before, value)
    return area


def _is_pair(name: str) -> bool:
    """Whether a table has two objectives."""
    return name.endswith("front")


@cache
def _made(name: str) -> Table:
    return tables()[name]()


def run(name: str, sampler: str, seed: int, trainings: int) -> dict[str, Any]:
    """One search: regret after each training, seconds of each proposal, and the network named.

    A network is trained once, as in a study; infeasible proposals cost no training.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table, work = _made(name), Workload()
    plugin = plugins.load("samplers", sampler)()
    study = optuna.create_study(directions=["maximize", "minimize"][: 1 + table.pair])
    choices = {key: CategoricalDistribution(c) for key, c in table.space.parameters.items()}
    random = np.random.default_rng(seed)
    tables_, flops = table.space.tables(work), list[float]()
    results: dict[tuple[int, ...], float] = {}
    seconds, proposals = list[float](), 0
    while len(results) < min(trainings, table.space.size) and proposals < 3 * trainings:
        study.sampler = plugin.make(table.space, 100_000 * seed + proposals, table.limits, work)
        started = time.perf_counter()
        trial = study.ask(fixed_distributions=choices)
        seconds.append(time.perf_counter() - started)
        proposals += 1
        row = table.space.locate(trial.params)
        cost = tables_.cost(np.array([row]))
        over = violations(cost, table.limits)
        for key, share in over.items():
            trial.set_constraint(key, float(np.max(share)))
        if over and worst({k: float(np.max(v)) for k, v in over.items()}) > 0:
            study.tell(trial, state=TrialState.PRUNED)
            continue
        if row not in results:
            results[row] = table.draw(np.array(row), random)
            flops.append(float(np.max(cost.flops)))
        values = [results[row], float(np.max(cost.flops))]
        study.tell(trial, values[: 1 + table.pair])
    rows = np.array([*results], np.intp)
    truth = table.truth(rows)
    if table.pair:
        every = np.arange(table.space.size)[:, None]
        corner = _corner(table.truth(every), tables_.cost(every).flops)
        spent = np.array(flops)
        regret = [
            100 * (1 - hypervolume(truth[:n], spent[:n], corner) / table.best) for n in AT if n
        ]
        named = float("nan")
    else:
        best = np.maximum.accumulate(truth)
        regret = [table.best - float(best[min(n, len(best)) - 1]) for n in AT]
        named = table.best - float(truth[int(np.argmax([*results.values()]))])
    return {
        "regret": [r if n <= trainings else None for r, n in zip(regret, AT, strict=True)],
        "named": named,
        "ask_ms": 1000 * float(np.median(seconds[20:] or seconds)),
        "proposals": proposals,
    }


def kept(name: str, sampler: str, seed: int, trainings: int) -> dict[str, Any]:
    """A run from its file, or run and filed."""
    word = "".join(c if c.isalnum() else "_" for c in name)
    file = KEPT / word / f"{sampler}-{seed}-{trainings}.json"
    if not file.exists():
        made = run(name, sampler, seed, trainings)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(made))
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def measured(
    names: Sequence[str], samplers: Sequence[str], seeds: int, trainings: int, jobs: int
) -> list[dict[str, Any]]:
    """A row for each table and sampler: median and quartiles of regret, time of a proposal."""
    tasks = [
        (name, sampler, seed, min(trainings, SLOW.get(sampler, (trainings, seeds))[0]))
        for name in names
        for seed in range(seeds)
        for sampler in samplers
        if not (sampler in SINGLE and _is_pair(name))
        if seed < SLOW.get(sampler, (trainings, seeds))[1]
    ]
    rows, started = [], time.perf_counter()
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with ProcessPoolExecutor(jobs) as pool:
        for number, (task, one) in enumerate(
            zip(tasks, pool.map(kept, *zip(*tasks, strict=True)), strict=True), 1
        ):
            found.setdefault(task[:2], []).append(one)
            left = (time.perf_counter() - started) / number * (len(tasks) - number)
            print(f"\r{number}/{len(tasks)}, {left / 60:.0f} min left ", end="", file=sys.stderr)
    for (name, sampler), runs in found.items():
        row: dict[str, Any] = {"table": name, "sampler": sampler, "seeds": len(runs)}
        for position, n in enumerate(AT):
            values = [r["regret"][position] for r in runs if r["regret"][position] is not None]
            if values:
                low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
                row[f"after {n}"] = round(float(middle), 4)
                row[f"quartiles {n}"] = f"{low:.2f} to {high:.2f}"
        close = [r["named"] <= 0.3 for r in runs if r["named"] == r["named"]]
        row["named within .3"] = round(float(np.mean(close)), 3) if close else None
        row["ask_ms"] = round(float(np.median([r["ask_ms"] for r in runs])), 2)
        rows.append(row)
    return rows


def mean_ranks(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each sampler's mean rank over all tables: 1 is the lowest regret, equal ones share."""
    frame = pd.DataFrame(rows)
    ranks = []
    for sampler in dict.fromkeys(frame["sampler"]):
        row: dict[str, Any] = {"sampler": sampler}
        for n in AT:
            if f"after {n}" in frame:
                every = frame.groupby("table")[f"after {n}"].rank(method="average")
                row[f"after {n}"] = round(float(every[frame["sampler"] == sampler].mean()), 2)
        ranks.append(row)
    return ranks


def rows() -> list[dict[str, Any]]:
    """A short form for `make bench`: one table, a few seeds, our default beside Optuna's."""
    return measured(["NAS-Bench-201 cifar100"], ("predictor", "tpe", "random"), 4, 50, 2)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The tables of `docs/search.md`."""
    lines = []
    frame = pd.DataFrame(rows)
    for name, part in frame.groupby("table", sort=False):
        pair = "front" in str(name)
        unit = "% of the table's hypervolume that is missing" if pair else "points below the best"
        lines += [
            f"**{name}** ({unit}; median over {int(part['seeds'].max())} seeds, quartiles)",
            "",
            "| sampler | " + " | ".join(f"{n} trainings" for n in AT) + " | a proposal, ms |",
            "|---|" + "---|" * (len(AT) + 1),
        ]
        for row in part.to_dict("records"):
            cells = [
                f"{row[f'after {n}']:.2f} ({row[f'quartiles {n}']})"
                if row.get(f"after {n}") == row.get(f"after {n}")
                and row.get(f"after {n}") is not None
                else "-"
                for n in AT
            ]
            few = f" ({row['seeds']} seeds)" if row["seeds"] < part["seeds"].max() else ""
            lines.append(f"| {row['sampler']}{few} | {' | '.join(cells)} | {row['ask_ms']:.1f} |")
        lines.append("")
    lines += ["**Mean rank over all tables**", ""]
    lines += ["| sampler | " + " | ".join(f"{n} trainings" for n in AT) + " |"]
    lines += ["|---|" + "---|" * len(AT)]
    for row in mean_ranks(rows):
        cells = [f"{row.get(f'after {n}', float('nan')):.2f}".replace("nan", "-") for n in AT]
        lines.append(f"| {row['sampler']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    """Runs, prints and writes."""
    reader = argparse.ArgumentParser(prog="python -m tests.benchmarks.search")
    reader.add_argument("--seeds", type=int, default=50)
    reader.add_argument("--trainings", type=int, default=200)
    reader.add_argument("--samplers", nargs="*", default=[*OURS, *OPTUNA])
    reader.add_argument("--tables", nargs="*", default=None)
    reader.add_argument("--jobs", type=int, default=os.cpu_count())
    reader.add_argument("--json", type=Path, default=Path("build/search.json"))
    reader.add_argument("--write", type=Path)
    asked = reader.parse_args(arguments)
    names = asked.tables or [*tables()]
    found = measured(names, asked.samplers, asked.seeds, asked.trainings, asked.jobs)
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps({"rows": found, "ranks": mean_ranks(found)}, indent=1) + "\n")
    text = markdown(found)
    print(text)
    if asked.write:
        page = asked.write.read_text(encoding="utf-8")
        before, rest = page.split(PARTS[0])
        _, after = rest.split(PARTS[1])
        asked.write.write_text(f"{before}{PARTS[0]}\n\n{text}\n{PARTS[1]}{after}", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
