"""What a worker does with a job: build, measure, compare with the closed form, score."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
from safetensors.torch import save
from torch import nn

from scalesearch.arch.backbone import Backbone
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Cost
from scalesearch.cost.measured import measure_counts
from scalesearch.errors import TrialError
from scalesearch.history.jobs import Job, Result, Score
from scalesearch.interfaces import Evaluator, ImageData
from scalesearch.nn.build import build
from scalesearch.training.allocator import prepare_worker


@dataclass(frozen=True)
class Assess:
    """Assesses jobs with one evaluator on one data set; sent to each worker once."""

    evaluator: Evaluator
    data: ImageData

    def prepare(self, threads: int) -> None:
        """Sets up a worker's process before its first job."""
        prepare_worker(threads)

    def __call__(self, job: Job) -> Generator[Score, None, Result]:
        """Yields scores as they come and returns the result.

        Raises:
            TrialError: the closed form and fvcore disagree, there is no score, or the evaluator
                gives up.
        """
        started = time.perf_counter()
        architecture = job.architecture
        # The caller's random state is left alone; a model's first weights depend on the job only.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(job.seed)
            model = build(architecture)
        measured = agreed_cost(model, architecture, self.evaluator)
        last = None
        for last in self.evaluator.evaluate(model, architecture, self.data, job.seed):
            yield last
        if last is None:
            raise TrialError("the evaluator gave no score")
        weights = save(_plain_state(model)) if job.keep_weights else None
        return Result(dict(last.values), measured, time.perf_counter() - started, weights)


def agreed_cost(model: nn.Module, architecture: Backbone, evaluator: Evaluator) -> Cost:
    """The cost of a built model, once fvcore's counts equal the closed form's.

    Raises:
        TrialError: they differ; both numbers are shown, and one of the two has a mistake.
    """
    expected = cost(architecture, workload=evaluator.workload)
    side = architecture.resolution
    counted = measure_counts(model, (1, architecture.in_channels, side, side))
    for name, value in expected.counts().items():
        if counted[name] != value:
            raise TrialError(
                f"{name} of the built model is {counted[name]:,} by fvcore but {value:,} in closed "
                "form: please report this architecture"
            )
    return expected


def _plain_state(model: nn.Module) -> dict[str, torch.Tensor]:
    state = model.state_dict()
    return {name: t.detach().to("cpu", copy=True).contiguous() for name, t in state.items()}
