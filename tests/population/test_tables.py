"""A population costs what each of its networks costs alone, to the last unit."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import COUNTED, Workload
from scalesearch.errors import UserError
from scalesearch.population.space_tables import of_list, of_slots
from scalesearch.spaces.backbone import BackboneSpace
from tests.populations import WORKLOADS, backbone, every_row, network, one_by_one, slots

ROOT = Path(__file__).parents[2]
CSV = ROOT.parent / "shared" / "data" / "mbconv_imagenet.csv"
MNASNET = BackboneSpace.load(ROOT / "search_spaces" / "mnasnet_imagenet.yaml")
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(of=slots(), workload=WORKLOADS, data=st.data())
@settings(SLOW, max_examples=60)
def test_a_population_costs_what_its_networks_do(of, workload, data):
    rows = every_row(of)
    if len(rows) > 40:
        few = st.lists(st.integers(0, len(rows) - 1), min_size=40, max_size=40, unique=True)
        rows = rows[data.draw(few)]
    found = of_slots(of, backbone, workload).cost(rows)
    expected = one_by_one([network(of, row) for row in rows], workload)
    for name in COUNTED:
        assert getattr(found, name).tolist() == expected[name].tolist(), name
    assert found.latency is None


@given(of=slots(), workload=WORKLOADS)
@settings(SLOW, max_examples=20)
def test_networks_without_slots_are_a_population_too(of, workload):
    networks = [network(of, row) for row in every_row(of)[:30]]
    found = of_list(networks, workload).cost(np.arange(len(networks))[:, None])
    for name, expected in one_by_one(networks, workload).items():
        assert getattr(found, name).tolist() == expected.tolist(), name


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


@pytest.mark.parametrize(
    ("fields", "batch"), [({"resolution": [224, 10**9]}, 1), ({"resolution": [224, 500]}, 10**13)]
)
def test_costs_that_int64_does_not_hold(fields, batch):
    space = BackboneSpace.from_plain({"stages": [{"width": 16}], **fields})
    with pytest.raises(UserError, match=r"cost more than 2\^63"):
        space.tables(Workload(training_batch=batch))
