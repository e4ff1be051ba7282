"""Smaller images, as far as networks take them."""

from __future__ import annotations

import pytest

from scalesearch.arch.factory import Factory
from scalesearch.arch.published import published
from scalesearch.errors import UserError
from scalesearch.scaling.sides import require_smaller, smaller_side

OWN = {"num_classes": 2, "resolution": 32}


def test_a_backbone_takes_any_side():
    net = published("efficientnet_b0", resolution=225)
    assert [smaller_side(net, share) for share in (1, 0.75, 0.5, 0.001)] == [225, 169, 113, 1]


def test_the_side_of_a_detector_is_a_multiple_of_what_its_levels_halve():
    net = published("efficientdet_d0")  # 512 pixels, levels up to 7
    assert [smaller_side(net, share) for share in (1, 0.75, 0.6, 0.5, 0.1)] == [
        *(512, 384, 256, 256, 128)
    ]
    # 320 is a multiple of 64 and no more.
    assert smaller_side(published("efficientdet_d0", resolution=320), 0.5) == 192


@pytest.mark.parametrize(
    ("net", "share", "message"),
    [
        (
            published("efficientdet_d0"),
            0.9,
            "0.9 of 512 pixels would be as many again\n"
            "  allowed: shares of 128 to 384 pixels, in steps of 128",
        ),
        (
            published("efficientdet_d0", resolution=64),
            0.5,
            "0.5 of 64 pixels would be as many again\n  allowed: 1: it takes no smaller images",
        ),
        (
            Factory(factory="tests.factories:flat", num_classes=2, resolution=16),
            0.5,
            "tests.factories:flat builds a module for images of 16 pixels that takes none of "
            "about 8: Sequential cannot be run on images of 2 x 3 x 8 x 8: ",
        ),
    ],
)
def test_a_share_that_makes_nothing_smaller_is_a_mistake(net, share, message):
    require_smaller(net, [1.0])
    with pytest.raises(UserError) as error:
        require_smaller(net, [share, 1.0])
    assert message in str(error.value)


def test_a_factorys_module_is_tried():
    wide = Factory(factory="tests.factories:wide", **OWN)
    assert [smaller_side(wide, share) for share in (1, 0.5, 0.3)] == [32, 16, 10]
    merging = Factory(factory="tests.factories:merging", **OWN)
    assert [smaller_side(merging, share) for share in (0.6, 0.9)] == [16, 24]
