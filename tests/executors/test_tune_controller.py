from __future__ import annotations

import pickle

import pytest

from scalesearch.arch.published import published
from scalesearch.cost.cost import Cost
from scalesearch.executors import _tune_controller
from scalesearch.executors._job_queue import JobQueue
from scalesearch.executors._options import Options
from scalesearch.executors._tune_controller import TuneController
from scalesearch.history.jobs import Failure, Job, Outcome, Result, Score, Stopped

NET = published("efficientnet_b0")
RESULT = Result({}, Cost(1, 1, 1, 1, 1, 1), 0.0)
DIED = Failure("died", "the worker died")


def controller_of(
    jobs: int, timeout: float | None = None, **hooks
) -> tuple[TuneController, list[tuple[int, Outcome]]]:
    """A controller with so many jobs, and the outcomes that it reports."""
    numbers, outcomes = iter(range(jobs)), []

    def ask() -> Job | None:
        number = next(numbers, None)
        return None if number is None else Job("search", number, NET, seed=0)

    def tell(job: Job, outcome: Outcome) -> None:
        outcomes.append((job.number, outcome))

    hooks = {"ask": ask, "keep": lambda *_: False, "tell": tell} | hooks
    queue = JobQueue(**hooks, retries=1)
    return TuneController(Options(workers=2, timeout=timeout), queue), outcomes


def test_a_worker_idles_after_its_job_while_another_one_is_starting():
    controller, outcomes = controller_of(3)
    assert controller.suggest("a").number == 0
    assert controller.suggest("b").number == 1
    assert controller.suggest("c") is None, "both slots are taken"
    controller.started("a")
    assert not controller.received("a", RESULT)
    assert outcomes == [(0, RESULT)], "it is reported at once all the same"
    assert controller.suggest("c") is None, "an idle worker holds its slot"
    controller.started("b")
    assert controller.received("a", None)
    assert controller.suggest("c").number == 2
    assert not controller.over


def test_the_idle_wait_has_an_end(monkeypatch):
    monkeypatch.setattr(_tune_controller, "_IDLE_WAIT", 0.0)
    controller, _ = controller_of(2)
    controller.suggest("a")
    controller.suggest("b")
    controller.started("a")
    assert controller.received("a", RESULT)


def test_a_stopped_trial_ends_at_once_and_frees_its_slot():
    controller, outcomes = controller_of(3)
    controller.suggest("a")
    controller.suggest("b")
    controller.started("a")
    assert controller.received("a", Score(1, {}))
    assert outcomes == [(0, Stopped(Score(1, {})))]
    assert controller.suggest("c").number == 2


def test_which_errors_of_a_trial_are_retried(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_tune_controller.time, "monotonic", lambda: now[0])
    controller, outcomes = controller_of(2, timeout=60)
    for trial in ("a", "b"):
        controller.suggest(trial)
        controller.started(trial)
    now[0] += 59
    controller.on_trial_error("a", DIED, worker_lost=True)
    assert outcomes == []
    assert controller.suggest("again").number == 0
    now[0] += 1
    controller.on_trial_error("b", DIED, worker_lost=True)
    assert outcomes == [(1, Failure("timeout", "took longer than its deadline of 60 s"))]
    unpicklable = Failure("error", "cannot pickle")
    controller.on_trial_error("again", unpicklable, worker_lost=False)
    assert outcomes[1:] == [(0, unpicklable)]
    assert controller.over


def test_an_error_of_the_driver_ends_the_run_and_is_raised_after_it():
    class DiskError(Exception):
        pass

    def fail(*_: object) -> None:
        raise DiskError

    for hook in ("ask", "keep", "tell"):
        controller, _ = controller_of(2, **{hook: fail})
        controller.suggest("a")
        if hook != "ask":
            assert controller.received("a", Score(1, {}))
        assert controller.over
        with pytest.raises(DiskError):
            controller.close()


def test_an_interrupt_ends_the_run_and_reports_no_outcome():
    controller, outcomes = controller_of(2)
    controller.suggest("a")
    controller.interrupt()
    assert controller.over
    controller.on_trial_error("a", DIED, worker_lost=True)
    assert outcomes == []
    with pytest.raises(KeyboardInterrupt):
        controller.close()
    with pytest.raises(KeyboardInterrupt):  # a second Ctrl-C ends it at once
        controller.interrupt()


def test_jobs_that_tune_left_without_an_outcome_are_an_interrupt():
    controller, _ = controller_of(1)
    controller.suggest("a")
    with pytest.raises(KeyboardInterrupt, match="Ray Tune was stopped"):
        controller.close()


def test_nothing_of_the_study_is_pickled_with_tunes_hooks():
    controller, _ = controller_of(1)  # its queue holds local functions, which cannot be pickled
    assert vars(pickle.loads(pickle.dumps(controller))) == {}
