"""Sums that are a cost, or never above it: held against every network of small spaces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from scalesearch.cost.cost import COUNTED, Workload
from scalesearch.population.additive import EXACT, additive, least, least_row
from scalesearch.population.space_tables import of_slots
from scalesearch.spaces.backbone import BackboneSpace
from tests.populations import WORKLOADS, every_row, slots

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def sums(tables, of, rows):
    """The sum of each network, and the largest of its peaks."""
    total, peak = np.full(len(rows), of.base), np.zeros(len(rows), np.int64)
    state = np.zeros(len(rows), np.intp)
    for level, part, high in zip(tables.levels, of.parts, of.peaks, strict=True):
        choice = level.chosen(rows)
        total += part[state, choice]
        peak = np.maximum(peak, high[state, choice])
        state = level.after[state, choice]
    return total, peak


@given(of=slots(), workload=WORKLOADS)
@settings(SLOW, max_examples=40)
def test_a_sum_is_the_cost_or_bounds_it_from_below(of, workload):
    tables, rows = of_slots(of, workload), every_row(of)
    spent = tables.cost(rows).known()
    for name in COUNTED:
        found = additive(tables, name)
        total, peak = sums(tables, found, rows)
        assert found.exact == (name in EXACT)
        if found.exact:
            assert total.tolist() == spent[name].tolist()
        else:
            assert (total + peak <= spent[name]).all()
        assert sums(tables, found.negative(), rows)[0].tolist() == (-total).tolist()


@given(of=slots())
@settings(SLOW, max_examples=20)
def test_the_smallest_sum_is_found(of):
    tables, rows = of_slots(of, Workload()), every_row(of)
    parts = additive(tables, "flops").parts
    flops = tables.cost(rows).flops
    assert int(least(tables, parts)[0][0]) == flops.min()
    row = least_row(tables, parts)
    assert tables.cost(row[None]).flops[0] == flops.min()
    most = least_row(tables, [-part for part in parts])
    assert tables.cost(most[None]).flops[0] == flops.max()


@pytest.mark.parametrize(("name", "near"), [("training_bytes", 0.9), ("inference_bytes", 0.5)])
def test_the_bounds_of_memory_are_near_it_at_full_size(name, near):
    """So that what the bounds leave can be drawn from without rejecting much."""
    tables = BackboneSpace.load("search_spaces/mnasnet_imagenet.yaml").tables()
    rows = tables.uniform(2_000, np.random.default_rng(0))
    total, peak = sums(tables, additive(tables, name), rows)
    shares = (total + peak) / tables.cost(rows).known()[name]
    assert near < shares.min() <= shares.max() <= 1
