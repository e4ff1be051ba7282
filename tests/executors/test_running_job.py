from __future__ import annotations

import pytest

from scalesearch.arch.published import published
from scalesearch.cost.cost import Cost
from scalesearch.executors._running_job import RunningJob
from scalesearch.history.jobs import Failure, Job, Result, Score, Stopped

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


def test_a_cleanup_that_raises_is_a_failure_or_logged(caplog):
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
    other = RunningJob(assess, JOB)
    other.step()
    other.close()
    assert "a stopped job failed to clean up" in caplog.text
    assert "No space left on device" in caplog.text
