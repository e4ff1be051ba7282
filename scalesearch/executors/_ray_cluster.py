"""A Ray cluster that has room for the workers, and how a worker on it is set up.

Ray sets CUDA_VISIBLE_DEVICES of a worker to the GPUs of its share; a worker without GPUs hides them
all. `training/device.py` then picks the first GPU that the process sees.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from scalesearch.errors import UserError
from scalesearch.executors._interrupts import ignore_interrupt, on_interrupt
from scalesearch.executors._options import Options
from scalesearch.executors._ray_errors import join_error, start_error
from scalesearch.interfaces import Assess, hook


def ensure_cluster(options: Options, stack: ExitStack) -> None:
    """Starts or connects to Ray unless that is done already; `stack` then ends it.

    Raises:
        UserError: Ray cannot start, no cluster answers at the address, or it can never hold the
            workers.
    """
    if not ray.is_initialized():
        stack.callback(_shut_down)
        _start(options)
    _check_room(options)


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
class WorkerSetup:
    """What a worker needs before its first job.

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
    def of(cls, options: Options, assess: Assess) -> WorkerSetup:
        """Puts `assess` into Ray's store once, from where all workers of a node share it."""
        paths = tuple(path or os.getcwd() for path in sys.path)  # noqa: PTH109 (a str is wanted)
        return cls([ray.put(assess)], paths, options.threads, options.gpus)

    def prepare(self) -> Assess:
        """Sets this process up and returns `assess`, ready for jobs."""
        sys.path.extend(path for path in self.paths if path not in sys.path)
        if self.gpus == 0:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        assess: Assess = ray.get(self.assess[0])
        hook(assess, "prepare")(self.threads)
        return assess


def _shut_down() -> None:
    with on_interrupt(ignore_interrupt):
        ray.shutdown()


def _start(options: Options) -> None:
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if options.address == "local":
        cpus = math.ceil(options.workers * options.cpus)
        try:
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
        except (Exception, SystemExit) as error:  # Ray raises any class, and bare Exceptions
            raise start_error(error) from error
        return
    try:
        _check_port(options.address)
        with _silent_stderr():  # its core repeats itself there each second
            ray.init(address=options.address, **quiet)
    except (Exception, SystemExit) as error:
        raise join_error(options.address, error) from error


def _check_port(address: str) -> None:
    """Raises OSError at once where nobody listens, or somebody else than Ray.

    Ray would try for minutes and then exit. Its servers speak HTTP/2, as gRPC does, and answer its
    greeting by a frame of settings.
    """
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if not colon:
        return
    with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as server:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return
        server.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        head = server.recv(9)
    if len(head) < 4 or head[3] != 4:
        raise ConnectionError("what listens there is not Ray")


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drops what this process writes to standard error, from outside of Python too."""
    try:
        before = os.dup(2)
    except OSError:  # there is none
        yield
        return
    try:
        with open(os.devnull, "w") as devnull:  # noqa: PTH123
            os.dup2(devnull.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


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
