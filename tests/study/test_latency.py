"""A study's latency table: what fits, and what is told where it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scalesearch.arch.published import published
from scalesearch.arch.walk import walk
from scalesearch.cost.cost import Cost, Deployment
from scalesearch.cost.counts import block_counts
from scalesearch.cost.latency_estimate import estimator
from scalesearch.cost.latency_table import LatencyTable, entry_name
from scalesearch.errors import UserError
from scalesearch.files.architecture import save_architecture
from scalesearch.history.trials import Trial
from scalesearch.scaling.family import members
from scalesearch.spaces.covering import entries_of
from scalesearch.study.inputs import budget_measure, grid_of
from scalesearch.study.latency import (
    agreement_of,
    fitting_table,
    load_table,
    save_table,
)
from scalesearch.study.load import load_study
from tests.fakes import STUDY, write_study
from tests.pool import space

SPACE = space()
ENTRIES = {entry: [0.001] for entry in entries_of(SPACE.slots)}
TABLE = LatencyTable(deployment=Deployment(), machine="a CPU", torch="2.14", entries=ENTRIES)


@pytest.fixture
def study(tmp_path):
    """A study with a table of 1 ms for each block: its networks take 3 to 4 ms."""

    def read(table=TABLE, most="10ms", named=True, **latency):
        save_table(tmp_path / "table.json", table)
        search = STUDY["search"] | {"limits": {"latency": {"max": most}}}
        section = ({"table": "table.json"} if named else {}) | latency
        return load_study(write_study(tmp_path, search=search, latency=section))

    return read


def test_a_table_that_fits_is_read(study):
    assert fitting_table(study(), SPACE).seconds == TABLE.seconds


def test_a_study_without_a_table_has_none(study):
    assert fitting_table(study(named=False), SPACE) is None


def test_another_deployment_is_told(study):
    given = study(batch=4)
    with pytest.raises(UserError) as told:
        fitting_table(given, SPACE)
    assert str(told.value) == (
        "latency.table: the table was measured for cpu, batch 1, 1 thread, the study measures "
        "cpu, batch 4, 1 thread\n"
        "  measure another table with `scalesearch profile --space`, or change the section"
    )


def test_missing_blocks_are_told(study):
    less = dict(list(ENTRIES.items())[:-2])
    with pytest.raises(UserError) as told:
        fitting_table(study(replace(TABLE, entries=less)), SPACE)
    first = list(ENTRIES)[-2]
    assert f"latency.table: the table lacks 2 of the space's blocks, such as {first!r}" in str(
        told.value
    )
    assert "--in-channels" in told.value.hint


def test_images_of_another_kind_are_other_blocks(study):
    with pytest.raises(UserError, match="such as 'stem k3 s1, 3 to 4 channels of 8 x 8, silu'"):
        fitting_table(study(), SPACE.with_images(in_channels=3, num_classes=10))


def test_a_limit_that_nothing_is_predicted_to_meet_is_told(study):
    # The fastest has a stem, one block and a head: 3 ms.
    assert fitting_table(study(most="3ms"), SPACE)
    given = study(most="2.5ms")
    with pytest.raises(UserError) as told:
        fitting_table(given, SPACE)
    assert str(told.value) == (
        "search.limits.latency: nothing in the space is predicted to meet the limit of 2.50 ms: "
        "the fastest network takes 3.00 ms\n"
        "  loosen the limit, or give the space smaller choices"
    )


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"entries": {}}', "\x80"])
def test_a_file_that_is_no_table_is_told(tmp_path, text):
    (tmp_path / "t.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"t\.json: this is (not a|no) latency table"):
        load_table(tmp_path / "t.json")


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match=r"t\.json: cannot be read: No such file"):
        load_table(tmp_path / "t.json")


def trial(number, predicted, measured, **more):
    cost = Cost(1, 1, 1, 1, 1, 1, latency=measured)
    fields = {"state": "assessed", "parameters": {}, "digest": "d", "cost": cost} | more
    return Trial(number=number, predicted_latency=predicted, **fields)


def test_networks_with_both_count_once():
    trials = [
        trial(0, 1.0, 1.1),
        trial(1, 2.0, None, state="infeasible"),
        trial(2, 1.0, 1.1, state="reused", source=0),
        trial(3, 3.0, 3.3, state="infeasible"),
        trial(4, None, 2.0),
    ]
    agreement = agreement_of(trials)
    assert (agreement.count, agreement.rank) == (2, pytest.approx(1))
    assert agreement.error == pytest.approx((0.1 + 0.3) / 2)
    assert agreement_of(trials[:1]) is None


def test_a_budget_of_latency_doubles_what_the_table_predicts(tmp_path):
    """Every triple's network takes twice the baseline's seconds, by a table of its own blocks."""
    net = published("efficientnet_b0", in_channels=1, num_classes=10, resolution=64)
    entries = {
        entry_name(part.args): [1e-6 + 2e-9 * block_counts(part.rule, part.args).activations]
        for part in walk(net)
    }
    table = LatencyTable(deployment=Deployment(), machine="m", torch="t", entries=entries)
    save_table(tmp_path / "table.json", table)
    save_architecture(tmp_path / "net.yaml", net)
    study = load_study(
        write_study(
            tmp_path,
            without=("search",),
            baseline="net.yaml",
            latency={"table": "table.json"},
            grid={"step": 0.2, "tolerance": 0.3, "budget": {"latency": 2.0}},
            family={"phi": [1], "strategies": ["compound", "fast_compound"]},
        )
    )
    estimate = estimator(table)
    grid = grid_of(study, net)
    assert grid.networks > 3
    for point in grid.space.points():
        ratio = estimate(grid.space.decode(point)) / estimate(net)
        assert ratio == pytest.approx(2, rel=0.02), point
    c = grid.space.coefficients(next(iter(grid.space.points())))
    assert (c.budget, c.budget_cost) == (2.0, "latency")
    measure = budget_measure(study, "latency", study.family.evaluator)
    for member in members(net, c, [1], ["compound", "fast_compound"], measure):
        assert estimate(member.architecture) / estimate(net) == pytest.approx(2, rel=0.04)
