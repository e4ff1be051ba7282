"""The Ray actors of one run: started, given jobs, waited for, replaced when they die."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from scalesearch.errors import UserError
from scalesearch.executors._failures import failure_of_ray, timeout_failure
from scalesearch.executors._interrupts import ignore_interrupt, on_interrupt
from scalesearch.executors._job_queue import JobQueue, QueuedJob
from scalesearch.executors._on_worker import WorkerActor
from scalesearch.executors._options import Options
from scalesearch.executors._ray_cluster import setup_of
from scalesearch.executors._ray_errors import lost_error
from scalesearch.history.jobs import Failure, Outcome, Score
from scalesearch.interfaces import Assess


@dataclass(eq=False)
class _Worker:
    """A worker as the driver sees it; without a job it is idle or still being prepared."""

    actor: Any
    current: QueuedJob | None = None
    deadline: float = math.inf


class WorkerPool:
    """As many workers as the executor has slots; a context that ends them all when left."""

    def __init__(self, options: Options, queue: JobQueue, assess: Assess) -> None:
        self._options, self._queue = options, queue
        self._setup = setup_of(options, assess)
        resources = {"num_cpus": options.cpus, "num_gpus": options.gpus}
        self._new_actor = ray.remote(WorkerActor).options(max_restarts=0, **resources).remote
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._pending: dict[Any, _Worker] = {}  # reference to the answer of a worker, and whose
        self._deaths_at_start = 0

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        with on_interrupt(ignore_interrupt):
            for worker in self._workers:
                ray.kill(worker.actor)

    def run(self) -> None:
        """Runs the jobs of the queue until there are none."""
        while True:
            self._assign()
            if self._queue.done:
                return
            self._collect()
            self._enforce_deadlines()

    def _assign(self) -> None:
        while self._idle and self._queue.ready():
            worker = self._idle.pop()
            worker.current = self._queue.take()
            worker.deadline = time.monotonic() + self._options.limit
            self._pending[worker.actor.start.remote(worker.current.job)] = worker
        while len(self._workers) < self._options.slots and self._queue.ready():
            worker = _Worker(self._new_actor())
            self._workers.append(worker)
            self._pending[worker.actor.prepare.remote(self._setup)] = worker

    def _collect(self) -> None:
        """Waits for one message, at the longest until the next deadline, and handles it."""
        nearest = min(worker.deadline for worker in self._pending.values())
        timeout = None if nearest == math.inf else max(0.0, nearest - time.monotonic())
        for reference in ray.wait(list(self._pending), timeout=timeout)[0]:
            worker = self._pending.pop(reference)
            try:
                message = ray.get(reference)
            except RayError as error:
                self._on_error(worker, error)
            else:
                self._on_message(worker, message)

    def _on_message(self, worker: _Worker, message: Any) -> None:
        if worker.current is None:  # prepared
            self._deaths_at_start = 0
            self._idle.append(worker)
        elif isinstance(message, Score):
            keep, actor = self._queue.keep(worker.current.job, message), worker.actor
            self._pending[actor.step.remote() if keep else actor.stop.remote(message)] = worker
        else:
            self._finish(worker, worker.current, message)

    def _finish(self, worker: _Worker, current: QueuedJob, outcome: Outcome) -> None:
        worker.current, worker.deadline = None, math.inf
        self._idle.append(worker)
        self._queue.finish(current, outcome)

    def _on_error(self, worker: _Worker, error: RayError) -> None:
        failure, worker_lost = failure_of_ray(error)
        if worker_lost:
            self._on_worker_death(worker, failure)
        elif worker.current is None:  # raised by `prepare`: not the fault of a trial
            cause = getattr(error, "cause", error)
            raise (cause if isinstance(cause, UserError) else lost_error(cause)) from error
        else:
            self._finish(worker, worker.current, failure)

    def _on_worker_death(self, worker: _Worker, failure: Failure) -> None:
        self._remove(worker)
        if worker.current is not None:
            self._queue.retry(worker.current, failure)
            return
        self._deaths_at_start += 1
        if self._deaths_at_start > self._options.retries:
            raise UserError(f"workers die before their first job: {failure.reason}")

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        for reference, worker in list(self._pending.items()):
            if worker.current is not None and now >= worker.deadline:
                del self._pending[reference]
                self._remove(worker)
                self._queue.finish(worker.current, timeout_failure(self._options.limit))

    def _remove(self, worker: _Worker) -> None:
        ray.kill(worker.actor)
        self._workers.remove(worker)
