from __future__ import annotations

from collections.abc import Iterable

from scalesearch.arch.published import published
from scalesearch.executors._job_queue import JobQueue
from scalesearch.history.jobs import Failure, Job, Outcome

NET = published("efficientnet_b0")
DIED = Failure("died", "the worker died")


def queue_of(
    asked: Iterable[int | None], retries: int = 1
) -> tuple[JobQueue, list[tuple[int, Outcome]]]:
    """A queue of jobs with these numbers, and the outcomes that it reports."""
    numbers, outcomes = iter(asked), []

    def ask() -> Job | None:
        number = next(numbers)
        return None if number is None else Job("search", number, NET, seed=0)

    def tell(job: Job, outcome: Outcome) -> None:
        outcomes.append((job.number, outcome))

    return JobQueue(ask, lambda *_: True, tell, retries), outcomes


def test_asks_once_for_a_job_and_not_again_before_an_outcome():
    queue, outcomes = queue_of([0, None, 1, None])  # a fifth ask would raise StopIteration
    assert queue.ready()
    assert queue.ready()
    first = queue.take()
    assert not queue.ready()
    assert not queue.ready()
    assert not queue.done, "a job is in flight"
    queue.finish(first, DIED)
    assert queue.ready()
    queue.finish(queue.take(), DIED)
    assert queue.done
    assert [number for number, _ in outcomes] == [0, 1]


def test_a_lost_job_comes_again_before_new_ones_until_its_attempts_are_used_up():
    queue, outcomes = queue_of([0, 1], retries=2)
    for attempt in (1, 2, 3):
        assert queue.ready()
        current = queue.take()
        assert (current.job.number, current.attempt) == (0, attempt)
        queue.retry(current, DIED)
    assert outcomes == [(0, Failure("died", "the worker died (attempt 3 of 3)"))]
    assert queue.ready()
    assert queue.take().job.number == 1
