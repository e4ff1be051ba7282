"""Measuring against clocks that the tests turn themselves, and against modules that sleep."""

from __future__ import annotations

import time
from typing import ClassVar

import pytest
import torch
from torch import nn

from scalesearch.cost import latency
from scalesearch.cost.cost import Deployment
from scalesearch.cost.latency import Latency, deployed, machine, measure_latency, measure_links
from scalesearch.errors import UserError

SHAPE = (3, 8, 8)


class Clock:
    """A clock that only moves when a model works, or by a little each time it is read."""

    def __init__(self, tick=0.0):
        self.now, self.tick = 0.0, tick

    def __call__(self):
        self.now += self.tick
        return self.now


class Works(nn.Module):
    """Takes the next of some seconds on a clock, the last of them for ever."""

    def __init__(self, clock, *seconds):
        super().__init__()
        self.work, self.calls = (clock, list(seconds)), []

    def __deepcopy__(self, memo):
        return self  # the calls of the copy that is measured are wanted

    def forward(self, x):
        clock, seconds = self.work
        self.calls.append(self.training)
        clock.now += seconds.pop(0) if len(seconds) > 1 else seconds[0]
        return x


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(latency, "perf_counter", made)
    return made


def test_the_first_passes_warm_up_and_do_not_count(clock):
    # Rounds of three get faster (90, 50, 40 ms) until one is not clearly so (39 ms).
    rounds = [seconds for seconds in (0.09, 0.05, 0.04, 0.039) for _ in range(3)]
    model = Works(clock, *rounds, 0.03)
    found = measure_latency(model, SHAPE, seconds=0.295)
    assert found == Latency(pytest.approx(0.03), pytest.approx(0.03), pytest.approx(0.03), 10)
    assert len(model.calls) == 12 + 10


def test_the_median_is_told_with_its_quartiles(clock):
    steady = [0.2] * 6
    model = Works(clock, *steady, 0.1, 0.5, 0.2, 0.3, 0.4)
    # By hand: 0.1 0.2 0.3 0.4 0.5 has the quartiles 0.2 and 0.4 around 0.3.
    found = measure_latency(model, SHAPE, seconds=1.4)
    assert found == Latency(pytest.approx(0.3), pytest.approx(0.2), pytest.approx(0.4), 5)


def test_a_slow_model_is_timed_five_times_all_the_same(clock):
    assert measure_latency(Works(clock, 60.0), SHAPE).repeats == 5


def test_warming_up_has_a_deadline(clock):
    faster = [64.0, 64, 64, 32, 32, 32, 16, 16, 16, 8]
    model = Works(clock, *faster)
    assert measure_latency(model, SHAPE).median <= 32
    assert len(model.calls) == 3 + 5, "one round is longer than the deadline"


def test_a_quick_model_is_not_timed_for_ever(clock):
    assert measure_latency(Works(clock, 1e-6), SHAPE).repeats == 200


def test_the_sleep_of_a_model_is_its_latency():
    class Sleeps(nn.Module):
        def __init__(self, seconds):
            super().__init__()
            self.seconds = seconds

        def forward(self, x):
            time.sleep(self.seconds)
            return x

    short, long = (measure_latency(Sleeps(s), SHAPE, seconds=0.1) for s in (0.005, 0.02))
    assert short.low >= 0.005
    assert long.low >= 0.02
    assert short.low <= short.median <= short.high
    assert short.median < long.median


class Watched(nn.Module):
    """Notes how it is called."""

    seen: ClassVar[dict] = {}

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        Watched.seen = {
            "training": self.training,
            "gradients": torch.is_grad_enabled(),
            "inference": torch.is_inference_mode_enabled(),
            "threads": torch.get_num_threads(),
            "shape": tuple(x.shape),
            "images": x.is_contiguous(memory_format=torch.channels_last),
            "weights": self.conv.weight.is_contiguous(memory_format=torch.channels_last),
        }
        return self.norm(self.conv(x))


def test_a_model_is_measured_as_it_is_deployed_and_left_as_it_is():
    model = Watched().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    measure_latency(model, SHAPE, Deployment(batch=2, threads=threads + 1), seconds=0.001)
    assert Watched.seen == {
        "training": False,
        "gradients": False,
        "inference": True,
        "threads": threads + 1,
        "shape": (2, 3, 8, 8),
        "images": True,
        "weights": True,
    }
    assert model.training
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert model.conv.weight.is_contiguous()


def test_threads_are_given_back_if_a_model_fails():
    class Breaks(nn.Module):
        def forward(self, x):
            raise ValueError("broken")

    threads = torch.get_num_threads()
    with pytest.raises(ValueError, match="broken"):
        measure_latency(Breaks(), SHAPE, Deployment(threads=threads + 1))
    assert torch.get_num_threads() == threads


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told():
    with pytest.raises(UserError) as told:
        measure_latency(nn.Identity(), SHAPE, Deployment(device="cuda"))
    assert str(told.value) == (
        "latency.device: latency cannot be measured on 'cuda': this process sees no GPU\n"
        "  give workers a GPU (execution.gpus: 1), or measure on the cpu"
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_is_timed_by_its_own_events():
    model = nn.Conv2d(3, 64, 3)
    found = measure_latency(model, (3, 224, 224), Deployment(device="cuda"), seconds=0.05)
    assert 0 < found.low <= found.median <= found.high
    assert model.weight.device.type == "cpu"


def test_links_are_timed_each_and_what_is_between_them(clock):
    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = Works(clock, 0.1), Works(clock, 0.3)

        def forward(self, x):
            clock.now += 0.05  # what is between the links
            return self.second(self.first(x))

    def cut(model):
        return model.first, model.second

    each, rest = measure_links(Chain(), cut, SHAPE, Deployment(), seconds=2.0)
    assert each == (pytest.approx(0.1), pytest.approx(0.3))
    assert rest == pytest.approx(0.05)


def test_the_images_are_the_same_each_time():
    seen = []
    for _ in range(2):
        with deployed(nn.Identity(), SHAPE, Deployment(batch=3)) as (_, images):
            seen.append(images)
    assert seen[0].shape == (3, *SHAPE)
    assert torch.equal(*seen)
    assert 0.5 < seen[0].std() < 2, "neither nothing nor too small for fast arithmetic"


def test_a_machine_has_a_name():
    assert "cores" in machine("cpu")
