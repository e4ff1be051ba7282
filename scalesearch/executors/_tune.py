"""Ray Tune's classes around one run: a searcher, a stopper, a callback and the worker."""

from __future__ import annotations

import faulthandler
import logging
import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import RayTaskError
from ray.tune.search import Searcher

from scalesearch.executors._attempts import Attempt, failure_of, late
from scalesearch.executors._cluster import Kit, gone
from scalesearch.executors._conductor import Conductor
from scalesearch.executors._desk import Desk
from scalesearch.executors._interrupts import on_interrupt
from scalesearch.executors._options import Options
from scalesearch.executors._quiet import environment
from scalesearch.history.jobs import Failure, Infeasible, Job, Result, Score
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

_IDLE_SECONDS = 0.02


def fit(options: Options, desk: Desk, assess: Assess) -> None:
    """Runs the desk's jobs as trials of one Tune experiment, until it has none."""
    conductor = Conductor(options, desk)
    kit = Kit.of(options, assess)
    worker = tune.with_resources(
        tune.with_parameters(Worker, kit=kit, limit=options.limit),
        {"cpu": options.cpus, "gpu": options.gpus},
    )
    variables = _ENVIRONMENT | {"TUNE_MAX_PENDING_TRIALS_PG": str(options.slots)}
    with (
        tempfile.TemporaryDirectory(prefix="scalesearch-") as folder,
        environment(variables),
        _no_logs(),
        on_interrupt(conductor.interrupt),
    ):
        tune.Tuner(
            worker,
            tune_config=tune.TuneConfig(
                search_alg=Asking(conductor),
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                name="trials",
                verbose=0,
                stop=Stopping(conductor),
                callbacks=[Watching(conductor)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    conductor.close()


class Asking(Searcher):
    """Tune's source of trials: the configuration of each is its job."""

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self._conductor = conductor

    def suggest(self, trial_id: str) -> Any:
        job = self._conductor.suggest(trial_id)
        if job is not None:
            return {"parcel": Parcel(job)}
        return Searcher.FINISHED if self._conductor.over else None

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Nothing: `Stopping` has seen the outcome."""

    def save(self, *_: Any) -> None:
        """Nothing: the record of the study knows all of it."""

    def restore(self, *_: Any) -> None:
        """Never called: an experiment of Tune is not restored."""


class Stopping(tune.Stopper):
    """Sees every result first, and says whether its trial ends with it."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        # Taken out of the result, as Tune would keep it (with its weights) in its state.
        return self._conductor.received(trial_id, result.pop("message"))

    def stop_all(self) -> bool:
        return self._conductor.error is not None


class Watching(tune.Callback):
    """Knows which worker has which trial, and sees workers die."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._workers: dict[str, Any] = {}

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._workers[trial.trial_id] = trial.temporary_state.ray_actor
        self._conductor.started(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._workers.pop(trial.trial_id, None)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._workers.pop(trial.trial_id, None)
        error = _error_of(trial)
        if isinstance(error, RayTaskError):  # the worker lives, say if a result cannot be pickled
            self._conductor.received(trial.trial_id, failure_of(error.cause))
        else:
            self._conductor.lost(trial.trial_id, gone(error))

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        if self._conductor.error is not None:  # Tune itself would wait for a hung one
            while self._workers:
                ray.kill(self._workers.popitem()[1])


def _error_of(trial: Any) -> Exception:
    """What Tune caught: its hooks are handed a trial that has it in files only."""
    if trial.pickled_error_file is None:
        return RuntimeError(Path(trial.error_file).read_text())
    error: Exception = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return error


@dataclass(frozen=True)
class Parcel:
    """A job that Tune may copy and print for its own ends at no cost."""

    job: Job

    def __deepcopy__(self, memo: dict[int, Any]) -> Parcel:
        return self

    def __repr__(self) -> str:
        return f"{self.job.phase}-{self.job.number}"


class Worker(tune.Trainable):
    """Tune's actor: a step is a score or the end of the job."""

    def setup(
        self, config: dict[str, Any], kit: Kit | None = None, limit: float = math.inf
    ) -> None:
        assert kit is not None, "`fit` hands it over by tune.with_parameters"
        self._limit = limit
        self._fault: Exception | None = None
        try:
            self._assess = kit.unpack()
        except Exception as error:  # told by the first step: here Tune would drop its type
            self._fault = error
            return
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._attempt.close()
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._attempt = Attempt(self._assess, config["parcel"].job)
        self._deadline: float | None = None
        self._idle = False

    def step(self) -> dict[str, Any]:
        if self._fault is not None:
            return {"message": self._fault}
        if self._idle:
            time.sleep(_IDLE_SECONDS)
            return {"message": None}
        message = self._next()
        self._idle = not isinstance(message, Score)
        metrics = dict(message.values) if isinstance(message, Score | Result) else {}
        return {**metrics, "message": message}

    def _next(self) -> Score | Result | Infeasible | Failure:
        if self._deadline is None:  # counted from here, as the driver counts from a moment before
            self._deadline = time.monotonic() + self._limit
        left = self._deadline - time.monotonic()
        if left <= 0:
            return late(self._limit)
        with _dying_after(left):
            return self._attempt.step()

    def cleanup(self) -> None:
        if self._fault is None:
            self._attempt.close()


@contextmanager
def _dying_after(seconds: float) -> Iterator[None]:
    """Ends this process if the block takes longer, even if it is stuck outside of Python."""
    if seconds == math.inf:
        yield
        return
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


@contextmanager
def _no_logs() -> Iterator[None]:
    """Silences the loggers of Ray and Tune, whose every failure the record tells."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
