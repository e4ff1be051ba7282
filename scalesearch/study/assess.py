"""What a worker does with a job: build, measure, compare with the closed form, time, score."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from scalesearch.arch.detector import Architecture
from scalesearch.arch.factory import Factory
from scalesearch.contracts import scores_of
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Cost, Deployment
from scalesearch.cost.latency import measure_latency
from scalesearch.cost.limits import Limits, violations, worst
from scalesearch.cost.measured import measure_counts
from scalesearch.errors import TrialError, is_out_of_memory
from scalesearch.history.jobs import (
    Infeasible,
    Job,
    Result,
    Score,
    Scratch,
    Whereabouts,
    scratch_name,
)
from scalesearch.interfaces import Data, Evaluator, hook
from scalesearch.nn.build import build
from scalesearch.text import shortened
from scalesearch.training.device import (
    begin_job,
    give_memory_back,
    prepare_worker,
    reproducible_cudnn,
    uses_gpu,
    whereabouts,
)
from scalesearch.training.loading import close_loaders

_left: set[Path] = set()  # scratch folders of jobs that this process had
_MEASUREMENTS = 3  # of a network before it is infeasible for its latency


@dataclass(frozen=True)
class Assess:
    """Assesses jobs with one evaluator on one data set; sent to each worker once.

    Attributes:
        deployment: that latency is measured for, before any training; None measures none.
        limits: of the phase, for what is known once latency was measured.
        deterministic: GPUs may only take algorithms that give the same result each time.
        scratch: folder in which each trial has one of its own, for its checkpoints; None keeps
            none.
        checkpoint_every: epochs from one checkpoint to the next, as in `Scratch`.
    """

    evaluator: Evaluator
    data: Data | None
    deployment: Deployment | None = None
    limits: Limits = field(default_factory=dict)
    deterministic: bool = False
    scratch: Path | None = None
    checkpoint_every: int | None = None

    def prepare(self, threads: int) -> None:
        """Sets up a worker's process before its first job."""
        prepare_worker(threads)

    def where(self) -> Whereabouts:
        """The machine of this process, and what its last job took of it."""
        return whereabouts()

    def tidy(self) -> None:
        """Leaves a GPU's memory to others: a share of one may be all that this worker has."""
        if uses_gpu():
            give_memory_back()

    def close(self) -> None:
        """Ends the processes that read images."""
        close_loaders()

    def __call__(self, job: Job) -> Generator[Score, None, Result | Infeasible]:
        """Yields scores as they come and returns the result, or `Infeasible` if it is too slow.

        A network that does not fit into memory is trained again with half of the micro-batch, as
        long as the evaluator has a smaller one; what it had a checkpoint of is not repeated.

        Raises:
            TrialError: the closed form and fvcore disagree, there is no score, or the evaluator
                gives up.
            UserError: latency is to be measured on a GPU and there is none, or the evaluator yields
                something else than scores.
        """
        if not hook(self.evaluator, "trains"):
            return (yield from self._looked_up(job))
        with reproducible_cudnn(wanted=self.deterministic):
            return (yield from self._built(job))

    def _built(self, job: Job) -> Generator[Score, None, Result | Infeasible]:
        """The outcome of a network that is built, trained with what fits into memory."""
        begin_job()
        scratch = self._scratch_of(job)
        _forget_all_but(scratch)
        evaluator: Evaluator | None = longer(self.evaluator, job.length)
        evaluator = hook(evaluator, "fitted")(job.architecture) or evaluator
        while evaluator is not None:
            try:
                return (yield from self._trained(job, evaluator, scratch))
            except Exception as error:
                smaller = hook(evaluator, "smaller")() if is_out_of_memory(error) else None
                if smaller is None:
                    raise
            # Out here nothing holds the tensors of the attempt any more.
            give_memory_back()
            evaluator = smaller
        raise AssertionError("one evaluator at least was tried")

    def _trained(
        self, job: Job, evaluator: Evaluator, scratch: Scratch
    ) -> Generator[Score, None, Result | Infeasible]:
        """The outcome of a network that is trained by one evaluator, in one go."""
        assert self.data is not None  # the settings were checked: what trains has images
        started = time.perf_counter()
        architecture = job.architecture
        # The caller's random state is left alone; a model's first weights depend on the job only.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(job.seed)
            model = build(architecture)
        if job.weights is not None:
            _take(model, job.weights)
        measured = agreed_cost(model, architecture, self.evaluator)
        if self.deployment is not None:
            measured = timed_cost(model, architecture, measured, self.deployment, self.limits)
            if worst(violations(measured, self.limits)) > 0:
                return Infeasible(measured, time.perf_counter() - started)
        last = None
        given = (model, architecture, self.data, job.seed, scratch, job.schedule)
        for last in scores_of(evaluator, *given):
            yield last
        if last is None:
            raise TrialError("the evaluator gave no score")
        seconds = time.perf_counter() - started
        where = Whereabouts(
            images_per_second=last.images_per_second,
            micro_batch=getattr(evaluator, "micro_batch", None),
        )
        if not job.keep_weights:
            return Result(dict(last.values), measured, seconds, where=where)
        # What the outputs mean goes with the weights, in strings as safetensors asks.
        labels = {key: json.dumps(value) for key, value in self.data.outputs.items()}
        weights = save(_cpu_state(model), metadata=labels)
        return Result(
            dict(last.values), measured, seconds, weights, last.detections_json, where=where
        )

    def _scratch_of(self, job: Job) -> Scratch:
        folder = None
        if self.scratch is not None and self.checkpoint_every != 0:
            folder = self.scratch / scratch_name(job.phase, job.number)
        return Scratch(job.phase, job.number, folder, self.checkpoint_every, job.pauses)

    def _looked_up(self, job: Job) -> Generator[Score, None, Result | Infeasible]:
        """The outcome of a network that is neither built nor trained."""
        started = time.perf_counter()
        architecture, evaluator = job.architecture, self.evaluator
        spent = cost(architecture, workload=evaluator.workload)
        spent = replace(spent, latency=hook(evaluator, "latency_of")(architecture))
        if worst(violations(spent, self.limits)) > 0:
            return Infeasible(spent, time.perf_counter() - started)
        last = None
        for last in scores_of(evaluator, None, architecture, None, job.seed):
            yield last
        if last is None:
            raise TrialError("the evaluator gave no score")
        return Result(dict(last.values), spent, time.perf_counter() - started)


def longer(evaluator: Evaluator, length: float) -> Evaluator:
    """The same evaluator with its epochs multiplied, rounded to whole ones, 1 at least."""
    if length == 1:
        return evaluator
    own: Any = evaluator
    made: Evaluator = replace(own, epochs=max(1, round(own.epochs * length)))
    return made


def _forget_all_but(scratch: Scratch) -> None:
    """Removes what other jobs of the study left on this machine, which their driver may not see.

    Their outcomes are recorded: a worker gets another job only then.
    """
    if scratch.folder is None:
        return
    for folder in [*_left]:
        if folder.parent == scratch.folder.parent and folder != scratch.folder:
            shutil.rmtree(folder, ignore_errors=True)
            _left.remove(folder)
    if not scratch.pauses:  # else it may have to wait here for its next round
        _left.add(scratch.folder)


def agreed_cost(model: nn.Module, architecture: Architecture, evaluator: Evaluator) -> Cost:
    """The cost of a built model, once fvcore's counts equal the closed form's.

    Raises:
        TrialError: they differ; both numbers are shown, and one of the two has a mistake.
    """
    expected = cost(architecture, workload=evaluator.workload)
    side = architecture.resolution
    counted = measure_counts(model, (1, architecture.in_channels, side, side))
    for name, value in expected.counts().items():
        if counted[name] != value:
            differs = f"{name} of the built model is {counted[name]:,} by fvcore but {value:,}"
            if isinstance(architecture, Factory):
                raise TrialError(f"{differs} when it was built before: {architecture.call}")
            raise TrialError(f"{differs} in closed form: please report this architecture")
    return expected


def timed_cost(
    model: nn.Module,
    architecture: Architecture,
    spent: Cost,
    deployment: Deployment,
    limits: Limits,
) -> Cost:
    """The cost with the latency of the built model.

    `Infeasible` is final, and other load on a machine makes a network only slower: one that is over
    a limit is measured up to three times, and the least counts.
    """
    side = architecture.resolution
    shape = (architecture.in_channels, side, side)
    timed = spent
    for _ in range(_MEASUREMENTS):
        latency = measure_latency(model, shape, deployment).median
        timed = replace(spent, latency=min(latency, timed.latency or latency))
        if worst(violations(timed, limits)) <= 0:
            break
    return timed


def _take(model: nn.Module, weights: bytes) -> None:
    """Gives a model the weights that a trial has left; `TrialError` if they are not its own."""
    try:
        model.load_state_dict(load(weights))
    except (SafetensorError, RuntimeError) as error:
        reason = shortened(str(error).partition("\n")[0])
        raise TrialError(f"the kept weights are not of this network: {reason}") from error


def _cpu_state(model: nn.Module) -> dict[str, torch.Tensor]:
    state = model.state_dict()
    return {name: t.detach().to("cpu", copy=True).contiguous() for name, t in state.items()}
