"""What steps say of networks is true of each of them, however few the steps are."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesearch.cost.cost import COUNTED
from scalesearch.cost.limits import Limit
from scalesearch.population.additive import EXACT, additive, least_row
from scalesearch.population.axes import axis, can_count, longest_axis
from scalesearch.population.space_tables import of_slots
from scalesearch.spaces.backbone import BackboneSpace
from tests.populations import WORKLOADS, every_row, slots

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def limits(draw, values):
    """A limit whose bounds are near values that networks have."""
    near, off = st.sampled_from(sorted(set(values.tolist()))), st.sampled_from([-1, 0, 0.5, 1])
    one = draw(near)
    other = draw(st.sampled_from([one, draw(near)]))
    bounds = sorted(max(1, bound + draw(off)) for bound in (one, other))
    keys = draw(st.sampled_from([("max",), ("min",), ("min", "max")]))
    return Limit(**{key: bounds[key == "max"] for key in keys})


def totals_of(tables, one, rows):
    """The steps of each network in all, the number of totals for one that is out of them."""
    total, state = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.intp)
    for level, steps in zip(tables.levels, one.steps, strict=True):
        choice = level.chosen(rows)
        total += steps[state, choice]
        state = level.after[state, choice]
    return np.minimum(total, len(one.possible))


@given(of=slots(), workload=WORKLOADS, name=st.sampled_from(COUNTED), data=st.data())
@settings(SLOW, max_examples=150)
def test_what_is_possible_and_what_is_certain(of, workload, name, data):
    tables, rows = of_slots(of, workload), every_row(of)
    values = tables.cost(rows).known()[name]
    limit = data.draw(limits(values))
    if not can_count(name, limit):
        assert name not in EXACT
        return
    longest = data.draw(st.sampled_from([1, 7, 40, 10**6]))
    one = axis(tables, additive(tables, name), limit, longest)
    assert len(one.possible) == len(one.certain) <= longest
    within = np.ones(len(rows), bool)
    if limit.max is not None:
        within &= values <= limit.max
    if limit.min is not None:
        within &= values >= limit.min
    totals = totals_of(tables, one, rows)
    possible = np.append(one.possible, False)[totals]
    certain = np.append(one.certain, False)[totals]
    assert (within <= possible).all()
    assert (certain <= within).all()
    if name in EXACT and np.ptp(values) < longest:
        assert certain.tolist() == within.tolist()


def test_steps_are_as_fine_as_the_limit_is_tight():
    tables = BackboneSpace.load("search_spaces/mnasnet_imagenet.yaml").tables()
    flops = additive(tables, "flops")
    least = int(tables.cost(least_row(tables, flops.parts)[None]).flops[0])
    for room in (10**5, 10**7, 10**9):
        one = axis(tables, flops, Limit(max=least + room), 10**5)
        # The costs of this space differ by multiples of 8, so steps of 8 lose nothing.
        assert one.certain.all() == (room == 10**5)
        assert 0.4 * 10**5 < len(one.possible) <= 10**5 or room == 10**5
    assert axis(tables, flops, Limit(max=least - 1), 10**5).possible.tolist() == [False]
    assert axis(tables, flops, Limit(max=1e30), 10).possible.all()
    assert longest_axis(tables) == 2**20
