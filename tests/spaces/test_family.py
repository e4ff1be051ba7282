from __future__ import annotations

import pytest

from scalesearch.arch.published import published
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.family import members
from scalesearch.spaces.family import FamilySpace

B0 = published("efficientnet_b0")
MADE = members(B0, Coefficients(1.2, 1.1, 1.15), [0, 1], ["compound", "width"])


@pytest.fixture
def space():
    return FamilySpace(members=MADE)


def test_points_are_the_members_in_their_order(space):
    assert list(space.points()) == [
        {"strategy": "compound", "phi": 0},
        {"strategy": "width", "phi": 0},
        {"strategy": "compound", "phi": 1},
        {"strategy": "width", "phi": 1},
    ]
    assert space.size == 4
    assert [space.decode(p) for p in space.points()] == [m.architecture for m in MADE]


def test_parameters_are_strategies_and_phis_once_each(space):
    assert dict(space.parameters) == {"strategy": ("compound", "width"), "phi": (0, 1)}


def test_encode_gives_the_first_of_equal_members(space):
    """At phi 0 every strategy is the baseline itself."""
    assert space.encode(B0) == {"strategy": "compound", "phi": 0}
    assert space.encode(MADE[3].architecture) == {"strategy": "width", "phi": 1}


def test_what_is_no_member_is_refused(space):
    with pytest.raises(UserError, match=r"'phi': 2.* is not a member of this family"):
        space.decode({"strategy": "compound", "phi": 2})
    with pytest.raises(UserError, match="no member of this family gives this network"):
        space.encode(published("efficientnet_b0", num_classes=7))


def test_sampling_is_seeded_and_reaches_every_member(space):
    drawn = [space.sample(seed) for seed in range(40)]
    assert drawn == [space.sample(seed) for seed in range(40)]
    assert set(drawn) == {member.architecture for member in MADE}
