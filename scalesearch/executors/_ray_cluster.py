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
from collections.abc import Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.job_config import JobConfig

import scalesearch
from scalesearch.errors import UserError
from scalesearch.executors._interrupts import ignore_interrupt, interrupt_deferred, on_interrupt
from scalesearch.executors._on_worker import WorkerSetup
from scalesearch.executors._options import Options, Resources
from scalesearch.executors._ray_errors import join_error, send_error, start_error
from scalesearch.interfaces import Assess

cloudpickle.register_pickle_by_value(sys.modules[WorkerSetup.__module__])  # type: ignore[no-untyped-call]


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
    needed = {"CPU": options.cpus, **options.resources.custom}
    room = min(math.floor(resources.get(n, 0) / each + tiny) for n, each in needed.items())
    kind = options.resources.accelerator_type
    if kind is not None and not resources.get(f"accelerator_type:{kind}"):
        return 0
    if options.gpus == 0:
        return room
    return min(room, math.floor(resources.get("GPU", 0)) * math.floor(1 / options.gpus + tiny))


def nodes_with_room(options: Options) -> dict[str, str]:
    """The nodes on which a worker fits, by their identity: names to show."""
    alive = _alive()
    hosts = [node["NodeManagerHostname"] for node in alive]
    return {
        node["NodeID"]: host if hosts.count(host) == 1 else f"{host} (node {node['NodeID'][:8]})"
        for node, host in zip(alive, hosts, strict=True)
        if workers_on(node["Resources"], options)
    }


def total_room(options: Options, left_out: Container[str] = ()) -> int:
    """How many workers the nodes hold when nobody else uses them."""
    used = [node["Resources"] for node in _alive() if node["NodeID"] not in left_out]
    return sum(workers_on(resources, options) for resources in used)


def describe_room(options: Options) -> str:
    """What a cluster has, in a sentence's end."""
    alive = [node["Resources"] for node in _alive()]
    cpus, gpus = (sum(node.get(kind, 0) for node in alive) for kind in ("CPU", "GPU"))
    free = ray.available_resources()  # type: ignore[no-untyped-call]
    return (
        f"the Ray cluster has {len(alive)} nodes with {cpus:g} CPUs ({free.get('CPU', 0):g} free) "
        f"and {gpus:g} GPUs ({free.get('GPU', 0):g} free); a worker takes {options.cpus:g} and "
        f"{options.gpus:g}{_other_needs(options)}"
    )


def _alive() -> list[dict[str, Any]]:
    """What Ray says of each node that is there."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _other_needs(options: Options) -> str:
    """What a worker needs beside CPUs and GPUs, in a sentence's end."""
    needs = [f"{amount:g} of {name!r}" for name, amount in options.resources.custom.items()]
    if (kind := options.resources.accelerator_type) is not None:
        needs.append(f"a GPU of type {kind!r}")
    return "".join(f", and {need}" for need in needs)


def setup_of(options: Options, assess: Assess) -> WorkerSetup:
    """Puts `assess` into Ray's store once, from where all workers of a node share it.

    Raises:
        UserError: it cannot be pickled, or the store is too small for it.
    """
    here = os.getcwd()  # noqa: PTH109 (a str is wanted)
    paths = tuple(path or here for path in sys.path)
    package = str(Path(scalesearch.__file__).parent)
    try:
        reference = ray.put(assess)
    except Exception as error:  # whatever pickling a plug-in raises, and Ray's own
        raise send_error(error) from error
    return WorkerSetup(
        assess=[reference],
        paths=paths,
        here=here,
        package=package,
        threads=options.threads,
        gpus=options.gpus,
    )


class _OwnPaths(JobConfig):
    """Keeps Ray from putting the current folder in front of a worker's import paths.

    It does so unless it has copied a working directory to the workers; `WorkerSetup` gives them
    the driver's paths in the driver's order.
    """

    def _runtime_env_has_working_dir(self) -> bool:
        return True


def _shut_down() -> None:
    with on_interrupt(ignore_interrupt):
        ray.shutdown()


def _start(options: Options) -> None:
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if options.address == "local":
        cpus = math.ceil(options.workers * options.cpus)
        try:
            with interrupt_deferred():
                ray.init(
                    address="local",
                    num_cpus=cpus,
                    include_dashboard=False,
                    job_config=_OwnPaths(),
                    **quiet,
                )
        except (Exception, SystemExit) as error:  # Ray raises any class, and bare Exceptions
            raise start_error(error) from error
        return
    try:
        _check_port(options.address)
        with _silent_stderr():  # its core repeats itself there each second
            if not options.address.startswith("ray://"):  # whose server unpickles it
                quiet["job_config"] = _OwnPaths()
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
    if options.wait is not None and options.address != "local":
        return  # it may grow
    room = total_room(options)
    if room >= options.workers:
        return
    resources = [node["Resources"] for node in _alive()]
    cpus, gpus = (sum(node.get(kind, 0) for node in resources) for kind in ("CPU", "GPU"))
    plain = replace(options, resources=Resources())
    if room < total_room(plain):  # what else is asked for is what there is too little of
        key = "resources"
    else:
        key = "workers" if room else ("gpus" if gpus < options.gpus else "cpus")
    raise UserError(
        f"{options.workers} workers of {options.cpus:g} CPUs and {options.gpus:g} GPUs each"
        f"{_other_needs(options)} do not fit: the Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs, "
        f"room for {room}",
        key=key,
        hint="ask for fewer workers or for less per worker"
        + ("" if options.address == "local" else ", or give a growing cluster time: `wait: 10m`"),
    )
