"""Equal FLOPs: networks of given multipliers that meet a target, counted by fvcore elsewhere."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scalesearch.arch.published import published
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Multipliers
from scalesearch.scaling.realise import effective, lagging_depths, realise

NAMES = ("efficientnet_b0", "efficientnet_lite0", "mobilenet_v2", "resnet18", "resnet50")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "triple", [(1.2, 1.1, 1.15), (2, 1, 1), (1, 1.4, 1), (1, 1, 1.4), (1.0, 1.2, 1.2)]
)
def test_the_flops_are_met_within_two_percent_near_the_multipliers(name, triple):
    net, by = published(name), Multipliers(*triple)
    target = 2 * counts(net).flops
    grown = realise(net, by, target)
    assert counts(grown).flops == pytest.approx(target, rel=0.02)
    really = effective(net, grown)
    for key in ("depth", "width", "resolution"):
        assert getattr(really, key) == pytest.approx(getattr(by, key), rel=0.16), key


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    alpha=st.floats(0.8, 2.0),
    beta=st.floats(0.8, 1.5),
    gamma=st.floats(0.8, 1.5),
)
def test_any_multipliers_meet_what_they_promise(name, alpha, beta, gamma):
    net = published(name)
    growth = alpha * beta**2 * gamma**2
    assume(0.5 < growth < 4)
    target = growth * counts(net).flops
    grown = realise(net, Multipliers(alpha, beta, gamma), target)
    assert abs(counts(grown).flops / target - 1) <= 0.02
    assert all(stage.width % net.width_divisor == 0 for stage in grown.stages)


def test_nothing_to_do_changes_nothing():
    net = published("efficientnet_b0")
    assert realise(net, Multipliers(), counts(net).flops) == net
    same = effective(net, net)
    assert (same.depth, same.width, same.resolution) == (1, pytest.approx(1), 1)


@pytest.mark.parametrize(
    ("blocks", "depths"),
    [
        (16, (1, 2, 2, 3, 3, 4, 1)),
        (17, (2, 2, 2, 3, 3, 4, 1)),  # the first of those that are equally far
        (19, (2, 3, 3, 3, 3, 4, 1)),
        (32, (2, 4, 4, 6, 6, 8, 2)),  # each whole multiple is passed
        (14, (1, 2, 2, 3, 2, 3, 1)),  # from the last of those that are equally far
        (7, (1, 1, 1, 1, 1, 1, 1)),
        (3, (1, 1, 1, 1, 1, 1, 1)),
    ],
)
def test_blocks_go_to_the_stage_that_lags_most(blocks, depths):
    """EfficientNet-B0 has 1, 2, 2, 3, 3, 4 and 1; worked out by hand."""
    assert lagging_depths(published("efficientnet_b0"), blocks) == depths


def test_a_target_far_from_the_multipliers_is_said():
    net = published("efficientnet_b0")
    with pytest.raises(UserError, match=r"no network near depth 1\.2, width 1\.1") as told:
        realise(net, Multipliers(1.2, 1.1, 1.15), 8 * counts(net).flops)
    assert "leave least to be made up for" in str(told.value)


def test_the_side_passes_the_jump_of_its_last_map():
    """From 224 to 225 pixels B0's last maps go from 7 to 8 pixels, its FLOPs up by a sixth."""
    net = published("efficientnet_b0")
    target = counts(net).flops * 1.08  # between the two
    grown = realise(net, Multipliers(resolution=math.sqrt(1.08)), target)
    assert counts(grown).flops == pytest.approx(target, rel=0.02)
    assert grown.stages != net.stages, "a side alone cannot do it"
