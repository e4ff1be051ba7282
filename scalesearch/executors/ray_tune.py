"""The same as `ray` through Ray Tune, for those who use its callbacks and loggers."""

from __future__ import annotations

from dataclasses import dataclass

from scalesearch.executors._job_queue import JobQueue
from scalesearch.executors._ray_errors import lost_error, ray_installed
from scalesearch.executors.ray import Executor as RayExecutor
from scalesearch.interfaces import Assess


@dataclass(frozen=True, kw_only=True)
class Executor(RayExecutor):
    """Runs each job as a trial of Ray Tune whose actors are reused for the next trial.

    Tune writes nothing that stays: the record of the study is the only truth, and `Tuner.restore`
    repeats finished trials. Callbacks named in the environment variable RAY_TUNE_CALLBACKS see
    every score. A trial over its `timeout` ends its own worker process. If a stopped job raises
    while it cleans up, only the worker's log has the error: a stopped trial reports no more.
    """

    def run_queue(self, queue: JobQueue, assess: Assess) -> None:
        """Runs the jobs as one Tune experiment."""
        with ray_installed():
            from ray.exceptions import RayError
            from ray.tune.error import TuneError

            from scalesearch.executors._tune_experiment import run_experiment

        try:
            run_experiment(self, queue, assess)
        except (RayError, TuneError) as error:
            raise lost_error(error) from error
