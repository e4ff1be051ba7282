"""Warm Ray actors in a wait loop: several workers, GPUs and their shares, whole clusters."""

from __future__ import annotations

from dataclasses import dataclass

from scalesearch.executors._job_queue import JobQueue
from scalesearch.executors._ray_executor import RayExecutor
from scalesearch.interfaces import Assess


@dataclass(frozen=True, kw_only=True)
class Executor(RayExecutor):
    """Runs jobs on actors that live for the whole run, one for each of `workers`.

    A trial over its `timeout` has its worker killed. A worker that dies is replaced and its job
    retried. A Ray that the caller has initialised is used and left running.
    """

    def run_queue(self, queue: JobQueue, assess: Assess) -> None:
        """Runs the jobs on a pool of workers."""
        from scalesearch.executors._worker_pool import WorkerPool

        with WorkerPool(self, queue, assess) as pool:
            pool.run()
