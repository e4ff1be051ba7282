"""The driver's side of a run: which job is next, and what has been told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from scalesearch.history.jobs import Failure, Job, Outcome, Score


@dataclass(frozen=True)
class Try:
    """A job and how often it has been started, this time included."""

    job: Job
    number: int


class Desk:
    """Hands out jobs one by one, tries again those whose worker died, and tells each once."""

    def __init__(
        self,
        ask: Callable[[], Job | None],
        keep: Callable[[Job, Score], bool],
        tell: Callable[[Job, Outcome], None],
        retries: int,
    ) -> None:
        self._ask, self._keep, self._tell, self._retries = ask, keep, tell, retries
        self._waiting: deque[Try] = deque()
        self._dry = False  # `ask` had no job, and nothing was told since
        self._in_flight = 0

    @property
    def done(self) -> bool:
        """Whether the run is over: no job waits, none is in flight and `ask` has none."""
        return not self._in_flight and not self.ready()

    def ready(self) -> bool:
        """Whether a job can be taken now; asks for one unless one already waits."""
        if not self._waiting and not self._dry:
            job = self._ask()
            self._dry = job is None
            if job is not None:
                self._waiting.append(Try(job, 1))
        return bool(self._waiting)

    def take(self) -> Try:
        """The next job, from here on in flight."""
        self._in_flight += 1
        return self._waiting.popleft()

    def keep(self, current: Try, score: Score) -> bool:
        """Whether the job shall go on after this score."""
        return self._keep(current.job, score)

    def finish(self, current: Try, outcome: Outcome) -> None:
        """Tells how a job ended."""
        self._in_flight -= 1
        self._dry = False
        self._tell(current.job, outcome)

    def lost(self, current: Try, failure: Failure) -> None:
        """Puts a job whose worker is gone back in line, or tells the failure after its last try."""
        if current.number > self._retries:
            times = f" (try {current.number} of {self._retries + 1})"
            self.finish(current, Failure(failure.kind, failure.reason + times))
            return
        self._in_flight -= 1
        self._waiting.append(Try(current.job, current.number + 1))
