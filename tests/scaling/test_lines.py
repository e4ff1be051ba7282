"""Lines of a family: networks that are listed, as papers plot them."""

from __future__ import annotations

import pytest

from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Multipliers
from scalesearch.scaling.lines import check_line_name, line, multiplied
from scalesearch.scaling.multiply import multiply

B0 = published("efficientnet_b0")


def test_lists_are_read_together_and_one_value_stands_for_all():
    networks = multiplied(B0, {"depth": [2.0], "width": [1.0, 1.4], "resolution": [1.0, 1.5]})
    assert networks == (
        multiply(B0, Multipliers(2.0, 1.0, 1.0)),
        multiply(B0, Multipliers(2.0, 1.4, 1.5)),
    )


def test_the_official_table_is_one_line():
    """B1 to B3 of Tan & Le 2019 by their multipliers, but for dropout, which is not scaled."""
    by = {"depth": [1.1, 1.2, 1.4], "width": [1.0, 1.1, 1.2]}
    by["resolution"] = [240 / 224, 260 / 224, 300 / 224]
    for name, net in zip(("b1", "b2", "b3"), multiplied(B0, by), strict=True):
        official = published(f"efficientnet_{name}")
        assert (net.stages, net.resolution) == (official.stages, official.resolution)


def test_phi_is_the_number_of_doublings():
    # A resolution of 2 has 4 times the multiply-adds but for squeeze-excite and classifier: phi
    # a little below 2. Phi 0 is the baseline.
    members = line("by_resolution", B0, multiplied(B0, {"resolution": [1.0, 2.0]}))
    assert next(m.name for m in members) == "by_resolution_phi0"
    assert members[1].phi == pytest.approx(2, abs=0.01)
    ratio = cost(members[1].architecture).flops / cost(B0).flops
    assert 2 ** members[1].phi == pytest.approx(ratio, rel=1e-4)


def test_one_network_is_one_member():
    """A width of 1.001 rounds to the same channels."""
    assert len(line("a", B0, multiplied(B0, {"width": [1.0, 1.001, 1.4]}))) == 2


def test_networks_of_equal_flops_cannot_be_told_apart():
    same = published("efficientnet_b0", activation="relu")
    with pytest.raises(UserError, match="two networks of the line 'a' have the same FLOPs"):
        line("a", B0, [B0, same])


def test_lists_of_other_lengths():
    with pytest.raises(UserError, match="2 values beside a list of 3") as caught:
        multiplied(B0, {"depth": [1, 2], "width": [1, 2, 3]})
    assert caught.value.key == "depth"


@pytest.mark.parametrize(
    "name", ["", "1a", "A", "a b", "a_phi1", "a..b", "../a", "width", "d1_w8_r1"]
)
def test_names_that_a_line_cannot_have(name):
    with pytest.raises(UserError):
        check_line_name(name)
    assert check_line_name("d2_r1.3") == "d2_r1.3"
