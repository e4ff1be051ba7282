"""What reaches a worker before its imports are those of the driver.

Ray puts the driver's current folder in front of a worker's import paths, where a `numpy.py` hides
the real one. So what stands here is pickled by value (see `_ray_cluster.py`), and takes nothing of
this package before `WorkerSetup.take_imports`.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalesearch.history.jobs import Failure, Infeasible, Job, Result, Score, Stopped
    from scalesearch.interfaces import Assess


class WorkerSetup:
    """What a worker needs before its first job.

    Not a dataclass: those lose their fields when they are pickled by value.

    Attributes:
        assess: a list of one reference, as Ray would resolve a bare one before `paths` count.
        paths: the driver's import paths, so that its plug-ins are found in the worker.
        here: the driver's current folder.
        package: the driver's folder of this package.
        threads: how many the worker may use.
        gpus: share of GPUs of the worker.
    """

    def __init__(
        self,
        *,
        assess: list[Any],
        paths: tuple[str, ...],
        here: str,
        package: str,
        threads: int,
        gpus: float,
    ) -> None:
        self.assess, self.paths, self.here, self.package = assess, paths, here, package
        self.threads, self.gpus = threads, gpus

    def take_imports(self) -> None:
        """Gives this process the driver's import paths in the driver's order, and its package.

        What only this process has, such as the libraries of another machine, stands behind them,
        but never behind a current folder that the driver has last.
        """
        own = [path for path in sys.path if path not in self.paths]
        last = 1 if self.paths and self.paths[-1] == self.here else 0
        cut = len(self.paths) - last
        sys.path[:] = [*self.paths[:cut], *own, *self.paths[cut:]]
        file = Path(self.package) / "__init__.py"
        if "scalesearch" in sys.modules or not file.exists():
            return
        spec = importlib.util.spec_from_file_location(
            "scalesearch", file, submodule_search_locations=[self.package]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules["scalesearch"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)

    def prepare(self) -> Assess:
        """Sets this process up and returns `assess`, ready for jobs.

        Raises:
            UserError: a plug-in cannot be imported here, or whatever it raised.
        """
        self.take_imports()
        import ray

        from scalesearch.errors import UserError
        from scalesearch.interfaces import hook

        if self.gpus == 0:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        try:
            assess: Assess = ray.get(self.assess[0])
            hook(assess, "prepare")(self.threads)
            torch = sys.modules.get("torch")
            if self.gpus and torch is not None and not torch.cuda.is_available():
                raise UserError(
                    f"torch sees no GPU on a worker of {platform.node()}",
                    key="gpus",
                    allowed="0",
                    hint="`python -c 'import torch; print(torch.version.cuda)'` says what this "
                    "torch was built for",
                )
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # a plug-in's module may do anything
            text = f"a worker cannot be set up: {type(error).__name__}: {error}"
            raise UserError(
                text, hint="plug-ins must be found on every machine of the cluster"
            ) from error
        return assess


class WorkerActor:
    """The process of a worker: holds the running job between two calls of the driver."""

    def place(self) -> tuple[str, str, str, int]:
        """The identity of its node, its GPUs, the machine's name, the number of its process."""
        import ray

        context = ray.get_runtime_context()
        gpus = ",".join(context.get_accelerator_ids().get("GPU", ()))
        return context.get_node_id(), gpus, platform.node(), os.getpid()

    def prepare(self, setup: WorkerSetup) -> None:
        """A call of its own, as Ray hides the type of what a constructor raises."""
        self._assess = setup.prepare()

    def start(self, job: Job) -> Score | Result | Infeasible | Failure:
        """The first message of a new job."""
        from scalesearch.executors._running_job import RunningJob

        self._running = RunningJob(self._assess, job)
        return self._running.step()

    def step(self) -> Score | Result | Infeasible | Failure:
        """The next message of the running job."""
        return self._running.step()

    def stop(self, last: Score) -> Stopped | Failure:
        """Ends the running job."""
        return self._running.stop(last)
