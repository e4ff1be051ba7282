from __future__ import annotations

from dataclasses import replace

from scalesearch.arch.published import published
from scalesearch.report import detector_tables
from scalesearch.scaling.family import Member


def test_members_of_efficientdet_as_in_table_1_of_the_paper(detectors):
    family = [
        Member("compound", float(n), published(f"efficientdet_d{n}", num_classes=10))
        for n in range(4)
    ]
    table = detector_tables.sizes(replace(detectors, members=family))
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


def test_single_dimensions_are_named_and_classifiers_have_no_such_table(detectors, small):
    table = detector_tables.sizes(detectors)
    assert table.rows[-1][:2] == ["neck width", "1"]
    assert table.rows[-1][5] == "88"
    assert table.marked == {0, 1}
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert detector_tables.sizes(small).rows == []


def test_ap_by_size_has_only_what_was_scored(detectors, small):
    table = detector_tables.by_size(detectors)
    assert table.head == ["phase", "trial", "AP", "AP50", "AP75", "AP small", "AP medium"]
    assert table.rows[-1] == ["family", "1", "47.00", "77.00", "42.00", "23.50", "47.00"]
    assert [row[0] for row in table.rows] == ["search", "grid", "family"]
    large = detectors.trials.assign(ap_large=float("nan"))
    assert detector_tables.by_size(replace(detectors, trials=large)).head == table.head
    assert detector_tables.by_size(small).rows == []
