"""The driver's side of a run: which job is next, who is to blame for a failure, what is reported.

A failure that a machine may be the cause of puts its job back. It is the network's own once it has
met one on more workers than `retries`, on different nodes where there are several.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from scalesearch.executors._options import Ask, Keep, Tell
from scalesearch.history.jobs import Attempt, Failure, Job, Outcome

# A node that goes away is never the network's fault, but a network may bring down every node.
_MOST_LOST = 25


@dataclass(frozen=True, slots=True)
class Try:
    """An attempt at a job that failed in a way that may be its machine's.

    Attributes:
        node: identity of the node, which several may share a name with.
        failure: with the name of the machine.
    """

    node: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job and the attempts at it so far."""

    job: Job
    tries: tuple[Try, ...] = ()

    def failed_on(self, node: str) -> bool:
        """Whether this node may be to blame for one of them."""
        return node in self.nodes

    @property
    def nodes(self) -> frozenset[str]:
        """Those that may be to blame for one of them."""
        return frozenset(each.node for each in self._suspect)

    @property
    def _suspect(self) -> tuple[Try, ...]:
        """Those that the network may have caused itself."""
        return tuple(each for each in self.tries if each.failure.kind != "lost")

    def is_to_blame(self, retries: int, nodes: frozenset[str]) -> bool:
        """Whether its network has failed often enough, on these nodes or those before."""
        suspect = self._suspect
        if len(self.tries) - len(suspect) > _MOST_LOST:
            return True
        places = len(self.nodes) if nodes - self.nodes else len(suspect)
        return places > retries or len(suspect) > 2 * retries + 1

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

    def ready(self, node: str | None = None) -> bool:
        """Whether a job can be taken now, on this node if one is named; asks for one if need be."""
        if self._fitting(node) is None and not self._exhausted:
            job = self._ask()
            self._exhausted = job is None
            if job is not None:
                self._waiting.append(QueuedJob(job))
        return self._fitting(node) is not None

    def take(self, node: str | None = None) -> QueuedJob:
        """The next job that `ready` has seen, from here on in flight."""
        queued = self._fitting(node)
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

    def put_back(self, queued: QueuedJob, failed: Try, nodes: frozenset[str] = frozenset()) -> bool:
        """Queues a job again whose machine failed; False if its network is to blame, and reported.

        Args:
            queued: the job.
            failed: this attempt at it.
            nodes: that have room for a worker.
        """
        tried = replace(queued, tries=(*queued.tries, failed))
        if not tried.is_to_blame(self._retries, nodes):
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

    def _fitting(self, node: str | None) -> QueuedJob | None:
        """The first waiting job that has not failed on this node."""
        fitting = (each for each in self._waiting if node is None or not each.failed_on(node))
        return next(fitting, None)
