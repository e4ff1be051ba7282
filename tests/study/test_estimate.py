from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Cost, Workload
from scalesearch.errors import UserError
from scalesearch.executors.serial import Executor
from scalesearch.history.fidelity import WHOLE_EPOCHS, Fidelity, Schedule
from scalesearch.history.trials import Trial
from scalesearch.study.estimate import First, grid_sentence, total_seconds, trial_seconds
from scalesearch.study.inputs import GridOfNetworks
from scalesearch.view import View
from tests.fakes import Dataset, Evaluator, Grey
from tests.pool import space

NET = space().sample(1)


def test_few_are_the_first_images():
    few = First(Grey(10), 4)
    assert len(few) == 4
    assert few.labels.tolist() == [0, 1, 2, 3]
    assert tuple(few.batch(np.array([0, 1]), View(8)).shape) == (2, 1, 8, 8)
    assert len(First(Grey(10), 99)) == 10


class Timed(Evaluator):
    """Sleeps for each image, as training does."""

    def evaluate(self, model, architecture, data, seed):
        import time

        time.sleep(self.epochs * 0.01 * len(data.train))
        yield from super().evaluate(model, architecture, data, seed)


def test_a_short_try_is_scaled_to_images_and_epochs():
    data = Dataset(images=200).load(0)
    seconds = trial_seconds(Executor(), Timed(epochs=5), NET, data)
    # 10 ms for each of 200 training images, a third of it for each of 200 validation images
    expected = 5 * 0.01 * (200 + 200 / 3)
    assert expected * 0.9 < seconds < expected * 1.6


def test_a_large_network_is_timed_on_a_few_images(monkeypatch):
    """A batch of 32 would take .32 s: two images already take longer than what is enough."""
    trained = []

    class Counted(Timed):
        workload = Workload(training_batch=32)

        def evaluate(self, model, architecture, data, seed):
            trained.append(len(data.train))
            yield from super().evaluate(model, architecture, data, seed)

    monkeypatch.setattr("scalesearch.study.estimate._LONG", 0.015)
    seconds = trial_seconds(Executor(), Counted(epochs=5), NET, Dataset(images=200).load(0))
    assert trained == [2, 2, 4]
    expected = 5 * 0.01 * (200 + 200 / 3)
    assert expected * 0.6 < seconds < expected * 2


def test_an_evaluator_without_epochs_cannot_be_timed():
    assert trial_seconds(Executor(), SimpleNamespace(), NET, Dataset().load(0)) is None


@pytest.mark.parametrize(("fault", "reason"), [("fail_on", "made to"), ("raise_on", "allocate")])
def test_a_network_that_cannot_be_scored_gives_the_reason(fault, reason):
    evaluator = Evaluator(**{fault: NET.depth})
    with pytest.raises(UserError, match=f"was tried and failed: .*{reason}"):
        trial_seconds(Executor(), evaluator, NET, Dataset().load(0))


class Two(Executor):
    """Runs in this process, and counts as two workers."""

    slots = 2


def _context(trials=(), schedule=WHOLE_EPOCHS):
    search = SimpleNamespace(
        evaluator=SimpleNamespace(make=lambda: Evaluator(epochs=2)), schedule=schedule
    )
    return SimpleNamespace(
        folder=SimpleNamespace(read=lambda: {"search": list(trials)}),
        study=SimpleNamespace(search=search),
        executor=Two(),
        data=Dataset().load(0),
    )


def test_recorded_trials_are_the_measure():
    """3 s for 2 epochs of 1,000 FLOPs: 6 epochs of 4 networks of 2,000 on two workers take 36 s."""
    flops = cost(NET).flops
    done = Trial(
        number=0,
        state="assessed",
        parameters={},
        digest="d",
        seconds=3.0,
        cost=Cost(flops // 2, 1, 1, 1, 1, 1),
    )
    infeasible = replace(done, state="infeasible", seconds=0.0)
    context = _context([done, infeasible])
    assert total_seconds(context, [NET] * 4, Evaluator(epochs=6)) == pytest.approx(36, rel=0.01)


# Of each epoch: 16 training images; 16 of validation, each a third of a training step's work.
EARLY = Schedule(((1, Fidelity(data=0.25, resolution=0.5)),))


def test_less_data_and_smaller_images_take_their_share_of_the_recorded_time():
    """A recorded search of half the data: (8 + 16/3) an epoch. Confirmed on all: (16 + 16/3)."""
    flops = cost(NET).flops
    done = Trial(
        number=0,
        state="assessed",
        parameters={},
        digest="d",
        seconds=3.0,
        cost=Cost(flops, 1, 1, 1, 1, 1),
    )
    context = _context([done], Schedule(then=Fidelity(data=0.5)))
    seconds = total_seconds(context, [NET] * 4, Evaluator(epochs=2))
    assert seconds == pytest.approx(4 * 3 * (16 + 16 / 3) / (8 + 16 / 3) / 2, rel=1e-6)
    # One epoch of a quarter at half of the side, one whole.
    seconds = total_seconds(_context([done]), [NET] * 4, Evaluator(epochs=2), EARLY)
    share = ((4 + 16 / 3) / 4 + (16 + 16 / 3)) / (2 * (16 + 16 / 3))
    assert seconds == pytest.approx(4 * 3 * share / 2, rel=1e-6)


def test_a_timing_is_scaled_by_what_epochs_take():
    """Of 5 epochs at half of the side a quarter: (100 + 200/3) / 4 images each of 10 ms."""
    data = Dataset(images=200).load(0)
    less = Schedule(then=Fidelity(data=0.5, resolution=0.5))
    seconds = trial_seconds(Executor(), Timed(epochs=5), NET, data, less)
    expected = 5 * 0.01 * (100 + 200 / 3) / 4
    assert expected * 0.9 < seconds < expected * 1.6


def test_the_grid_is_told_with_the_range_of_its_flops():
    from scalesearch.scaling.coefficients import Multipliers
    from scalesearch.scaling.multiply import multiply

    twice = multiply(NET, Multipliers(depth=2.0))
    grid = GridOfNetworks(SimpleNamespace(size=14), "triples", NET, 5, (NET, twice))
    told = grid_sentence(grid)
    assert told.startswith("14 triples, 5 different networks, 2 within limits (1.0 to ")
    small = SimpleNamespace(size=1)
    one = GridOfNetworks(small, "triples", twice, 1, (NET,))
    share = cost(NET).flops / cost(twice).flops
    assert f"1 within limits ({share:.2g} to {share:.2g} times the FLOPs)" in grid_sentence(one)
    nothing = GridOfNetworks(SimpleNamespace(size=3), "triples", NET, 1, ())
    assert grid_sentence(nothing) == "3 triples, 1 different networks, 0 within limits"


def test_without_a_record_or_epochs_nothing_is_said_of_time():
    context = _context()
    assert total_seconds(context, [NET], SimpleNamespace()) is None
    assert total_seconds(context, [], Evaluator()) == 0
    assert total_seconds(context, [NET], Evaluator(delay=0.02, epochs=3)) > 0
