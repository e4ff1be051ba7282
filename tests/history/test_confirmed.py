from __future__ import annotations

import pytest

from scalesearch.cost.cost import Cost
from scalesearch.history.confirmed import confirmed, probability_words
from scalesearch.history.trials import Trial


def trial(number, value, flops=100, **parameters):
    return Trial(
        number=number,
        state="failed" if value is None else "assessed",
        parameters=parameters,
        digest=f"d{flops}",
        cost=Cost(flops, flops, 1, 1, 1, 1),
        objective=() if value is None else (value,),
        scores={} if value is None else {"accuracy": value, "ap/car": 0.1, "ap": 0.2},
    )


def phases(*values, flops=(300, 200, 100)):
    """Search trials 5, 3 and 8, best first, and what each gave in its trainings."""
    numbers = (5, 3, 8)[: len(values)]
    search = [trial(number, 0.9, f) for number, f in zip(numbers, flops, strict=False)]
    repeats = [
        (number, f, value, repeat)
        for number, f, own in zip(numbers, flops, values, strict=False)
        for repeat, value in enumerate(own, 1)
    ]
    repeats.sort(key=lambda one: one[3])
    confirm = [
        trial(n, value, f, candidate=number, repeat=repeat)
        for n, (number, f, value, repeat) in enumerate(repeats)
    ]
    return {"search": search, "confirm": confirm}


def test_the_highest_mean_is_the_baseline():
    found = confirmed(phases((0.80, 0.81, 0.82), (0.90, 0.91, 0.92), (0.85, 0.86, 0.84)))
    assert [each.trial.number for each in found.candidates] == [3, 8, 5]
    assert found.baseline.mean == pytest.approx(0.91)
    assert found.baseline.scores == pytest.approx({"accuracy": 0.91, "ap": 0.2})
    assert found.baseline.trainings[0].objective == (0.92,), "the best training first"
    assert found.alternative is None
    assert found.sentence == (
        "probability above 99 % of being the best of 3 candidates, by 3 trainings of it"
    )


def test_the_alternative_is_close_and_has_the_fewest_flops():
    found = confirmed(phases((0.80, 0.90), (0.79, 0.89), (0.78, 0.90)))
    assert found.baseline.trial.number == 5
    assert [each.is_close for each in found.candidates] == [True] * 3
    assert found.alternative.trial.number == 8


def test_a_candidate_with_one_result_is_no_baseline():
    found = confirmed(phases((0.99, None), (0.80, 0.81), (0.70, 0.72)))
    assert [each.trial.number for each in found.candidates] == [3, 8, 5]
    last = found.candidates[-1]
    assert (last.mean, last.error, last.probability, last.failed) == (0.99, None, None, 1)


def test_nothing_is_known_of_too_few_results():
    alone = confirmed(phases((0.9, None), (None, None)))
    assert alone.baseline.trial.number == 5
    assert alone.sentence == (
        "no probability known: 1 training of the baseline (1 failed), and two are needed"
    )
    assert "no other candidate has two" in confirmed(phases((0.9, 0.8), (None, 0.3))).sentence
    none = confirmed(phases((None,), (None,)))
    assert none.baseline is None
    assert "second training yet" in none.sentence
    assert confirmed({"search": []}) is None


def test_words():
    assert [probability_words(p) for p in (0.001, 0.834, 0.5, 0.9999)] == [
        *("below 1 %", "83 %", "50 %", "above 99 %")
    ]
