"""The driver's side of a run: which job is next, who is to blame for a failure, what is reported.

A failure that a machine may be the cause of puts its job back. It is the network's own once it has
met one on more workers than `retries`, on different nodes where there are several.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace

from scalesearch.executors._options import Ask, Keep, Tell
from scalesearch.history.jobs import Attempt, Failure, Job, Outcome

# A node that goes away is never the network's fault, but a network may bring down every node.
_MOST_LOST = 25


@dataclass(frozen=True, slots=True)
class Place:
    """A node, or one of its GPUs.

    Attributes:
        node: its identity: two nodes may share a name.
        gpu: which one; empty for the node with all it has.
    """

    node: str
    gpu: str = ""

    def overlaps(self, other: Place) -> bool:
        """Whether one of them is the other or a part of it."""
        return self.node == other.node and (self.gpu == other.gpu or not (self.gpu and other.gpu))


@dataclass(frozen=True, slots=True)
class Try:
    """An attempt at a job that failed in a way that may be its machine's.

    Attributes:
        place: what may be to blame for it.
        failure: with the name of the machine.
    """

    place: Place
    failure: Failure


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job and the attempts at it so far."""

    job: Job
    tries: tuple[Try, ...] = ()

    def failed_at(self, place: Place) -> bool:
        """Whether this place may be to blame for one of them."""
        return any(each.place.overlaps(place) for each in self._suspect())

    @property
    def nodes(self) -> frozenset[str]:
        """Those that may be to blame for one of them."""
        return frozenset(each.place.node for each in self._suspect())

    def _suspect(self, places: Collection[Place] | None = None) -> tuple[Try, ...]:
        """Those that the network may have caused itself.

        A worker may die some time before its node is known to be gone: what happened on a node that
        has none of these places any more was its end.
        """
        suspect = tuple(each for each in self.tries if each.failure.kind != "lost")
        if places is None:
            return suspect
        nodes = {place.node for place in places}
        return tuple(each for each in suspect if each.place.node in nodes)

    def is_to_blame(self, retries: int, places: Collection[Place] | None = None) -> bool:
        """Whether its network has failed often enough, where these places are in use."""
        suspect = self._suspect(places)
        if len(self.tries) - len(suspect) > _MOST_LOST:
            return True
        elsewhere = any(not self.failed_at(place) for place in places or ())
        failures = len({each.place for each in suspect}) if elsewhere else len(suspect)
        return failures > retries or len(suspect) > 2 * retries + 1

    def attempts(self) -> tuple[Attempt, ...]:
        """For the record."""
        return tuple(Attempt(each.failure.where.node, str(each.failure)) for each in self.tries)


class JobQueue:
    """Hands out jobs one by one, puts back those whose machine failed, reports each outcome once.

    Attributes:
        keep: whether a job continues after a score.
    """

    def __init__(self, ask: Ask, keep: Keep, tell: Tell, retries: int) -> None:
        self.keep = keep
        self._ask, self._tell, self._retries = ask, tell, retries
        self._waiting: deque[QueuedJob] = deque()
        self._exhausted = False  # `ask` had no job, and no outcome was reported since
        self._in_flight = 0

    @property
    def done(self) -> bool:
        """Whether the run is over: no job waits, none is in flight and `ask` has none."""
        return not self._in_flight and not self.ready()

    def ready(self, place: Place | None = None, others: Collection[Place] = ()) -> bool:
        """Whether a job can be taken now; asks for one if need be.

        Args:
            place: where; a job that has failed there is left to `others`, if it has not failed at
                one of them.
            others: places where there are workers, too.
        """
        if self._fitting(place, others) is None and not self._exhausted:
            job = self._ask()
            self._exhausted = job is None
            if job is not None:
                self._waiting.append(QueuedJob(job))
        return self._fitting(place, others) is not None

    def take(self, place: Place | None = None, others: Collection[Place] = ()) -> QueuedJob:
        """The next job that `ready` has seen, from here on in flight."""
        queued = self._fitting(place, others)
        assert queued is not None
        self._waiting.remove(queued)
        self._in_flight += 1
        return queued

    def finish(self, queued: QueuedJob, outcome: Outcome) -> None:
        """Reports how a job ended."""
        self._in_flight -= 1
        self._exhausted = False
        if isinstance(outcome, Outcome) and queued.tries:
            outcome = replace(outcome, where=replace(outcome.where, attempts=queued.attempts()))
        self._tell(queued.job, outcome)

    def put_back(
        self, queued: QueuedJob, failed: Try, places: Collection[Place] | None = None
    ) -> bool:
        """Queues a job again whose machine failed; False if its network is to blame, and reported.

        Args:
            queued: the job.
            failed: this attempt at it.
            places: of all other workers, and nodes that have room for one; None where there is one
                machine.
        """
        tried = replace(queued, tries=(*queued.tries, failed))
        if not tried.is_to_blame(self._retries, places):
            self._in_flight -= 1
            self._waiting.append(tried)
            return True
        count = f" (attempt {len(tried.tries)})" if queued.tries else ""
        failure = replace(failed.failure, reason=failed.failure.reason + count)
        self.finish(queued, failure)
        return False

    @property
    def failed_nodes(self) -> frozenset[str]:
        """Those on which a waiting job has failed."""
        return frozenset(node for each in self._waiting for node in each.nodes)

    def _fitting(self, place: Place | None, others: Collection[Place]) -> QueuedJob | None:
        """The first waiting job that has not failed here, or has failed everywhere else."""
        for each in self._waiting:
            if place is None or not each.failed_at(place):
                return each
            if all(each.failed_at(other) for other in others):
                return each
        return None
