"""docs/reproduction.md: current, and within the stated tolerance of what others print and count."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from docs.tools import paper_accuracy, paper_costs
from docs.tools.papers import PAPERS, SCALED
from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.units import parse_count

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
ROWS = [row for study in (*SCALED, "wide_resnet_grid") for row in paper_costs.rows(study)]
# Ours to printed. Those of Table 7 are not what the multipliers give: see the page.
RANGES = {"efficientnet_figure8": (0.80, 1.01), "wide_resnet_grid": (0.93, 1.03)}
OTHERS = (0.89, 1.10)


def test_the_page_is_current():
    assert paper_costs.fill(PAGE) == PAGE, "run `make paper-costs`"


def test_every_study_has_its_table():
    named = re.findall(r"<!-- costs of (\w+) -->", PAGE)
    assert sorted(named) == sorted(path.stem for path in (ROOT / "studies/paper").glob("*.yaml"))
    assert len(set(named)) == len(named)


def test_counts_are_those_of_public_implementations():
    """Within half of the last digit, or a hundredth where a row's page says why."""
    for row in ROWS:
        if row.counted:
            digits, unit = row.counted[:-1], parse_count(f"1{row.counted[-1]}")
            last = 10.0 ** -len(digits.partition(".")[2])
            near = abs(row.flops / unit - float(digits)) <= 0.51 * last
            stem = (row.study, row.scaled) == ("table3_resnet50", "width 2")
            assert near or (stem and row.flops / unit == pytest.approx(15.9, rel=0.02)), row


def test_ratios_to_printed_numbers():
    for row in ROWS:
        if row.ratio is not None:
            least, most = RANGES.get(row.study, OTHERS)
            assert least <= row.ratio <= most, row
    assert sum(row.ratio is not None for row in ROWS) == 5 + 4 + 4 + 4 + 10


def test_every_printed_number_has_its_row():
    for study, scaled in SCALED.items():
        assert set(scaled.rows) <= {row.scaled for row in ROWS if row.study == study}
    assert [row.scaled for row in paper_costs.rows("wide_resnet_grid")] == [
        f"`{name}`" for name in PAPERS["wide_resnet"].rows
    ]


def test_multipliers_by_hand():
    """Twice the side of MobileNetV2: four times all but the classifier's 1280 * 1000."""
    (row,) = [r for r in ROWS if (r.study, r.scaled) == ("table3_mobilenet_v2", "resolution 2")]
    base = cost(published("mobilenet_v2"))
    assert row.flops == 4 * (base.flops - 1_280_000) + 1_280_000
    assert row.params == base.params


def test_the_law_of_activations():
    """Dollar et al. 2021: s^.83, s^.6, s^.5, s, s at s = 4, of a network without a costly stem."""
    every = {(row.network, row.strategy): row for row in paper_costs.law_rows()}
    printed = {"compound": 3.17, "fast_compound": 2.30, "width": 2, "depth": 4, "resolution": 4}
    for (network, strategy), row in every.items():
        assert row.law == pytest.approx(printed[strategy], abs=0.02)
        assert row.flops == pytest.approx(4, rel=0.02)
        assert row.activations / row.law == pytest.approx(1, abs=0.17), (network, strategy)


def test_the_csv_has_exact_counts():
    read = list(csv.DictReader(io.StringIO(paper_costs.write_csv(ROWS))))
    assert len(read) == len(ROWS)
    (wide,) = [row for row in read if row["scaled"] == "`wrn_28_10`"]
    assert wide["params"] == f"{cost(published('wrn_28_10')).params}"
    assert wide["ratio"] == f"{int(wide['params']) / 36.5e6:.4f}"


def test_accuracy_of_a_run(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        paper_accuracy.accuracies(tmp_path)
    rows = {"phase": ["family"] * 2, "strategy": ["by_width", "d2_r1.3"], "phi": [0.0, 1.5]}
    rows |= {"accuracy": [0.7, 0.75], "accuracy_spread": [0.01, 0.03]}
    pd.DataFrame(rows | {"flops": [1000, 3000], "params": [10, 20]}).to_csv(tmp_path / "trials.csv")
    study = {"family": {"evaluator": {"seeds": 3}}}
    (tmp_path / "resolved.yaml").write_text(yaml.safe_dump(study))
    # Pooled: sqrt((1^2 + 3^2) / 2) = 2.236 points; Student's t of 4 degrees of freedom is 2.776;
    # 2.776 * 2.236 / sqrt(3) = 3.58.
    lines = paper_accuracy.accuracies(tmp_path).strip().splitlines()
    assert lines[-2:] == [
        "| by width | 0.00 | 1.0 k | 10 | 70.0 | 1.0 | ± 3.6 |",
        "| d2 r1.3 | 1.50 | 3.0 k | 20 | 75.0 | 3.0 | ± 3.6 |",
    ]
    pd.DataFrame({"phase": ["family"]}).to_csv(tmp_path / "trials.csv")
    with pytest.raises(UserError, match="no member of a family has a spread over seeds"):
        paper_accuracy.accuracies(tmp_path)
