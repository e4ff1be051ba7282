"""Where triples lie in the triangle of growth."""

from __future__ import annotations

import pytest

from scalesearch.report.triangle import growth_shares


def test_growth_shares_of_the_paper():
    # ln 1.2 = .18232, 2 ln 1.1 = .19062, 2 ln 1.15 = .27952; their sum .65247 = ln 1.9204.
    shares = growth_shares(1.2, 1.1, 1.15)
    assert shares == pytest.approx((0.27943, 0.29215, 0.42842), abs=1e-4)
    assert growth_shares(2, 1, 1) == (1, 0, 0)
