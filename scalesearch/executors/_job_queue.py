"""The driver's side of a run: which job is next, and which outcomes have been reported."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from scalesearch.executors._options import Ask, Keep, Tell
from scalesearch.history.jobs import Failure, Job, Outcome


@dataclass(frozen=True)
class QueuedJob:
    """A job and the number of this attempt at it, from 1."""

    job: Job
    attempt: int = 1


class JobQueue:
    """Hands out jobs one by one, retries those whose worker died, reports each outcome once.

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

    def ready(self) -> bool:
        """Whether a job can be taken now; asks for one unless one already waits."""
        if not self._waiting and not self._exhausted:
            job = self._ask()
            self._exhausted = job is None
            if job is not None:
                self._waiting.append(QueuedJob(job))
        return bool(self._waiting)

    def take(self) -> QueuedJob:
        """The next job, from here on in flight."""
        self._in_flight += 1
        return self._waiting.popleft()

    def finish(self, queued: QueuedJob, outcome: Outcome) -> None:
        """Reports how a job ended."""
        self._in_flight -= 1
        self._exhausted = False
        self._tell(queued.job, outcome)

    def retry(self, queued: QueuedJob, failure: Failure) -> None:
        """Queues a job again whose worker is lost; reports the failure after its last attempt."""
        if queued.attempt > self._retries:
            count = f" (attempt {queued.attempt} of {self._retries + 1})"
            self.finish(queued, Failure(failure.kind, failure.reason + count))
            return
        self._in_flight -= 1
        self._waiting.append(replace(queued, attempt=queued.attempt + 1))
