"""What a trial costs when it does nothing: alone in an executor, and in the whole loop of a search.

The whole loop proposes one of 28 choices each by TPE, counts the network's cost, and writes the
trial to the journal; plain Ray Tune with its OptunaSearch over as many choices stands beside it.
A trial here yields one score and its result, so an executor carries two messages for it. Time is
counted between the trials, start and end of Ray left out: it is the price of each further trial.
`python -m tests.benchmarks.overhead` from the repository prints the table.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from scalesearch import plugins
from scalesearch.arch.published import published
from scalesearch.cost.cost import Cost, Workload
from scalesearch.executors.ray import quiet_ray
from scalesearch.history.jobs import Job, Outcome, Result, Score
from scalesearch.spaces.backbone import BackboneSpace

WORKERS = 2
CHOICES = 28
SPACE = Path(__file__).parents[2] / "search_spaces" / "mnasnet_imagenet.yaml"
TRIALS = {"serial": 2000, "ray": 500}
PLAIN_TRIALS = 6
WARM_UP = 10


# The whole loop: trials timed, and the milliseconds that one may cost.
SEARCH_TRIALS = 200
GOALS = {"serial": 12.0, "ray": 20.0}


def rows() -> list[dict[str, Any]]:
    """One row for each way to run a trial: its milliseconds, and how many trials were timed."""
    alone = [executor_overhead(name, trials) for name, trials in TRIALS.items()]
    return [*alone, *(search_overhead(name) for name in GOALS), plain_tune()]


def search_overhead(name: str, trials: int = SEARCH_TRIALS) -> dict[str, Any]:
    """Milliseconds a trial of a search that does nothing else, through one executor."""
    from scalesearch.history.objective import Objective
    from scalesearch.history.record import Record, open_storage
    from scalesearch.study.loop import Listener, Loop, Plan

    plan = Plan(
        phase="search",
        space=BackboneSpace.load(SPACE),
        sampler=plugins.load("samplers", "tpe")(),
        seed=0,
        trials=WARM_UP + trials,
        proposals=100 * trials,
        workload=Workload(),
        objective=Objective(),
        limits={},
    )
    assert len(plan.space.parameters) == CHOICES
    told: list[float] = []
    options = {} if name == "serial" else {"workers": WORKERS}
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(Path(folder) / "record.journal", repair=True)
        record = Record(storage, plan.phase, plan.space.parameters, plan.objective.directions)
        loop = Loop(plan, record, Listener())

        def tell(job: Job, outcome: Outcome) -> None:
            loop.tell(job, outcome)
            told.append(time.perf_counter())

        executor = plugins.load("executors", name)(**options)
        executor.run(loop.ask, assess_something, loop.keep, tell)
        loop.finish()
    return _row(f"search, {name}", told, trials) | {"goal": GOALS[name]}


def assess_something(job: Job) -> Generator[Score, None, Result]:
    """As `assess_nothing`, but networks differ in their score, as TPE wants them to."""
    value = 1 / (1 + job.architecture.depth)
    yield Score(1, {"accuracy": value})
    return Result({"accuracy": value}, Cost(1, 1, 1, 1, 1, 1), 0.0)


def _row(loop: str, ended: list[float], trials: int) -> dict[str, Any]:
    """Milliseconds between the last so many ends of trials."""
    seconds = ended[-1] - ended[-1 - trials]
    return {"loop": loop, "trials": trials, "milliseconds": 1000 * seconds / trials}


def executor_overhead(name: str, trials: int) -> dict[str, Any]:
    """Milliseconds a trial through one executor; asking and telling cost nothing."""
    net = published("efficientnet_b0")
    jobs = (Job("search", number, net, seed=number) for number in range(WARM_UP + trials))
    told: list[float] = []
    options = {} if name == "serial" else {"workers": WORKERS}
    plugins.load("executors", name)(**options).run(
        lambda: next(jobs, None),
        assess_nothing,
        lambda job, score: True,
        lambda job, outcome: told.append(time.perf_counter()),
    )
    return _row(name, told, trials)


def assess_nothing(job: Job) -> Generator[Score, None, Result]:
    """One score and a result, at once."""
    yield Score(1, {"accuracy": 0.5})
    return Result({"accuracy": 0.5}, Cost(1, 1, 1, 1, 1, 1), 0.0)


def plain_tune(trials: int = PLAIN_TRIALS) -> dict[str, Any]:
    """Milliseconds a trial through Ray Tune and its OptunaSearch, each in a process of its own."""
    quiet_ray()
    import optuna
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {f"choice{n}": tune.choice([0, 1, 2]) for n in range(CHOICES)}
    ended: list[float] = []

    class Clock(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            ended.append(time.perf_counter())

    ray.init(num_cpus=WORKERS, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}
    try:
        with tempfile.TemporaryDirectory() as folder:
            search = OptunaSearch(space, metric="accuracy", mode="max")
            tune.Tuner(
                lambda config: {"accuracy": 0.5},
                tune_config=tune.TuneConfig(
                    search_alg=search, num_samples=WORKERS + trials, max_concurrent_trials=WORKERS
                ),
                run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[Clock()]),
            ).fit()
    finally:
        ray.shutdown()
    return _row("plain Ray Tune", ended, trials)


def checkpoint_cost(name: str = "efficientnet_b0", times: int = 5) -> dict[str, Any]:
    """Milliseconds of a checkpoint of a network with AdamW and a moving average."""
    import torch

    from scalesearch.nn.build import build
    from scalesearch.training.checkpoint import TrainingCheckpoint
    from scalesearch.training.recipe import Recipe
    from scalesearch.training.updates import MovingAverage, make_optimizer

    model, recipe = build(published(name)), Recipe()
    optimizer = make_optimizer(model, recipe)
    model(torch.rand(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    average = MovingAverage(model, 0.999)
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.state(),
    }
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = TrainingCheckpoint(Path(folder) / "training.pt", name, every=1)
        for _ in range(times):
            began = time.perf_counter()
            checkpoint.after_epoch(1, 0.0, lambda: state)
            seconds.append(time.perf_counter() - began)
        size = (Path(folder) / "training.pt").stat().st_size
    middle = sorted(seconds)[times // 2]
    return {"network": name, "megabytes": size / 1e6, "milliseconds": 1000 * middle}


def main() -> None:
    for row in rows():
        goal = f"   goal {row['goal']:g}" if "goal" in row else ""
        print("{loop:16} {trials:5} trials {milliseconds:10.3f} ms a trial".format(**row) + goal)
    for name in ("efficientnet_b0", "efficientnet_b7"):
        row = checkpoint_cost(name)
        share = row["milliseconds"] / 10_000
        print(
            "checkpoint of {network}: {megabytes:.0f} MB, {milliseconds:.0f} ms".format(**row)
            + f", {share:.2%} of an epoch of 10 s   goal 2 %"
        )


if __name__ == "__main__":
    main()
