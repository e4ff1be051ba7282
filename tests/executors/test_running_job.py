from __future__ import annotations

from dataclasses import replace

import pytest

from scalesearch.arch.published import published
from scalesearch.cost.cost import Cost
from scalesearch.executors._running_job import RunningJob
from scalesearch.history.jobs import Failure, Job, Result, Score, Stopped, Whereabouts

JOB = Job("search", 7, published("efficientnet_b0"), seed=0)
RESULT = Result({"accuracy": 0.5}, Cost(1, 2, 3, 4, 5, 6), 0.0)


def test_steps_give_the_scores_then_the_result():
    def assess(job):
        yield Score(1, {"number": job.number})
        return RESULT

    running = RunningJob(assess, JOB)
    assert [running.step(), running.step()] == [Score(1, {"number": 7}), RESULT]


def test_an_interrupt_is_not_a_failure_of_the_job():
    def assess(job):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        RunningJob(assess, JOB).step()


def test_a_cleanup_that_raises_is_a_failure():
    def assess(job):
        try:
            yield Score(1, {})
        finally:
            raise OSError(28, "No space left on device")

    running = RunningJob(assess, JOB)
    last = running.step()
    failure = running.stop(last)
    assert isinstance(failure, Failure)
    assert failure.reason.startswith("OSError: [Errno 28] No space left on device (")
    assert running.stop(last) == Stopped(last), "it is closed by now"


class Placed:
    """An `assess` that knows where it is."""

    tidied = 0

    def __call__(self, job):
        yield Score(1, {"accuracy": 0.5}, images_per_second=20.0)
        if job.number == 7:
            raise ValueError("no such layer")
        return replace(RESULT, where=Whereabouts(images_per_second=30.0, micro_batch=8))

    def where(self):
        return Whereabouts("node-3", "a card", peak_memory=5, device_memory=10)

    def tidy(self):
        self.tidied += 1


def test_every_outcome_says_where_it_was_and_gives_memory_back():
    assess = Placed()
    here = assess.where()
    failing, well = RunningJob(assess, JOB), RunningJob(assess, replace(JOB, number=1))
    assert [failing.step(), failing.step()][1].where == here
    assert [well.step(), well.step()][1].where == replace(
        here, images_per_second=30.0, micro_batch=8
    )
    stopped = RunningJob(assess, JOB)
    outcome = stopped.stop(stopped.step())
    assert outcome.where == replace(here, images_per_second=20.0)
    assert assess.tidied == 3
