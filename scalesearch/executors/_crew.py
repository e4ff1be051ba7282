"""The workers of one run: hired, given jobs, waited for, replaced when they die."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayTaskError

from scalesearch.errors import UserError
from scalesearch.executors._attempts import Attempt, failure_of, late
from scalesearch.executors._cluster import GONE, Kit, gone
from scalesearch.executors._desk import Desk, Try
from scalesearch.executors._interrupts import on_interrupt, postpone
from scalesearch.executors._options import Options
from scalesearch.history.jobs import Failure, Infeasible, Job, Outcome, Result, Score, Stopped
from scalesearch.interfaces import Assess


class Worker:
    """The actor: holds the attempt under way between two calls of the driver."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def prepare(self) -> None:
        """Unpacks the kit: a call of its own, as errors of a constructor reach nobody plainly."""
        self._assess = self._kit.unpack()

    def start(self, job: Job) -> Score | Result | Infeasible | Failure:
        """The first message of a new job."""
        self._attempt = Attempt(self._assess, job)
        return self._attempt.step()

    def step(self) -> Score | Result | Infeasible | Failure:
        """The next message of the job under way."""
        return self._attempt.step()

    def stop(self, last: Score) -> Stopped | Failure:
        """Ends the job under way."""
        return self._attempt.stop(last)


@dataclass(eq=False)
class _Hand:
    """A worker as the driver sees it; without a job it is idle or still getting ready."""

    worker: Any
    current: Try | None = None
    deadline: float = math.inf


class Crew:
    """As many workers as the executor has slots; a context that ends them all when left."""

    def __init__(self, options: Options, assess: Assess) -> None:
        self._options = options
        self._kit = Kit.of(options, assess)
        resources = {"num_cpus": options.cpus, "num_gpus": options.gpus}
        self._new_worker = ray.remote(Worker).options(max_restarts=0, **resources).remote
        self._hands: list[_Hand] = []
        self._idle: list[_Hand] = []
        self._pending: dict[Any, _Hand] = {}  # the reference waited for, to whose it is
        self._dead_at_start = 0

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        with on_interrupt(postpone):
            for hand in self._hands:
                ray.kill(hand.worker)

    def work(self, desk: Desk) -> None:
        """Runs the desk's jobs until it has none."""
        while True:
            self._assign(desk)
            if desk.done:
                return
            self._collect(desk)
            self._enforce_deadlines(desk)

    def _assign(self, desk: Desk) -> None:
        while self._idle and desk.ready():
            hand = self._idle.pop()
            hand.current = desk.take()
            hand.deadline = time.monotonic() + self._options.limit
            self._pending[hand.worker.start.remote(hand.current.job)] = hand
        while len(self._hands) < self._options.slots and desk.ready():
            hand = _Hand(self._new_worker(self._kit))
            self._hands.append(hand)
            self._pending[hand.worker.prepare.remote()] = hand

    def _collect(self, desk: Desk) -> None:
        """Waits for one message, at the longest until the next deadline, and answers it."""
        nearest = min(hand.deadline for hand in self._pending.values())
        timeout = None if nearest == math.inf else max(0.0, nearest - time.monotonic())
        for reference in ray.wait(list(self._pending), timeout=timeout)[0]:
            hand = self._pending.pop(reference)
            try:
                message = ray.get(reference)
            except GONE as error:
                self._bury(hand, error, desk)
            except RayTaskError as error:
                if hand.current is None:  # the worker cannot be prepared: no trial's fault
                    raise error.cause from error
                self._release(hand, failure_of(error.cause), desk)
            else:
                self._answer(hand, message, desk)

    def _answer(self, hand: _Hand, message: Any, desk: Desk) -> None:
        if hand.current is None:  # prepared
            self._dead_at_start = 0
            self._idle.append(hand)
        elif isinstance(message, Score):
            kept = desk.keep(hand.current, message)
            worker = hand.worker
            self._pending[worker.step.remote() if kept else worker.stop.remote(message)] = hand
        else:
            self._release(hand, message, desk)

    def _release(self, hand: _Hand, outcome: Outcome, desk: Desk) -> None:
        current, hand.current, hand.deadline = hand.current, None, math.inf
        self._idle.append(hand)
        if current is not None:
            desk.finish(current, outcome)

    def _dismiss(self, hand: _Hand) -> None:
        ray.kill(hand.worker)
        self._hands.remove(hand)

    def _bury(self, hand: _Hand, error: Exception, desk: Desk) -> None:
        self._dismiss(hand)
        failure = gone(error)
        if hand.current is not None:
            desk.lost(hand.current, failure)
            return
        self._dead_at_start += 1
        if self._dead_at_start > self._options.retries:
            raise UserError(f"workers die before their first job: {failure.reason}")

    def _enforce_deadlines(self, desk: Desk) -> None:
        now = time.monotonic()
        for reference, hand in list(self._pending.items()):
            if hand.current is not None and now >= hand.deadline:
                del self._pending[reference]
                self._dismiss(hand)
                desk.finish(hand.current, late(self._options.limit))
