"""Tables of results against numbers from the papers and by hand."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.cost.limits import Limit
from scalesearch.report import tables
from scalesearch.report.contents import Contents
from scalesearch.scaling.family import Member
from tests.report.conftest import rankings

NONE = "\N{EN DASH}"


def parts(net):
    return tables.stages(Contents(name="one", trials=pd.DataFrame()), net)


def side(text):
    return int(text.split()[0])


def test_stages_of_efficientnet_b0_as_in_table_1_of_the_paper():
    rows = parts(published("efficientnet_b0")).rows
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
    rows = parts(Backbone(stages=stages, resolution=32)).rows
    assert rows[2][:3] == ["stage2", "identity s1", "8 \N{MULTIPLICATION SIGN} 8"]
    assert rows[2][4:] == ["1", "0", "0.0 %"]


def test_stages_of_resnet_50_as_in_table_1_of_he_et_al():
    rows = parts(published("resnet50")).rows
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


def test_triples_that_share_a_network_are_ranked_once(small):
    trials = small.trials.copy()
    trials.loc[(trials["phase"] == "grid") & (trials["number"] == 4), "state"] = "reused"
    table = tables.coefficients(replace(small, trials=trials, rankings=rankings(trials)))
    assert table.caption == "The best 4 of 4 triples"
    assert table.note.endswith("1 more has the network of one of these.")


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
    trials.loc[lost, ["flops", "accuracy", "params", "activations", "training_bytes"]] = float(
        "nan"
    )
    trials.loc[lost, "state"] = "failed"
    last = tables.family(replace(small, trials=trials)).rows[-1]
    assert last == ["depth", "1.1", *[NONE] * 7, "failed"]


def test_without_a_compound_member_nothing_is_compared(small):
    trials = small.trials[small.trials["strategy"] != "compound"]
    table = tables.family(replace(small, trials=trials))
    assert "of compound" not in table.head
    assert "compound" not in table.note
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert all(table.head[column] in ("strategy", "state") for column in table.words)


def test_every_row_is_as_long_as_its_head(small):
    every = [tables.costs(small.baseline_row()), tables.stages(small, small.baseline)]
    every += [make(small) for make in (tables.front, tables.coefficients, tables.family)]
    for table in every:
        assert {len(row) for row in table.rows} == {len(table.head)}


def test_latency_stands_in_the_tables_where_it_was_measured(small):
    trials = small.trials.assign(latency=0.0123456)
    timed = replace(small, trials=trials)
    row = trials[trials["number"] == 5].iloc[0]
    assert tables.costs(row).rows[-1] == ["latency", "12.3 ms", "0.012346 seconds"]
    members = tables.family(timed)
    assert members.head[-3:] == ["latency", "time", "state"]
    assert all(row[-3] == "12.3 ms" for row in members.rows)
    assert members.words == {0, 10}
    assert "latency" not in tables.family(small).head


def test_members_of_efficientdet_as_in_table_1_of_the_paper(detectors):
    family = [
        Member("compound", float(n), published(f"efficientdet_d{n}", num_classes=10))
        for n in range(4)
    ]
    table = tables.detector_sizes(replace(detectors, members=family))
    # Input, BiFPN channels, BiFPN layers, head layers.
    assert [[row[2], *row[5:]] for row in table.rows] == [
        ["512", "64", "3", "3"],
        ["640", "88", "4", "3"],
        ["768", "112", "5", "3"],
        ["896", "160", "6", "4"],
    ]
    # B0 to B3 have 16, 23, 23 and 26 blocks, and B1 is as wide as B0.
    times = "\N{MULTIPLICATION SIGN}"
    assert [row[3] for row in table.rows] == [
        f"{times}{x}" for x in ("1.00", "1.44", "1.44", "1.62")
    ]
    assert [row[4] for row in table.rows][:2] == [f"{times}1.00"] * 2
    assert table.marked == {0, 1, 2, 3}


def test_members_beside_their_activations_and_time(small):
    table = tables.family(small)
    assert table.head[5:] == ["parameters", "activations", "training memory", "time", "state"]
    assert {row[8] for row in table.rows} == {"4.0 s"}


def test_effective_multipliers_of_efficientnet_b4_beside_its_nominal_ones(small):
    """B4 is B0 with depth 1.8, width 1.4 and 380 pixels: 32 blocks of 16, as depths round up."""
    nets = [Member("compound", float(n), published(f"efficientnet_b{n}")) for n in (0, 4)]
    table = tables.sizes(replace(small, baseline=published("efficientnet_b0"), members=nets))
    times = "\N{MULTIPLICATION SIGN}"
    assert table.rows[0] == ["compound", "0", *[f"{times}1.00"] * 3, "16", "224"]
    assert table.rows[1][2] == f"{times}2.00"
    # 24, 32, 56, 112, 160, 272, 448 of 16, 24, 40, 80, 112, 192, 320: mean of logarithms.
    assert table.rows[1][3] == f"{times}1.41"
    assert table.rows[1][4:] == [f"{times}1.70", "32", "380"]


def test_single_dimensions_are_named(detectors):
    table = tables.detector_sizes(detectors)
    assert table.rows[-1][:2] == ["neck width", "1"]
    assert table.rows[-1][5] == "88"
    assert table.marked == {0, 1}
    assert {len(row) for row in table.rows} == {len(table.head)}


def test_ap_by_size_has_only_what_was_scored(detectors, small):
    table = tables.precision(detectors)
    assert table.head == ["phase", "trial", "AP", "AP50", "AP75", "AP small", "AP medium"]
    assert table.rows[-1] == ["family", "1", "47.00", "77.00", "42.00", "23.50", "47.00"]
    assert [row[0] for row in table.rows] == ["search", "grid", "family"]
    large = detectors.trials.assign(ap_large=float("nan"))
    assert tables.precision(replace(detectors, trials=large)).head == table.head
    assert tables.precision(small).rows == []


def test_progress_counts_every_trial_once(small):
    rows = tables.progress(small).rows
    # search: 4 assessed, 1 reused, 2 infeasible, 1 stopped, 1 failed; 6 of them took 4 s.
    assert rows[0] == ["search", "9", "4", "1", "2", "1", "1", NONE, "24 s"]
    assert rows[1] == ["grid", "5", "5", *[NONE] * 5, "20 s"]
    assert rows[2][:3] == ["family", "6", "6"]


def test_limits_count_their_infeasible_trials(small):
    assert tables.limits(small).rows == [
        ["search", "FLOPs", "at most 3.0 M", "2"],
        ["search", "training memory", "at most 512.0 MiB", "0"],
    ]


def test_one_trial_may_violate_several_bounds(small):
    trials = small.trials.copy()
    trials.loc[trials["number"] == 7, "reason"] = "flops.max by 200 %, params.min by 5 %"
    limits = {"search": {"flops": Limit(max=3e6), "params": Limit(min=2e4)}}
    rows = tables.limits(replace(small, trials=trials, limits=limits)).rows
    assert [row[2:] for row in rows] == [["at most 3.0 M", "2"], ["at least 20.0 k", "1"]]


def test_without_reasons_the_count_stays_open(small):
    trials = small.trials.drop(columns="reason")
    assert tables.limits(replace(small, trials=trials)).rows[0][3] == NONE


def test_failures_keep_their_reason_word_for_word(small):
    table = tables.failures(small)
    assert table.rows == [
        ["search", "3", "error: loss is not a number <after> epoch 2 & 'later'"],
    ]
    assert table.note == ""


def test_a_missing_reason_is_said_to_be_missing(small):
    trials = small.trials.copy()
    trials.loc[trials["state"] == "failed", "reason"] = None
    rows = tables.failures(replace(small, trials=trials)).rows
    assert rows[0][2] == "no reason was recorded"


def test_hundreds_of_failures_are_cut_and_counted(small):
    failed = [{"phase": "grid", "number": i, "state": "failed", "reason": "x"} for i in range(100)]
    table = tables.failures(replace(small, trials=pd.DataFrame(failed)))
    assert (table.caption, len(table.rows)) == ("Failed trials (100: 100 error)", 40)
    assert table.note == "60 more are in trials.csv."


def test_nothing_recorded_gives_no_rows(empty):
    for make in (tables.progress, tables.limits, tables.failures):
        assert make(empty).rows == []


def test_a_predicted_latency_counts_for_the_limit_on_latency(small):
    trials = small.trials.copy()
    trials.loc[trials["number"] == 1, "reason"] = "over its limits: predicted_latency.max by 5.0%"
    trials.loc[trials["number"] == 7, "reason"] = "over its limits: latency.max by 5.0%"
    limits = {"search": {"latency": Limit(max=0.02)}}
    rows = tables.limits(replace(small, trials=trials, limits=limits)).rows
    assert rows == [["search", "latency", "at most 20.0 ms", "2"]]
