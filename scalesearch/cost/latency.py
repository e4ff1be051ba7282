"""The latency of a model by the clock: after warming up, the median of many forward passes.

It takes any module whose input is a batch of images, and measures it as a plain PyTorch program
would run it: eager mode, float32, weights and images in channels last (the faster order for
convolutions, and the one that training leaves behind).
"""

from __future__ import annotations

import copy
import os
import platform
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scalesearch.cost.any_module import running
from scalesearch.cost.cost import Deployment
from scalesearch.errors import UserError

Step = Callable[[Tensor], Tensor]
Shape = tuple[int, int, int]

# Timed passes: as many as fit into a time budget, within these.
_FEWEST, _MOST = 5, 200
# Warming up ends when a round is no longer clearly faster than the one before, or at its deadline.
_ROUND, _STEADY, _LONGEST_WARM_UP = 3, 0.97, 2.0


class Latency(NamedTuple):
    """Seconds of a forward pass.

    Attributes:
        median: of the passes that were timed after warming up.
        low, high: the quartiles around it: how much the machine was disturbed.
        repeats: how many passes were timed.
    """

    median: float
    low: float
    high: float
    repeats: int


def measure_latency(
    model: nn.Module,
    shape: Shape,
    deployment: Deployment | None = None,
    *,
    seconds: float = 1.0,
) -> Latency:
    """How long a forward pass of a model takes.

    Args:
        model: any module; a copy is measured, so that it keeps its mode, device and weights.
        shape: [C, H, W] of one image; the batch is the deployment's.
        deployment: device, batch and threads; one image on one thread of the CPU by default.
        seconds: to spend on the passes that are timed; slow models take at least five passes.

    Raises:
        UserError: the deployment's device is not available, or the model cannot be run.
    """
    with deployed(model, shape, deployment or Deployment()) as (copied, images):
        passes = _repeat(lambda: _timed([copied], images), seconds)
    low, median, high = _quartiles([total for (total,) in passes])
    return Latency(median, low, high, len(passes))


def measure_links(
    model: nn.Module,
    cut: Callable[[Any], Sequence[Step]],
    shape: Shape,
    deployment: Deployment,
    *,
    seconds: float = 1.0,
) -> tuple[tuple[float, ...], float]:
    """The seconds of each link of the chain that a model is cut into, and the rest of a pass.

    Each link is timed with its neighbours, so that it finds the caches as they leave them: alone it
    would find its own weights there. The times are lower quartiles, as a disturbance only ever adds
    to a time. Whole passes and passes link by link alternate, so that a disturbance affects both:
    the rest is the median of their differences.

    `cut` turns a model into steps that, called one after the other, are its forward pass; the other
    arguments are those of `measure_latency`.
    """
    with deployed(model, shape, deployment) as (copied, images):
        links = cut(copied)
        passes = _repeat(lambda: _timed([copied], images) + _timed(links, images), seconds)
    rest = statistics.median(whole - sum(each) for whole, *each in passes)
    _, *times = zip(*passes, strict=True)
    return tuple(_quartiles(one)[0] for one in times), rest


@contextmanager
def deployed(
    model: nn.Module, shape: Shape, deployment: Deployment
) -> Iterator[tuple[nn.Module, Tensor]]:
    """A copy of a model as it is deployed, and images [N, C, H, W] for it."""
    if deployment.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "latency cannot be measured on 'cuda': this process sees no GPU",
            key="latency.device",
            hint="give workers a GPU (execution.gpus: 1), or measure on the cpu",
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(deployment.threads)
    try:
        copied = copy.deepcopy(model).eval().to(deployment.device)
        copied.to(memory_format=torch.channels_last)
        # A generator of its own leaves the caller's random state unchanged.
        draws = torch.Generator().manual_seed(0)
        images = torch.randn(deployment.batch, *shape, generator=draws).to(deployment.device)
        with torch.inference_mode(), running(model, images.shape):
            yield copied, images.contiguous(memory_format=torch.channels_last)
    finally:
        torch.set_num_threads(threads)


def machine(device: str) -> str:
    """What a device is called: the model of the CPU and its cores, or of the GPU."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    models = (
        re.findall(r"^model name\s*:\s*(.+)$", info.read_text("utf-8", "replace"), re.M)
        if info.exists()
        else []
    )
    name = models[0] if models else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def version() -> str:
    """The version of torch, which latency depends on."""
    return str(torch.__version__)


def _quartiles(times: Sequence[float]) -> list[float]:
    return statistics.quantiles(times, n=4, method="inclusive")


def _repeat(run: Callable[[], tuple[float, ...]], seconds: float) -> list[tuple[float, ...]]:
    """The times of many runs, once they are steady."""
    _warm_up(run)
    passes: list[tuple[float, ...]] = []
    started = perf_counter()
    while len(passes) < _FEWEST or (len(passes) < _MOST and perf_counter() - started < seconds):
        passes.append(run())
    return passes


def _warm_up(run: Callable[[], tuple[float, ...]]) -> None:
    started, before = perf_counter(), float("inf")
    while perf_counter() - started < _LONGEST_WARM_UP:
        now = statistics.median(sum(run()) for _ in range(_ROUND))
        if now > _STEADY * before:
            return
        before = now


def _timed(steps: Sequence[Step], x: Tensor) -> tuple[float, ...]:
    """Seconds of each step, one after the other; on a GPU by events in its own queue."""
    if x.device.type == "cuda":
        return _timed_on_gpu(steps, x)
    marks = [perf_counter()]
    for step in steps:
        x = step(x)
        marks.append(perf_counter())
    return tuple(after - before for before, after in pairwise(marks))


def _timed_on_gpu(steps: Sequence[Step], x: Tensor) -> tuple[float, ...]:
    event: Any = torch.cuda.Event  # which has no annotations
    marks = [event(enable_timing=True) for _ in range(len(steps) + 1)]
    torch.cuda.synchronize()  # an idle queue: the first event is now
    marks[0].record()
    for step, mark in zip(steps, marks[1:], strict=True):
        x = step(x)
        mark.record()
    torch.cuda.synchronize()
    return tuple(before.elapsed_time(after) / 1000 for before, after in pairwise(marks))
