from __future__ import annotations

import os
import time
from collections.abc import Generator

import pytest

from scalesearch.arch.published import published
from scalesearch.cost.cost import Cost
from scalesearch.errors import UserError
from scalesearch.executors.serial import Executor
from scalesearch.history.jobs import Failure, Job, Result, Score

JOB = Job("search", 0, published("efficientnet_b0"), seed=0)


def test_rejects_what_it_cannot_do():
    for options, allowed in (
        ({"workers": 2}, "1"),
        ({"gpus": 0.5}, "0 or 1"),
        ({"wait": 60.0}, "nothing"),
        ({"address": "auto"}, "local"),
    ):
        ((key, value),) = options.items()
        with pytest.raises(UserError) as raised:
            Executor(**options)
        text = f"{key}: {value!r} is not possible in one process\n  allowed: {allowed}\n"
        assert str(raised.value).startswith(text)
        assert "`executor: ray`" in str(raised.value)


def outcome_of(seconds: tuple[float, ...], timeout: float) -> tuple[object, list[str]]:
    """The outcome of a job that sleeps before each score, and whether it was cleaned up."""
    outcomes: list[object] = []
    closed: list[str] = []

    def assess(job: Job) -> Generator[Score, None, Result]:
        try:
            for step, pause in enumerate(seconds):
                time.sleep(pause)
                yield Score(step, {})
            return Result({}, Cost(1, 1, 1, 1, 1, 1), 0.0)
        finally:
            closed.append("closed")

    jobs = iter([JOB])
    executor = Executor(timeout=timeout)
    executor.run(
        lambda: next(jobs, None),
        assess,
        lambda *_: True,
        lambda _, outcome: outcomes.append(outcome),
    )
    (outcome,) = outcomes
    return outcome, closed


def test_a_deadline_is_checked_after_each_score():
    late = Failure("timeout", "took longer than its deadline of 0.05 s")
    assert outcome_of((0.06, 600.0), timeout=0.05) == (late, ["closed"])
    assert outcome_of((0.0, 0.06), timeout=0.05) == (late, ["closed"])


def test_a_job_within_its_deadline_gives_its_result():
    outcome, closed = outcome_of((0.0, 0.0), timeout=30)
    assert isinstance(outcome, Result)
    assert closed == ["closed"]


def test_gpus_are_hidden_while_jobs_run_and_shown_again_after(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    seen: list[str | None] = []
    Executor().run(
        lambda: seen.append(os.environ.get("CUDA_VISIBLE_DEVICES")),
        lambda job: (_ for _ in ()),
        lambda *_: True,
        lambda *_: None,
    )
    assert seen == [""]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_a_gpu_that_is_not_there_is_an_error():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="gpus: torch sees no GPU here\n  allowed: 0"):
        Executor(gpus=1).run(lambda: None, lambda job: iter(()), lambda *_: True, lambda *_: None)
