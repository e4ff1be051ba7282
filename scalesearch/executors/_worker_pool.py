"""The Ray actors of one run: placed, prepared, given jobs, waited for, replaced when they fail."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import platform
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from scalesearch.errors import UserError
from scalesearch.executors._failures import OF_MACHINES, failure_of_ray, timeout_failure
from scalesearch.executors._interrupts import ignore_interrupt, on_interrupt
from scalesearch.executors._job_queue import JobQueue, Place, QueuedJob, Try
from scalesearch.executors._on_worker import WorkerActor
from scalesearch.executors._options import Options
from scalesearch.executors._ray_cluster import (
    describe_room,
    nodes_with_room,
    setup_of,
    total_room,
)
from scalesearch.executors._ray_errors import lost_error
from scalesearch.history.jobs import Failure, Outcome, Score
from scalesearch.interfaces import Assess
from scalesearch.units import format_seconds

_log = logging.getLogger(__name__)

_IN_A_ROW = 3  # different jobs that a place fails before it is left out
_HOPELESS = 5  # failures in a row at the only place, of so many jobs at least
# Failures that say something about a place; those of slow or large networks do not.
_TELLING = ("machine", "device", "died")
_REMIND = 60.0  # seconds from one sentence on missing room to the next
_PLACED_WITHIN = 5.0  # seconds in which a worker that has room is there
_UNCERTAIN = 30.0  # seconds in which a new worker may still turn up on another node
_SLOW = 3.0  # a worker is silent when it was not heard for so many of its longest pauses


_NOWHERE = Place("")


@dataclass(eq=False)
class _Worker:
    """A worker as the driver sees it: not placed yet, not prepared yet, idle, or with a job.

    Or parked: it has a GPU that is left out, so that no other worker is given it.
    """

    actor: Any
    at: Place = _NOWHERE  # once it was placed
    pid: int = 0  # if it is on this machine
    prepared: bool = False
    current: QueuedJob | None = None
    asked: float = field(default_factory=time.monotonic)  # when it was asked for
    began: float = 0.0  # when it was given its job
    deadline: float = math.inf
    heard: float = 0.0  # when the job had its last message, or began
    pause: float = 0.0  # the longest between two messages of the job

    def hears(self, now: float) -> None:
        """Its job has sent a message."""
        self.pause = max(self.pause, now - self.heard)
        self.heard = now

    def is_silent(self, now: float) -> bool:
        """Whether its job is not merely slow: it should have been heard of long ago."""
        return now - self.heard > _SLOW * self.pause


@dataclass
class _Streak:
    """The failures of one place since a job last succeeded there.

    Attributes:
        jobs: the numbers of those that failed.
        failures: how many there were.
        rounds: of those how many began after the one before had failed: what a disk that hiccups
            does to all that run at that moment is one.
        last: when the last of those failed.
    """

    jobs: set[int] = field(default_factory=set)
    failures: int = 0
    rounds: int = 0
    last: float = -math.inf

    def add(self, number: int, began: float) -> None:
        """Another job failed, which had begun then."""
        self.jobs.add(number)
        self.failures += 1
        if began >= self.last:
            self.rounds += 1
            self.last = time.monotonic()

    @property
    def is_long(self) -> bool:
        """Whether the place is to blame, and not the jobs."""
        return len(self.jobs) >= _IN_A_ROW and self.rounds > 1


class WorkerPool:
    """As many workers as the executor has slots; a context that ends them all when left."""

    def __init__(self, options: Options, queue: JobQueue, assess: Assess) -> None:
        self._options, self._queue = options, queue
        self._setup = setup_of(options, assess)
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._pending: dict[Any, _Worker] = {}  # reference to the answer of a worker, and whose
        self._deaths_at_start: Counter[str] = Counter()  # of workers without a job, by their nodes
        self._names: dict[str, str] = {}  # of nodes
        self._streaks: dict[Place, _Streak] = defaultdict(_Streak)
        self._left_out: dict[Place, str] = {}  # and why
        self._reminded = -math.inf

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        with on_interrupt(ignore_interrupt):
            for worker in self._workers:
                _kill(worker)

    def run(self) -> None:
        """Runs the jobs of the queue until there are none."""
        while True:
            self._assign()
            if self._queue.done:
                return
            self._collect()
            self._enforce_deadlines()
            self._look_for_room()

    def _assign(self) -> None:
        for worker in [*self._idle]:
            others = self._others(worker)
            if self._queue.ready(worker.at, others):
                self._idle.remove(worker)
                self._hand_over(worker, self._queue.take(worker.at, others))
        while len(self._workers) < self._options.slots and self._queue.ready():
            worker = _Worker(self._new_actor())
            self._workers.append(worker)
            self._pending[worker.actor.place.remote()] = worker

    def _hand_over(self, worker: _Worker, queued: QueuedJob) -> None:
        now = time.monotonic()
        worker.current, worker.began, worker.heard, worker.pause = queued, now, now, 0.0
        worker.deadline = now + self._options.limit
        self._pending[worker.actor.start.remote(queued.job)] = worker

    def _others(self, worker: _Worker) -> list[Place]:
        """Where other workers may take a job, those that turn up in a moment included."""
        recent = time.monotonic() - _UNCERTAIN
        return [
            other.at
            for other in self._workers
            if other is not worker
            and (other.prepared or other.asked > recent)
            and not self._is_left_out(other.at)
        ]

    def _is_left_out(self, place: Place) -> bool:
        return any(out.overlaps(place) for out in self._left_out)

    @property
    def _nodes_left_out(self) -> list[str]:
        """Those that are left out with all that they have."""
        return [place.node for place in self._left_out if not place.gpu]

    def _new_actor(self) -> Any:
        """An actor away from nodes that are left out, and from those that a job has failed on."""
        options: dict[str, Any] = {
            "max_restarts": 0,
            "num_cpus": self._options.cpus,
            "num_gpus": self._options.gpus,
        }
        if (kind := self._options.resources.accelerator_type) is not None:
            options["accelerator_type"] = kind
        if custom := self._options.resources.custom:
            options["resources"] = dict(custom)
        out = self._nodes_left_out
        avoided = [[*dict.fromkeys([*out, *sorted(self._queue.failed_nodes)])], out]
        selectors = [{"ray.io/node-id": f"!in({','.join(nodes)})"} for nodes in avoided if nodes]
        if selectors:
            options["label_selector"] = selectors[0]
            rest = selectors[1:] if out else [{}]
            options["fallback_strategy"] = [{"label_selector": each} for each in rest]
        return ray.remote(WorkerActor).options(**options).remote()

    def _collect(self) -> None:
        """Waits for one message, at the longest until the next deadline, and handles it."""
        if not self._pending:
            raise UserError(
                "no worker is left to go on with: " + "; ".join(self._exclusions()),
                hint="every finished trial is recorded: mend the machine, and run the same "
                "command again",
            )
        now = time.monotonic()
        nearest = min(worker.deadline for worker in self._pending.values())
        if any(worker.at is _NOWHERE for worker in self._workers):
            nearest = min(nearest, now + _PLACED_WITHIN)
        timeout = None if nearest == math.inf else max(0.0, nearest - now)
        for reference in ray.wait(list(self._pending), timeout=timeout)[0]:
            worker = self._pending.pop(reference, None)
            if worker is None:  # removed with another one of this round
                continue
            try:
                message = ray.get(reference)
            except RayError as error:
                self._on_error(worker, error)
            else:
                self._on_message(worker, message)

    def _on_message(self, worker: _Worker, message: Any) -> None:
        if worker.at is _NOWHERE:
            self._on_placed(worker, *message)
        elif not worker.prepared:
            worker.prepared = True
            for node in (worker.at.node, ""):
                self._deaths_at_start.pop(node, None)
            if self._is_left_out(worker.at):
                self._remove(worker)
            else:
                self._idle.append(worker)
        elif isinstance(message, Score):
            assert worker.current is not None
            worker.hears(time.monotonic())
            keep, actor = self._queue.keep(worker.current.job, message), worker.actor
            self._pending[actor.step.remote() if keep else actor.stop.remote(message)] = worker
        elif isinstance(message, Failure) and message.kind in OF_MACHINES:
            self._on_machine_failure(worker, message)
        else:
            self._finish(worker, message)

    def _on_placed(self, worker: _Worker, node: str, gpus: str, host: str, pid: int) -> None:
        worker.at, worker.pid = Place(node, gpus), pid if host == platform.node() else 0
        if Place(node) in self._left_out:
            self._remove(worker)
            return
        if worker.at in self._left_out:  # parked
            return
        self._reminded = -math.inf
        self._pending[worker.actor.prepare.remote(self._setup)] = worker

    def _finish(self, worker: _Worker, outcome: Outcome) -> None:
        current = worker.current
        assert current is not None
        worker.current, worker.deadline = None, math.inf
        for place in (worker.at, Place(worker.at.node)):
            self._streaks.pop(place, None)
        if self._is_left_out(worker.at):
            self._remove(worker)
        else:
            self._idle.append(worker)
        self._queue.finish(current, outcome)

    def _on_error(self, worker: _Worker, error: RayError) -> None:
        failure, worker_lost = failure_of_ray(error)
        if worker_lost:
            self._on_worker_death(worker, failure)
        elif not worker.prepared:  # raised by `prepare`: not the fault of a trial
            self._on_unfit_worker(worker, error)
        elif failure.kind in OF_MACHINES:
            self._on_machine_failure(worker, failure)
        else:
            self._finish(worker, failure)

    def _on_unfit_worker(self, worker: _Worker, error: RayError) -> None:
        """Leaves a node out on which no worker can be prepared, where others are."""
        cause = getattr(error, "cause", error)
        reason = cause if isinstance(cause, UserError) else lost_error(cause)
        self._remove(worker)
        self._leave_out_node(worker.at.node, reason)

    def _on_worker_death(self, worker: _Worker, failure: Failure) -> None:
        node = worker.at.node
        if node and node not in self._nodes() and failure.kind == "died":
            failure = Failure("lost", f"its node went away: {failure.reason}")
        if worker.current is not None:
            self._on_machine_failure(worker, failure)
            return
        self._remove(worker)
        if failure.kind == "lost":
            return
        self._deaths_at_start[node] += 1
        if self._deaths_at_start[node] > self._options.retries + 1:
            reason = UserError(f"workers die before their first job: {failure.reason}")
            self._leave_out_node(node, reason)

    def _leave_out_node(self, node: str, reason: UserError) -> None:
        """Leaves a node out on which there can be no worker; raises where it is the last one."""
        if not node or not self._nodes().keys() - {node}:
            raise reason
        self._leave_out(Place(node), str(reason))

    def _on_machine_failure(self, worker: _Worker, failure: Failure) -> None:
        """Replaces a worker and puts its job back, or blames the network of the job."""
        current, node = worker.current, worker.at.node
        assert current is not None
        self._remove(worker)
        nodes = self._nodes()
        name = self._names.get(node, "")
        where = replace(failure.where, node=failure.where.node or name or platform.node())
        failure = replace(failure, where=where)
        number = current.job.number
        # A GPU may fail alone; what else fails there fails on the whole machine.
        place = worker.at if failure.kind == "device" else Place(node)
        known = (other.at for other in self._workers if other.at is not _NOWHERE)
        places = [*(at for at in known if not self._is_left_out(at)), *map(Place, nodes)]
        if failure.kind in _TELLING:
            self._streaks[place].add(number, worker.began)
            self._judge(place, [each for each in places if not each.overlaps(place)], failure)
        if self._queue.put_back(current, Try(place, failure), places):
            what = f"trial {number} of the {current.job.phase} is put back"
            _log.info("%s, and its worker on %s replaced: %s", what, name or node, failure)

    def _judge(self, place: Place, others: Sequence[Place], failure: Failure) -> None:
        """Leaves a place out that fails one job after the other; ends the run if it is the last.

        Raises:
            UserError: no place is left, and it is not the networks that fail.
        """
        streak = self._streaks[place]
        if not streak.is_long:
            return
        jobs = f"{len(streak.jobs)} trials in a row failed"
        if any(not self._is_left_out(other) for other in others):
            self._leave_out(place, f"{jobs} there, the last by {failure}")
        elif streak.failures >= _HOPELESS and failure.kind != "died":
            raise UserError(
                f"{jobs} on {self._name(place)}, the last by {failure}",
                hint="every finished trial is recorded: mend the machine, and run the same "
                "command again",
            )

    def _leave_out(self, place: Place, reason: str) -> None:
        if place in self._left_out:
            return
        self._left_out[place] = reason
        _log.warning("%s is left out: %s", self._name(place), reason)
        for worker in [*self._idle]:
            if place.overlaps(worker.at):
                self._remove(worker)

    def _name(self, place: Place) -> str:
        """For sentences."""
        node = f"node {self._names.get(place.node, place.node)}"
        return f"GPU {place.gpu} of {node}" if place.gpu else node

    def _exclusions(self) -> list[str]:
        """The places that are left out, each with its reason."""
        return [f"{self._name(place)} is left out: {why}" for place, why in self._left_out.items()]

    def _nodes(self) -> dict[str, str]:
        """Nodes that have room for a worker and are not left out, with their names."""
        every = nodes_with_room(self._options)
        self._names |= every
        return {node: name for node, name in every.items() if Place(node) not in self._left_out}

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        for reference, worker in list(self._pending.items()):
            if worker.current is None or now < worker.deadline:
                continue
            del self._pending[reference]
            failure = timeout_failure(self._options.limit)
            if worker.is_silent(now):  # it may hang for reasons of its own
                self._on_machine_failure(worker, failure)
            else:
                current = worker.current
                self._remove(worker)
                self._queue.finish(current, failure)

    def _look_for_room(self) -> None:
        """Says once a minute that workers wait for room, and ends a wait that was too long.

        Raises:
            UserError: there is no room for a single worker.
        """
        now = time.monotonic()
        waiting = [worker for worker in self._workers if worker.at is _NOWHERE]
        longest = now - min((worker.asked for worker in waiting), default=now)
        if longest < _PLACED_WITHIN:
            return
        room = total_room(self._options, self._nodes_left_out)
        # Where a cluster has the room, others may have it, or processes are slow to start.
        surplus = 0.0 if room < len(self._workers) else _REMIND
        if len(waiting) == len(self._workers):
            patience = _REMIND if self._options.wait is None else self._options.wait + surplus
            if longest >= patience and (self._options.wait is not None or not room):
                raise UserError(
                    f"no worker has found room for {format_seconds(longest)}: "
                    + "; ".join([describe_room(self._options), *self._exclusions()]),
                    key="workers",
                    hint="every finished trial is recorded: ask for less per worker, or for a "
                    "longer `wait`, and run the same command again",
                )
        if longest >= surplus and now - self._reminded >= _REMIND:
            self._reminded = now
            _log.info(
                "%d of %d workers wait for room: %s",
                *(len(waiting), self._options.slots, describe_room(self._options)),
            )

    def _remove(self, worker: _Worker) -> None:
        _kill(worker)
        self._workers.remove(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        for reference in [r for r, other in self._pending.items() if other is worker]:
            del self._pending[reference]


def _kill(worker: _Worker) -> None:
    """Ends a worker's process, also one that is stopped and would not hear of it from Ray."""
    with contextlib.suppress(RayError):
        ray.kill(worker.actor)
    if worker.pid:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{worker.pid}/cmdline").read_bytes().startswith(b"ray::"):
                os.kill(worker.pid, signal.SIGKILL)
