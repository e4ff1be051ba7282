"""A population costs what each of its networks costs alone, to the last unit."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesearch.arch.neck import Neck
from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import COUNTED, Workload
from scalesearch.errors import UserError
from scalesearch.population.space_tables import of_list
from scalesearch.spaces.backbone import BackboneSpace
from tests.populations import (
    DETECTORS,
    WORKLOADS,
    detector_slots,
    every_row,
    network,
    one_by_one,
    slots,
    tables_of,
)

ROOT = Path(__file__).parents[2]
CSV = ROOT.parent / "shared" / "data" / "mbconv_imagenet.csv"
MNASNET = BackboneSpace.load(ROOT / "search_spaces" / "mnasnet_imagenet.yaml")
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(of=slots() | detector_slots(), workload=WORKLOADS, seed=st.integers(0, 99))
@settings(SLOW, max_examples=80)
def test_a_population_costs_what_its_networks_do(of, workload, seed):
    tables = tables_of(of, workload)
    rows = tables.uniform(30, np.random.default_rng(seed))
    population = tables.cost(rows)
    expected = one_by_one([network(of, row) for row in rows], workload)
    for name in COUNTED:
        assert getattr(population, name).tolist() == expected[name].tolist(), name
    assert population.latency is None


@given(of=slots() | detector_slots(), workload=WORKLOADS)
@settings(SLOW, max_examples=20)
def test_networks_without_slots_are_a_population_too(of, workload):
    networks = [network(of, row) for row in every_row(of)[:20]]
    population = of_list(networks, workload).cost(np.arange(len(networks))[:, None])
    for name, expected in one_by_one(networks, workload).items():
        assert getattr(population, name).tolist() == expected.tolist(), name


def test_states_are_what_parts_behind_depend_on():
    shapes = [level.after.shape for level in tables_of(DETECTORS, Workload()).levels]
    # One state up to the second stage; behind it its 2 widths, which the neck takes; behind the
    # third their 2 x 2 combinations, each with 8 necks and 2 heads.
    assert shapes == [(1, 1), (1, 1), (1, 4), (1, 8), (2, 8), (4, 16)]


def test_rows_are_the_networks_in_the_order_of_points():
    space = BackboneSpace.from_plain(
        {
            "head": {"width": [8, 16]},
            "resolution": [8, 16, 24],
            "stages": [{"block": ["mbconv", "identity"], "width": 8, "kernel": [3, 5]}],
        }
    )
    (rows,) = space.tables().every()
    assert rows.shape == (18, len(space.slots))  # 2 * 3 * (2 mbconvs + 1 identity)
    assert [space.encode(space.at(row)) for row in rows] == list(space.points())
    assert [space.row(space.at(row)) for row in rows] == [tuple(row) for row in rows.tolist()]


def test_efficientnet_b0_among_others():
    rows = MNASNET.tables().uniform(9_999, np.random.default_rng(0))  # more than one chunk
    rows = np.concatenate([rows, [MNASNET.row(published("efficientnet_b0"))]])
    found = MNASNET.tables().cost(rows)
    # fvcore's count, and torchvision's number of parameters
    assert (found.flops[-1], found.params[-1]) == (385_814_752, 5_288_548)
    for number in range(0, 9_999, 500):
        alone = cost(MNASNET.at(rows[number]))
        assert {name: getattr(found, name)[number] for name in COUNTED} == alone.known()


def test_parameters_of_every_network_that_accel_nasbench_trained():
    if not CSV.is_file():
        pytest.skip("../shared/data/mbconv_imagenet.csv is not here")
    with CSV.open(newline="") as file:
        lines = list(csv.DictReader(file))
    choices = [{name: float(line[name]) for name in MNASNET.parameters} for line in lines]
    rows = np.array([MNASNET.row(MNASNET.decode(one)) for one in choices])
    found = MNASNET.tables().cost(rows).params
    assert len(lines) == 4100
    assert found.tolist() == [round(float(line["params_millions"]) * 1e6) for line in lines]


def test_a_population_of_nobody():
    found = MNASNET.tables().cost(np.empty((0, len(MNASNET.slots)), int))
    assert found.flops.shape == (0,)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([1, 2], "an array of int64 [2] is not a population"),
        ([[0, 1]], "allowed: whole numbers [n, 18]"),
        (np.zeros((1, 18)), "an array of float64 [1, 18] is not a population"),
        ([[0] * 6 + [36] + [0] * 11], "a position in slot 6 is not one of its 36 values"),
        ([[0] * 6 + [-1] + [0] * 11], "allowed: 0 to 35"),
    ],
)
def test_rows_that_are_none_of_the_space(rows, said):
    with pytest.raises(UserError) as error:
        MNASNET.tables().cost(np.asarray(rows))
    assert said in str(error.value)


def test_costs_that_int64_does_not_hold():
    classifier = {"stages": [{"width": 16}], "resolution": [224, 500]}
    for fields, batch in (({"resolution": [224, 10**9]}, 1), ({}, 10**13)):
        space = BackboneSpace.from_plain(classifier | fields)
        with pytest.raises(UserError, match=r"cost more than 2\^63"):
            space.tables(Workload(training_batch=batch))
    huge = DETECTORS | {"resolution": (2**20,), "neck": (Neck(width=2**24, max_level=5),)}
    with pytest.raises(UserError, match=r"cost more than 2\^63"):
        tables_of(huge, Workload(training_batch=2**16))


def test_a_table_that_would_take_minutes():
    necks = tuple(Neck(width=width, max_level=5) for width in range(1, 1002))
    with pytest.raises(UserError, match="2,002 choices behind 4,000 states are too many") as error:
        tables_of(DETECTORS | {"neck": necks, "resolution": tuple(range(32, 1032))}, Workload())
    assert error.value.key == "neck"
