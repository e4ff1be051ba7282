from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace

import pytest
import torch
from safetensors.torch import load

from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Deployment
from scalesearch.cost.latency import Latency
from scalesearch.cost.limits import Limit
from scalesearch.errors import TrialError
from scalesearch.history.jobs import Infeasible, Job, Score, Scratch
from scalesearch.nn.build import build
from scalesearch.study import assess as module
from scalesearch.study.assess import Assess, agreed_cost
from tests.fakes import Dataset, Evaluator, accuracy_of
from tests.pool import space

NET = space().sample(1)


def finish(steps):
    scores = []
    while True:
        try:
            scores.append(next(steps))
        except StopIteration as end:
            return scores, end.value


def job(**fields):
    return Job(**({"phase": "search", "number": 3, "architecture": NET, "seed": 5} | fields))


@pytest.fixture
def assess():
    return Assess(Evaluator(epochs=3), Dataset().load(0))


def test_scores_come_as_they_are_and_the_last_one_counts(assess):
    scores, result = finish(assess(job()))
    top = accuracy_of(NET, 5)
    assert [score.step for score in scores] == [1, 2, 3]
    assert [s.values["accuracy"] for s in scores] == pytest.approx([top / 3, 2 * top / 3, top])
    assert result.values == scores[-1].values
    assert result.cost == cost(NET, workload=assess.evaluator.workload)
    assert result.seconds > 0
    assert result.weights is None


def test_weights_come_when_they_are_asked_for(assess):
    _, result = finish(assess(job(keep_weights=True)))
    weights = load(result.weights)
    torch.manual_seed(5)
    fresh = build(NET).state_dict()
    assert weights.keys() == fresh.keys()
    assert all(torch.equal(weights[name], fresh[name]) for name in fresh), "first weights: the seed"


def test_the_callers_random_state_is_left_alone(assess):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    finish(assess(job()))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", ["flops", "flops_total", "params", "activations"])
def test_a_mistake_of_the_closed_form_is_a_failed_trial_with_both_numbers(
    assess, monkeypatch, name
):
    wrong = getattr(cost(NET), name) + 1
    monkeypatch.setattr(
        module, "cost", lambda net, workload: replace(cost(net, workload=workload), **{name: wrong})
    )
    with pytest.raises(TrialError) as error:
        finish(assess(job()))
    assert f"{name} of the built model is {wrong - 1:,} by fvcore but {wrong:,}" in str(error.value)
    assert "please report" in str(error.value)


def test_a_model_that_is_not_the_described_network_is_found_out():
    model = build(replace(NET, num_classes=11))
    with pytest.raises(TrialError, match="of the built model is"):
        agreed_cost(model, NET, Evaluator())


def test_an_evaluator_without_any_score(assess):
    class Silent(Evaluator):
        def evaluate(self, model, architecture, data, seed):
            yield from ()

    with pytest.raises(TrialError, match="the evaluator gave no score"):
        finish(Assess(Silent(), assess.data)(job()))


def test_a_trial_error_passes_through(assess):
    failing = Assess(Evaluator(fail_on=NET.depth), assess.data)
    with pytest.raises(TrialError, match="made to fail"):
        finish(failing(job()))


def test_it_travels_to_workers(assess):
    again = pickle.loads(pickle.dumps(assess))
    assert next(again(job())) == Score(1, next(assess(job())).values)
    again.prepare(torch.get_num_threads())


FAST, SLOW = Latency(0.01, 0.01, 0.01, 9), Latency(0.03, 0.03, 0.03, 9)
LIMITS = {"flops": Limit(max=10**9), "latency": Limit(max=0.02)}


@pytest.fixture
def clock(monkeypatch):
    """Measurements to come, and what was asked for."""
    to_come, asked = [], []

    def measure(model, shape, deployment):
        asked.append((shape, deployment))
        return to_come.pop(0)

    monkeypatch.setattr(module, "measure_latency", measure)
    return to_come, asked


def timing(assess, limits=LIMITS):
    return Assess(assess.evaluator, assess.data, Deployment(batch=2), limits)


def test_latency_is_measured_before_training(assess, clock):
    to_come, asked = clock
    to_come.append(FAST)
    scores, result = finish(timing(assess)(job()))
    assert result.cost == replace(cost(NET, workload=assess.evaluator.workload), latency=0.01)
    assert asked == [((NET.in_channels, NET.resolution, NET.resolution), Deployment(batch=2))]
    assert len(scores) == 3


def test_what_is_too_slow_is_refused_and_never_trained(assess, clock, tmp_path):
    to_come, asked = clock
    to_come += [SLOW, Latency(0.025, 0.02, 0.03, 9), SLOW]
    calls = tmp_path / "calls"
    watched = Assess(Evaluator(calls=calls), assess.data, Deployment(), LIMITS)
    scores, infeasible = finish(watched(job(keep_weights=True)))
    assert isinstance(infeasible, Infeasible)
    assert infeasible.cost.latency == 0.025, "a refusal is final: the least of three measurements"
    assert infeasible.seconds > 0
    assert (scores, calls.exists(), len(asked)) == ([], False, 3)


def test_a_disturbed_measurement_does_not_refuse(assess, clock):
    to_come, asked = clock
    to_come += [SLOW, FAST]
    _, result = finish(timing(assess)(job()))
    assert result.cost.latency == 0.01
    assert len(asked) == 2


def test_without_a_limit_one_measurement_is_enough(assess, clock):
    to_come, asked = clock
    to_come.append(SLOW)
    _, result = finish(timing(assess, {})(job()))
    assert (result.cost.latency, len(asked)) == (0.03, 1)


def test_without_a_deployment_nothing_is_timed(assess, clock):
    _, result = finish(assess(job()))
    assert result.cost.latency is None
    assert clock[1] == []


def test_timing_leaves_weights_and_scores_as_they_are(assess):
    plain = finish(assess(job(keep_weights=True)))[1]
    timed = finish(timing(assess, {})(job(keep_weights=True)))[1]
    assert timed.values == plain.values
    assert timed.weights == plain.weights
    assert timed.cost.latency > 0


@dataclass(frozen=True, kw_only=True)
class Hungry(Evaluator):
    """Runs out of memory unless few images come at once."""

    micro_batch: int | None = None
    fits: int = 4
    tried: list = field(default_factory=list)

    def smaller(self):
        images = (self.micro_batch or 16) // 2
        return replace(self, micro_batch=images) if images >= 2 else None

    def evaluate(self, model, architecture, data, seed):
        self.tried.append(self.micro_batch or 16)
        if self.tried[-1] > self.fits:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        yield from super().evaluate(model, architecture, data, seed)


def test_a_network_that_does_not_fit_is_trained_with_half_of_the_images_at_once():
    evaluator = Hungry()
    scores, result = finish(Assess(evaluator, Dataset().load(0))(job()))
    assert evaluator.tried == [16, 8, 4]
    assert result.where.micro_batch == 4
    assert len(scores) == 1


def test_one_that_never_fits_says_so():
    evaluator = Hungry(fits=1)
    with pytest.raises(RuntimeError, match="out of memory"):
        finish(Assess(evaluator, Dataset().load(0))(job()))
    assert evaluator.tried == [16, 8, 4, 2]


@dataclass(frozen=True, kw_only=True)
class Remembering(Evaluator):
    """Takes its scratch folder, as an evaluator of one's own may."""

    seen: list = field(default_factory=list)

    def evaluate(self, model, architecture, data, seed, scratch):
        self.seen.append(scratch)
        yield from super().evaluate(model, architecture, data, seed)


def test_an_evaluator_that_asks_for_scratch_is_given_it(tmp_path):
    evaluator = Remembering()
    finish(Assess(evaluator, Dataset().load(0), scratch=tmp_path, checkpoint_every=2)(job()))
    finish(Assess(evaluator, Dataset().load(0), scratch=tmp_path, checkpoint_every=0)(job()))
    paused = Assess(evaluator, Dataset().load(0), scratch=tmp_path)
    finish(paused(job(pauses=(1, 2))))
    first, off, pausing = evaluator.seen
    assert first == Scratch("search", 3, tmp_path / "search-3", 2)
    assert pausing.pauses == (1, 2)
    assert off.folder is None


def test_two_studies_in_one_process_keep_their_own_checkpoints(tmp_path):
    """A study that was interrupted in a notebook goes on later, whatever ran in between."""
    evaluator, data = Remembering(), Dataset().load(0)
    for name in ("one", "two"):
        (tmp_path / name / "search-3").mkdir(parents=True)
        finish(Assess(evaluator, data, scratch=tmp_path / name)(job()))
    assert (tmp_path / "one" / "search-3").is_dir()
    finish(Assess(evaluator, data, scratch=tmp_path / "one")(replace(job(), number=4)))
    assert not (tmp_path / "one" / "search-3").exists(), "the next job of its own study"
    assert (tmp_path / "two" / "search-3").is_dir()
