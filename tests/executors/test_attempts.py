from __future__ import annotations

import pytest

from scalesearch.arch.published import published
from scalesearch.cost.cost import Cost
from scalesearch.errors import TrialError
from scalesearch.executors._attempts import Attempt, failure_of, late
from scalesearch.history.jobs import Failure, Job, Result, Score, Stopped

JOB = Job("search", 7, published("efficientnet_b0"), seed=0)
RESULT = Result({"accuracy": 0.5}, Cost(1, 2, 3, 4, 5, 6), 0.0)


def test_steps_give_the_scores_then_the_result():
    def assess(job):
        yield Score(1, {"number": job.number})
        return RESULT

    attempt = Attempt(assess, JOB)
    assert [attempt.step(), attempt.step()] == [Score(1, {"number": 7}), RESULT]


def test_an_interrupt_is_no_failure_of_the_job():
    def assess(job):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        Attempt(assess, JOB).step()


def test_stop_runs_the_cleaning_up_and_tells_if_that_fails():
    def assess(job):
        try:
            yield Score(1, {})
        finally:
            raise OSError(28, "No space left on device")

    attempt = Attempt(assess, JOB)
    last = attempt.step()
    assert isinstance(last, Score)
    failure = attempt.stop(last)
    assert isinstance(failure, Failure)
    assert failure.reason.startswith("OSError: [Errno 28] No space left on device (")
    assert attempt.stop(last) == Stopped(last), "it is closed by now"


def test_close_logs_what_cleaning_up_raises(caplog):
    def assess(job):
        try:
            yield Score(1, {})
        finally:
            raise OSError("disk")

    attempt = Attempt(assess, JOB)
    attempt.step()
    attempt.close()
    assert "a stopped job could not clean up" in caplog.text
    assert "OSError: disk" in caplog.text


class OutOfMemoryError(RuntimeError):
    """Named as torch's, which is found by its name."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        (OutOfMemoryError("Tried to allocate 2.00 GiB"), "memory"),
        (RuntimeError("CUDA out of memory."), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory"),
        (OSError(12, "Cannot allocate memory"), "memory"),
        (ValueError("out of memory"), "error"),
        (RuntimeError("shape mismatch"), "error"),
    ],
)
def test_kinds_of_failure(error, kind):
    assert failure_of(error).kind == kind


def test_torch_reports_missing_memory_in_a_way_that_is_known():
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**55, dtype=torch.uint8)
    assert failure_of(raised.value).kind == "memory"


def test_reasons_are_short_and_name_the_place():
    assert failure_of(TrialError("loss is nan")).reason == "loss is nan"
    assert failure_of(MemoryError()).reason == "MemoryError"
    assert len(failure_of(ValueError("x" * 5000)).reason) < 1100
    try:
        int("three")
    except ValueError as error:
        reason = failure_of(error).reason
    assert reason.startswith("ValueError: invalid literal for int() with base 10: 'three' (exec")
    assert late(90.0) == Failure("timeout", "took longer than its deadline of 90 s")
