"""Which validation score belongs to which test score."""

from __future__ import annotations

from scalesearch.cost.cost import Cost
from scalesearch.history import final_scores
from scalesearch.history.trials import Trial


def trial(number, digest, value, state="assessed", **parameters):
    return Trial(
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
        trial(1, "a", 0.8, state="reused", strategy="width", phi=0.0),
        trial(2, "b", 0.9, strategy="compound", phi=0.5),
    ]
    test = [
        trial(0, "a", 0.7, strategy="compound", phi=0.0),
        trial(1, "a", 0.7, state="reused", strategy="width", phi=0.0),
        trial(2, "b", 0.6, state="failed", strategy="compound", phi=0.5),
    ]
    assert pairs({"family": family, "test": test}) == [
        ("compound_phi0", 0.8, 0.7),
        ("width_phi0", 0.8, 0.7),
    ]
    assert pairs({"family": family}) == []


def test_a_baselines_score_is_that_of_the_training_whose_weights_were_kept():
    search = [trial(0, "a", 0.95), trial(1, "b", 0.9)]
    confirm = [trial(0, "b", 0.91), trial(1, "b", 0.93), trial(2, "b", 0.92), trial(3, "a", 0.94)]
    test = [trial(0, "b", 0.89, network="baseline")]
    assert pairs({"search": search, "test": test}) == [("baseline", 0.9, 0.89)]
    assert pairs({"search": search, "confirm": confirm, "test": test}) == [("baseline", 0.93, 0.89)]
