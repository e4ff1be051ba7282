"""The record of costs and the workload that memory is counted for."""

from __future__ import annotations

from dataclasses import fields

import pytest

from scalesearch.cost.cost import UNITS, Cost, Deployment, Workload
from scalesearch.errors import UserError


def test_every_cost_has_a_unit():
    assert list(UNITS) == [field.name for field in fields(Cost)]


def test_counts_leave_memory_and_latency_out():
    spent = Cost(1, 2, 3, 4, 5, 6, latency=0.5)
    assert spent.counts() == {"flops": 1, "flops_total": 2, "params": 3, "activations": 4}


def test_the_default_workload_is_sgd_with_momentum_in_float32():
    assert Workload().optimizer_copies == 1
    assert Workload().precision == "float32"


def test_latency_is_known_once_it_was_measured():
    spent = Cost(1, 2, 3, 4, 5, 6)
    assert list(spent.known()) == [name for name in UNITS if name != "latency"]
    assert Cost(1, 2, 3, 4, 5, 6, latency=0.5).known() == spent.known() | {"latency": 0.5}


def test_a_deployment_in_words():
    assert str(Deployment()) == "cpu, batch 1, 1 thread"
    assert str(Deployment(batch=8, threads=2)) == "cpu, batch 8, 2 threads"
    assert str(Deployment(device="cuda", batch=32, threads=4)) == "cuda, batch 32"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"device": "gpu"}, "device: 'gpu' is not known\n  allowed: cpu, cuda"),
        ({"batch": 0}, "batch: 0 cannot be used\n  allowed: a whole number >= 1"),
        ({"threads": 1.5}, "threads: 1.5 cannot be used\n  allowed: a whole number >= 1"),
    ],
)
def test_a_deployment_that_cannot_be_is_told(fields, text):
    with pytest.raises(UserError) as told:
        Deployment(**fields)
    assert str(told.value).startswith(text)
