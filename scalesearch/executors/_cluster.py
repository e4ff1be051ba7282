"""A Ray cluster that can hold the workers, and what each worker is given there."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError, WorkerCrashedError

from scalesearch.errors import UserError
from scalesearch.executors._gpus import hide_gpus
from scalesearch.executors._holding import until_released
from scalesearch.executors._interrupts import on_interrupt, postpone
from scalesearch.executors._options import Options
from scalesearch.history.jobs import Failure
from scalesearch.interfaces import Assess, hook

# Ray's exceptions that say that a worker is gone, and not that a job went wrong.
GONE = (RayActorError, OutOfMemoryError, WorkerCrashedError, ObjectLostError)
_DETAIL = re.compile(r"Worker exit detail: (.*?)(?: Some common causes|$)")


@contextmanager
def cluster(options: Options) -> Iterator[None]:
    """Ray, started or connected unless that is done already, and left as it was found.

    Raises:
        UserError: no cluster at the address, or it can never hold the workers.
    """
    with until_released() as stack:
        if not ray.is_initialized():
            stack.callback(_shut_down)
            _start(options)
        _check_room(options)
        yield


def _shut_down() -> None:
    with on_interrupt(postpone):
        ray.shutdown()


def _start(options: Options) -> None:
    calm: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if options.address == "local":
        cpus = math.ceil(options.workers * options.cpus)
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **calm)
        return
    try:
        _knock(options.address)
        ray.init(address=options.address, **calm)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(
            f"no Ray cluster answers at {options.address!r}: {error}",
            key="address",
            allowed="local, auto, host:port, ray://host:port",
            hint="start one with `ray start --head`, or leave address: local",
        ) from error


def _knock(address: str) -> None:
    """Raises OSError at once where nobody listens; Ray would try for minutes and then exit."""
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()


def _check_room(options: Options) -> None:
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    room = sum(workers_on(node, options) for node in resources)
    if room >= options.workers:
        return
    cpus, gpus = (sum(node.get(kind, 0) for node in resources) for kind in ("CPU", "GPU"))
    raise UserError(
        f"{options.workers} workers of {options.cpus:g} CPUs and {options.gpus:g} GPUs each do "
        f"not fit: the Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs, room for {room}",
        key="workers" if room else ("gpus" if gpus < options.gpus else "cpus"),
        hint="ask for fewer workers or for less per worker",
    )


def workers_on(resources: Mapping[str, float], options: Options) -> int:
    """How many workers fit on a node; a share of a GPU never spans two of them."""
    tiny = 1e-9  # so that 0.1 fits ten times into 1
    by_cpus = math.floor(resources.get("CPU", 0) / options.cpus + tiny)
    gpus = resources.get("GPU", 0)
    if options.gpus == 0:
        return by_cpus
    if options.gpus < 1:
        return min(by_cpus, math.floor(gpus) * math.floor(1 / options.gpus + tiny))
    return min(by_cpus, math.floor(gpus / options.gpus + tiny))


@dataclass(frozen=True)
class Kit:
    """What a worker unpacks before its first job.

    Attributes:
        assess: a list of one reference, as Ray would resolve a bare one before `paths` count.
        paths: the driver's import paths, so that its plug-ins are found in the worker.
        threads: how many the worker may use.
        gpus: share of GPUs of the worker.
    """

    assess: list[Any]
    paths: tuple[str, ...]
    threads: int
    gpus: float

    @classmethod
    def of(cls, options: Options, assess: Assess) -> Kit:
        """Puts `assess` into Ray's store once, from where all workers of a node share it."""
        paths = tuple(path or os.getcwd() for path in sys.path)  # noqa: PTH109 (a str is wanted)
        return cls([ray.put(assess)], paths, options.threads, options.gpus)

    def unpack(self) -> Assess:
        """`assess`, ready for jobs in this process."""
        sys.path.extend(path for path in self.paths if path not in sys.path)
        if self.gpus == 0:
            hide_gpus()
        assess: Assess = ray.get(self.assess[0])
        hook(assess, "prepare")(self.threads)
        return assess


def gone(error: Exception) -> Failure:
    """What the record says of a job whose worker is gone: the core of Ray's long message."""
    text = " ".join(str(error).split())
    if isinstance(error, OutOfMemoryError) or "running low on memory" in text:
        return Failure("memory", "Ray ended the worker as its machine ran low on memory")
    detail = _DETAIL.search(text)
    return Failure("died", f"the worker died: {detail[1] if detail else text}")
