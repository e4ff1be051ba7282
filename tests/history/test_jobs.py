"""What travels between processes, and the seeds of every draw."""

from __future__ import annotations

import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.history.jobs import Failure, Job, Result, Score, Stopped, seed_for

NET = published("efficientnet_b0", resolution=32)


@pytest.mark.parametrize(
    "sent",
    [
        Job("search", 3, NET, seed=7, keep_weights=True),
        Score(2, {"accuracy": 0.5}),
        Result({"accuracy": 0.5, "loss": 1.25}, cost(NET), 12.5, weights=b"\x00\x01"),
        Stopped(Score(1, {"accuracy": 0.1})),
        Failure("memory", "killed at 2 GiB"),
    ],
)
def test_everything_survives_the_way_to_another_process(sent):
    assert pickle.loads(pickle.dumps(sent)) == sent


def test_weights_are_only_kept_when_asked_for():
    assert Job("search", 0, NET, seed=0).keep_weights is False
    assert Result({}, cost(NET), 0.0).weights is None


def test_a_seed_is_the_head_of_a_hash_by_hand():
    digest = hashlib.sha256(b"5/search/12/trial").hexdigest()
    assert seed_for(5, "search", 12) == int(digest[:8], 16) // 2


@given(st.integers(0, 2**40), st.sampled_from(["search", "grid", "family"]), st.integers(0, 10**6))
def test_a_seed_is_31_bits_and_always_the_same(study_seed, phase, number):
    seed = seed_for(study_seed, phase, number)
    assert 0 <= seed < 2**31
    assert seed == seed_for(study_seed, phase, number)


def test_seeds_of_different_draws_differ():
    draws = [
        (seed, phase, number, purpose)
        for seed in (0, 1)
        for phase in ("search", "grid")
        for number in range(250)
        for purpose in ("trial", "sampler")
    ]
    # 2,000 draws of 31 bits meet by chance with probability 0.001.
    assert len({seed_for(*draw) for draw in draws}) == len(draws)
