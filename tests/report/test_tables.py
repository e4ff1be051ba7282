"""Tables of results against numbers from the papers and by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.report import tables

NONE = "\N{EN DASH}"


def side(text):
    return int(text.split()[0])


def test_stages_of_efficientnet_b0_as_in_table_1_of_the_paper():
    rows = tables.stages(published("efficientnet_b0")).rows
    # The paper prints each stage's input; its output is the next one's input.
    assert [side(row[2]) for row in rows] == [112, 112, 56, 28, 14, 14, 7, 7, 7]
    assert [row[3] for row in rows] == [
        *("32", "16", "24", "40", "80", "112", "192", "320", "1280"),
    ]
    assert [row[4] for row in rows] == ["1", "1", "2", "2", "3", "3", "4", "1", "1"]
    kernels = [row[1].split()[1] for row in rows[:-1]]
    assert kernels == ["k3", "k3", "k3", "k5", "k3", "k5", "k5", "k3"]
    shares = [float(row[-1].removesuffix(" %")) for row in rows]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    # The stem: 3 * 32 * 9 weights at 112 * 112 places are 10.838 M of 385.815 M.
    assert rows[0][-1] == "2.8 %"


def test_an_identity_stage_has_no_numbers_of_its_own():
    stages = (Stage(width=16, stride=2), Stage(block="identity", width=16))
    rows = tables.stages(Backbone(stages=stages, resolution=32)).rows
    assert rows[2][:3] == ["stage2", "identity s1", "8 \N{MULTIPLICATION SIGN} 8"]
    assert rows[2][4:] == ["1", "0", "0.0 %"]


def test_stages_of_resnet_50_as_in_table_1_of_he_et_al():
    rows = tables.stages(published("resnet50")).rows
    assert [side(row[2]) for row in rows] == [56, 56, 28, 14, 7, 7]
    assert [row[3] for row in rows] == ["64", "256", "512", "1024", "2048", "2048"]
    assert rows[0][1] == "conv k7 s2, max_pool k3 s2"
    assert rows[1][1] == "bottleneck k3 s1 r4"
    # 2048 * 1000 weights and 1000 biases.
    assert rows[-1][-2] == "2.0 M"


def test_costs_are_rounded_and_exact(small):
    rows = tables.costs(small.baseline_row()).rows
    assert rows[0] == ["FLOPs", "2.9 M", "2,900,000 multiply-adds"]
    assert rows[-1] == ["training memory", "128.0 MiB", "134,217,728 bytes"]
    assert len(rows) == 6


def test_front_is_best_first_with_the_baseline_marked(small):
    table = tables.front(small)
    assert [row[0] for row in table.rows] == ["5", "2", "6", "0"]
    assert table.rows[0] == ["5", "95.00 %", "2.9 M", "58.0 k"]
    assert table.marked == {0}


def test_triples_with_their_growth(small):
    table = tables.coefficients(small)
    # 1.2 * 1.1^2 * 1.15^2 = 1.92027
    assert table.rows[0] == ["1", "1.2", "1.1", "1.15", "1.920", "95.50 %", "5.6 M"]
    assert [row[0] for row in table.rows] == ["1", "2", "3", "4", "5"]
    assert table.marked == {0}
    assert tables.coefficients(replace(small, coefficients=None)).marked == frozenset()


def test_members_stand_below_the_compound_member_they_rival(small):
    table = tables.family(small)
    assert [(row[0], row[1], row[4]) for row in table.rows] == [
        ("compound", "0", "100.0 %"),
        ("compound", "1", "100.0 %"),
        ("depth", "1.1", "100.0 %"),
        ("width", "1", "99.0 %"),
        ("compound", "2", "100.0 %"),
        ("depth", "2.2", "105.0 %"),
    ]
    assert table.marked == {0, 1, 4}


def test_a_member_without_cost_or_score_is_listed_last(small):
    trials = small.trials.copy()
    lost = (trials["strategy"] == "depth") & (trials["phi"] == 1.1)
    trials.loc[lost, ["flops", "accuracy", "params", "training_bytes"]] = float("nan")
    trials.loc[lost, "state"] = "failed"
    last = tables.family(replace(small, trials=trials)).rows[-1]
    assert last == ["depth", "1.1", NONE, NONE, NONE, NONE, NONE, "failed"]


def test_without_a_compound_member_nothing_is_compared(small):
    trials = small.trials[small.trials["strategy"] != "compound"]
    assert {row[4] for row in tables.family(replace(small, trials=trials)).rows} == {NONE}


def test_every_row_is_as_long_as_its_head(small):
    found = [tables.costs(small.baseline_row()), tables.stages(small.baseline)]
    found += [make(small) for make in (tables.front, tables.coefficients, tables.family)]
    for table in found:
        assert {len(row) for row in table.rows} == {len(table.head)}


def test_latency_stands_in_the_tables_where_it_was_measured(small):
    trials = small.trials.assign(latency=0.0123456)
    timed = replace(small, trials=trials)
    row = trials[trials["number"] == 5].iloc[0]
    assert tables.costs(row).rows[-1] == ["latency", "12.3 ms", "0.012346 seconds"]
    members = tables.family(timed)
    assert members.head[-2:] == ["latency", "state"]
    assert all(row[-2] == "12.3 ms" for row in members.rows)
    assert members.words == {0, 8}
    assert "latency" not in tables.family(small).head
