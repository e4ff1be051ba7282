"""Warm Ray actors in a wait loop: several workers, GPUs and their shares, whole clusters."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from scalesearch.executors._interrupts import on_interrupt, raise_interrupt
from scalesearch.executors._job_queue import JobQueue
from scalesearch.executors._options import Ask, Keep, Options, Tell
from scalesearch.executors._ray_errors import lost_error, ray_installed
from scalesearch.interfaces import Assess

# The record holds every dead worker; Ray would print a page about it on standard output as well.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
_SHARED: ContextVar[ExitStack | None] = ContextVar("shared", default=None)


@dataclass(frozen=True, kw_only=True)
class Executor(Options):
    """Runs jobs on actors that live for the whole run, one for each of `workers`.

    A trial over its `timeout` has its worker killed. A worker that dies is replaced and its job
    retried. A Ray that the caller has initialised is used and left running.
    """

    @contextmanager
    def connect(self) -> Iterator[None]:
        """Keeps a cluster that a run within it starts for the runs that follow."""
        with ExitStack() as stack:
            token = _SHARED.set(stack)
            try:
                yield
            finally:
                _SHARED.reset(token)

    def run(self, ask: Ask, assess: Assess, keep: Keep, tell: Tell) -> None:
        """Fulfils the contract of `interfaces.Executor`."""
        queue = JobQueue(ask, keep, tell, self.retries)
        with on_interrupt(raise_interrupt), ExitStack() as stack:
            if queue.done:  # a finished study needs no cluster
                return
            self._connect(_SHARED.get() or stack)
            with on_interrupt(raise_interrupt):  # again: Ray installs a SIGTERM handler at start
                self.run_queue(queue, assess)

    def start(self) -> None:
        """Starts or joins a cluster within `connect`; `UserError` if that is not possible."""
        shared = _SHARED.get()
        if shared is not None:
            with on_interrupt(raise_interrupt):
                self._connect(shared)

    def _connect(self, stack: ExitStack) -> None:
        quiet_ray()
        with ray_installed():
            from scalesearch.executors._ray_cluster import ensure_cluster
        ensure_cluster(self, stack)

    def run_queue(self, queue: JobQueue, assess: Assess) -> None:
        """Runs the jobs of a queue until there are none, with Ray connected."""
        with ray_installed():
            from ray.exceptions import RayError

            from scalesearch.executors._worker_pool import WorkerPool

        try:
            with WorkerPool(self, queue, assess) as pool:
                pool.run()
        except (RayError, ConnectionError) as error:  # the latter of a client that was cut off
            raise lost_error(error) from error


def quiet_ray() -> None:
    """Turns off usage statistics and worker logs, unless the user's environment sets them.

    To be called before Ray is imported, which reads these once.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
