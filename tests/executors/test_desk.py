from __future__ import annotations

from collections.abc import Iterable

from scalesearch.arch.published import published
from scalesearch.executors._desk import Desk
from scalesearch.history.jobs import Failure, Job, Outcome

NET = published("efficientnet_b0")
DIED = Failure("died", "the worker died")


def desk(asked: Iterable[Job | None], retries: int = 1) -> tuple[Desk, list[tuple[int, Outcome]]]:
    jobs, told = iter(asked), []
    return Desk(
        lambda: next(jobs), lambda *_: True, lambda j, o: told.append((j.number, o)), retries
    ), told


def job(number: int) -> Job:
    return Job("search", number, NET, seed=0)


def test_asks_once_for_a_job_and_not_again_before_a_tell():
    made, told = desk([job(0), None, job(1), None])  # a fifth ask would raise StopIteration
    assert made.ready()
    assert made.ready()
    first = made.take()
    assert not made.ready()
    assert not made.ready()
    assert not made.done, "a job is in flight"
    made.finish(first, DIED)
    assert made.ready()
    made.finish(made.take(), DIED)
    assert made.done
    assert [number for number, _ in told] == [0, 1]


def test_a_lost_job_comes_again_before_new_ones_until_its_tries_are_used_up():
    made, told = desk([job(0), job(1)], retries=2)
    for number in (1, 2, 3):
        assert made.ready()
        current = made.take()
        assert (current.job.number, current.number) == (0, number)
        made.lost(current, DIED)
    assert told == [(0, Failure("died", "the worker died (try 3 of 3)"))]
    assert made.ready()
    assert made.take().job.number == 1
