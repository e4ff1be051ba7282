from __future__ import annotations

import pickle

import pytest

from scalesearch.arch.published import published
from scalesearch.cost.cost import Cost
from scalesearch.executors import _conductor
from scalesearch.executors._conductor import Conductor
from scalesearch.executors._desk import Desk
from scalesearch.executors._options import Options
from scalesearch.history.jobs import Failure, Job, Outcome, Result

NET = published("efficientnet_b0")
RESULT = Result({}, Cost(1, 1, 1, 1, 1, 1), 0.0)
DIED = Failure("died", "the worker died")


def conductor(
    jobs: int, timeout: float | None = None
) -> tuple[Conductor, list[tuple[int, Outcome]]]:
    asked, told = iter(range(jobs)), []

    def ask() -> Job | None:
        number = next(asked, None)
        return None if number is None else Job("search", number, NET, seed=0)

    desk = Desk(ask, lambda *_: True, lambda j, o: told.append((j.number, o)), retries=1)
    return Conductor(Options(workers=2, timeout=timeout), desk), told


def test_a_trial_lingers_while_another_ones_worker_is_starting():
    made, told = conductor(3)
    assert made.suggest("a").number == 0
    assert made.suggest("b").number == 1
    assert made.suggest("c") is None, "both slots are taken"
    made.started("a")
    assert not made.received("a", RESULT)
    assert told == [(0, RESULT)], "it is told at once all the same"
    assert made.suggest("c") is None, "a lingering trial holds its slot"
    made.started("b")
    assert made.received("a", None)
    assert made.suggest("c").number == 2
    assert not made.over


def test_lingering_has_an_end(monkeypatch):
    monkeypatch.setattr(_conductor, "_PATIENCE", 0.0)
    made, _ = conductor(2)
    made.suggest("a")
    made.suggest("b")
    made.started("a")
    assert made.received("a", RESULT)


def test_a_worker_lost_at_its_deadline_is_late_and_another_one_died(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_conductor.time, "monotonic", lambda: now[0])
    made, told = conductor(2, timeout=60)
    for trial in ("a", "b"):
        made.suggest(trial)
        made.started(trial)
    now[0] += 59
    made.lost("a", DIED)
    assert told == []
    assert made.suggest("again").number == 0
    now[0] += 1
    made.lost("b", DIED)
    assert told == [(1, Failure("timeout", "took longer than its deadline of 60 s"))]


def test_an_interrupt_ends_the_run_with_jobs_untold():
    made, told = conductor(2)
    made.suggest("a")
    made.interrupt()
    assert made.over
    made.lost("a", DIED)
    assert told == []
    with pytest.raises(KeyboardInterrupt):
        made.close()
    with pytest.raises(KeyboardInterrupt):  # whoever presses Ctrl-C twice means it
        made.interrupt()


def test_jobs_that_tune_left_without_an_outcome_are_an_interrupt():
    made, _ = conductor(1)
    made.suggest("a")
    with pytest.raises(KeyboardInterrupt, match="Ray Tune was stopped"):
        made.close()


def test_nothing_of_the_study_is_pickled_with_tunes_hooks():
    made, _ = conductor(1)  # its desk holds local functions, which cannot be pickled
    assert vars(pickle.loads(pickle.dumps(made))) == {}
