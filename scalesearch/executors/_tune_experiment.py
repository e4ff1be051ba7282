"""One run as an experiment of Ray Tune: its searcher, stopper, callback and trainable."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.tune.search import Searcher

from scalesearch.executors._failures import failure_of_ray
from scalesearch.executors._interrupts import on_interrupt
from scalesearch.executors._job_queue import JobQueue
from scalesearch.executors._options import Options
from scalesearch.executors._ray_cluster import setup_of
from scalesearch.executors._tune_controller import TuneController
from scalesearch.executors._tune_worker import JobReference, TuneWorker
from scalesearch.interfaces import Assess

_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a study hold in workers too
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "0",
}

cloudpickle.register_pickle_by_value(sys.modules[TuneWorker.__module__])  # type: ignore[no-untyped-call]


def run_experiment(options: Options, queue: JobQueue, assess: Assess) -> None:
    """Runs the jobs of a queue as trials of one Tune experiment, until there are none."""
    controller = TuneController(options, queue)
    trainable = tune.with_resources(
        tune.with_parameters(
            TuneWorker, worker_setup=setup_of(options, assess), limit=options.limit
        ),
        {"cpu": options.cpus, "gpu": options.gpus},
    )
    variables = _ENVIRONMENT | {"TUNE_MAX_PENDING_TRIALS_PG": str(options.slots)}
    with (
        tempfile.TemporaryDirectory(prefix="scalesearch-") as folder,
        environment(variables),
        _silent_ray_logs(),
        on_interrupt(controller.interrupt),
    ):
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=QueueSearcher(controller),
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                name="trials",
                verbose=0,
                stop=MessageStopper(controller),
                callbacks=[WorkerCallback(controller)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    controller.close()


class QueueSearcher(Searcher):
    """Tune's source of trials: the configuration of each is its job."""

    def __init__(self, controller: TuneController) -> None:
        super().__init__()
        self._controller = controller

    def suggest(self, trial_id: str) -> Any:
        job = self._controller.suggest(trial_id)
        if job is not None:
            return {"reference": JobReference(job)}
        return Searcher.FINISHED if self._controller.over else None

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Nothing: `MessageStopper` has seen the outcome."""

    def save(self, *_: Any) -> None:
        """Nothing: the record of the study holds all of it."""

    def restore(self, *_: Any) -> None:
        """Never called: an experiment of Tune is not restored."""


class MessageStopper(tune.Stopper):
    """Sees every result first, and decides whether its trial ends with it."""

    def __init__(self, controller: TuneController) -> None:
        self._controller = controller

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        # Taken out of the result, as Tune would keep it (with its weights) in its state.
        return self._controller.received(trial_id, result.pop("message"))

    def stop_all(self) -> bool:
        return self._controller.error is not None


class WorkerCallback(tune.Callback):
    """Knows which worker has which trial, and sees workers die."""

    def __init__(self, controller: TuneController) -> None:
        self._controller = controller
        self._actors: dict[str, Any] = {}

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._actors[trial.trial_id] = trial.temporary_state.ray_actor
        self._controller.started(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._actors.pop(trial.trial_id, None)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._actors.pop(trial.trial_id, None)
        failure, worker_lost = failure_of_ray(_error_of(trial))
        self._controller.on_trial_error(trial.trial_id, failure, worker_lost)

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        if self._controller.error is not None:  # Tune itself would wait for a hung one
            while self._actors:
                ray.kill(self._actors.popitem()[1])


def _error_of(trial: Any) -> Exception:
    """What Tune caught: its hooks get a trial that holds it in files only."""
    if trial.pickled_error_file is None:
        return RuntimeError(Path(trial.error_file).read_text("utf-8"))
    error: Exception = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return error


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets those variables that the user has not set, and removes them afterwards."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _silent_ray_logs() -> Iterator[None]:
    """Silences the loggers of Ray and Tune: the record holds every failure that they log."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
