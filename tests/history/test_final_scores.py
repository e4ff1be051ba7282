"""Which validation score belongs to which test score."""

from __future__ import annotations

from scalesearch.cost.cost import Cost
from scalesearch.history import final_scores
from scalesearch.history.trials import Trial


def trial(number, digest, value, state="assessed", source=None, weights_of="", **parameters):
    return Trial(
        source=source,
        weights_of=weights_of,
        number=number,
        state=state,
        parameters=parameters,
        digest=digest,
        cost=Cost(1, 1, 1, 1, 1, 1),
        scores={"accuracy": value},
        objective=(value,),
    )


def pairs(phases):
    return [
        (one.name, one.chosen.scores["accuracy"], one.test.scores["accuracy"])
        for one in final_scores.final_scores(phases)
    ]


def test_members_have_their_own_and_those_without_a_score_are_left_out():
    family = [
        trial(0, "a", 0.8, strategy="compound", phi=0.0),
        trial(1, "a", 0.8, state="reused", source=0, strategy="width", phi=0.0),
        trial(2, "b", 0.9, strategy="compound", phi=0.5),
    ]
    test = [
        trial(0, "a", 0.7, weights_of="family 0", strategy="compound", phi=0.0),
        trial(1, "a", 0.7, "reused", 0, "family 0", strategy="width", phi=0.0),
        trial(2, "b", 0.6, "failed", weights_of="family 2", strategy="compound", phi=0.5),
    ]
    assert pairs({"family": family, "test": test}) == [
        ("compound_phi0", 0.8, 0.7),
        ("width_phi0", 0.8, 0.7),
    ]
    assert pairs({"family": family}) == []
    assert final_scores.current({"family": family, "test": test}) == {
        "family": family,
        "test": test,
    }


def test_a_baselines_score_is_that_of_the_training_whose_weights_were_kept():
    search = [trial(0, "a", 0.9), trial(1, "b", 0.95)]
    confirm = [
        trial(0, "b", 0.91, candidate=1),
        trial(1, "b", 0.93, candidate=1),
        trial(2, "b", 0.92, candidate=1),
        trial(3, "a", 0.94, candidate=0),  # one training does not make it the baseline
    ]
    before = trial(0, "b", 0.89, weights_of="search 1", network="baseline")
    after = trial(1, "b", 0.88, weights_of="confirm 1", network="baseline")
    assert pairs({"search": search, "test": [before]}) == [("baseline", 0.95, 0.89)]
    phases = {"search": search, "confirm": confirm, "test": [before, after]}
    assert pairs(phases) == [("baseline", 0.93, 0.88)]
    assert final_scores.current(phases) == phases | {"test": [after]}


def test_a_score_of_other_weights_than_the_reported_ones_is_left_out():
    search = [trial(0, "a", 0.9), trial(1, "b", 0.8)]
    for weights_of, network in (("search 1", "b"), ("search 1", "a"), ("", "a"), ("family 0", "a")):
        test = [trial(0, network, 0.7, weights_of=weights_of, network="baseline")]
        assert pairs({"search": search, "test": test}) == []
        assert final_scores.current({"search": search, "test": test})["test"] == []
