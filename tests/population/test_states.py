"""Tables hold every part once for each state that the parts before can leave."""

from __future__ import annotations

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.population.space_tables import of_list, of_slots
from scalesearch.spaces.backbone import BackboneSpace


def tables(**plain):
    return of_slots(BackboneSpace.from_plain(plain).slots, Workload())


def shapes(of):
    return [level.after.shape for level in of.levels]


def test_what_leaves_one_width_and_size_is_one_state():
    stage = {"width": 8, "kernel": [3, 5], "depth": [1, 2], "se": [0.0, 0.5]}
    made = tables(stages=[stage, stage])
    # numbers, stem, two stages of eight choices, head: nobody's choice changes what follows
    assert shapes(made) == [(1, 1), (1, 1), (1, 8), (1, 8), (1, 1)]
    assert made.size == 64


def test_widths_and_sizes_are_states_of_the_next_stage():
    made = tables(
        head={"width": [8, 16]},
        resolution=[32, 64, 96],
        stem={"width": [4, 8]},
        stages=[{"width": [8, 12], "stride": [1, 2]}, {"width": 8}],
    )
    # Three sizes; with two stem widths each; then two widths of sizes 16, 8, 32, 48 and 24, of
    # which 16 comes from two resolutions; then one width of these.
    assert shapes(made) == [(1, 3), (3, 2), (6, 4), (10, 1), (5, 2)]


def test_a_number_that_costs_nothing_makes_no_state():
    made = tables(stages=[{"width": 8}], norm_eps=[1e-5, 1e-3], drop_path=[0.1, 0.2])
    assert shapes(made) == [(1, 4), (1, 1), (1, 1), (1, 1)]
    assert made.sizes.count(2) == 2


def test_networks_of_a_list_are_choices_of_one_level():
    networks = [Backbone(stages=(Stage(width=width),), resolution=width) for width in (8, 16)]
    made = of_list(networks, Workload())
    assert (made.size, shapes(made)) == (2, [(1, 2)])
    assert made.images.tolist() == [3 * 8 * 8, 3 * 16 * 16]
    assert made.cost([[1], [0]]).flops.tolist() == [cost(networks[i]).flops for i in (1, 0)]
