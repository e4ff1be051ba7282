"""The record of costs and the workload that memory is counted for."""

from __future__ import annotations

from dataclasses import fields

from scalesearch.cost.cost import UNITS, Cost, Workload


def test_every_cost_has_a_unit():
    assert list(UNITS) == [field.name for field in fields(Cost)]


def test_counts_leave_memory_out():
    spent = Cost(1, 2, 3, 4, 5, 6)
    assert spent.counts() == {"flops": 1, "flops_total": 2, "params": 3, "activations": 4}


def test_the_default_workload_is_sgd_with_momentum_in_float32():
    assert Workload().optimizer_copies == 1
    assert Workload().value_bytes == 4
