"""Agreement of predictions: by hand, and against pandas."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scalesearch.history.agreement import Agreement, agreement


def test_by_hand():
    # Ranks 1 2 3 4 against 1 3 2 4: 1 - 6 * (1 + 1) / (4 * 15) = 0.8. Errors 0, 1, 1, 2: mean 1.
    found = agreement([(1.0, 1.0), (2.0, 3.0), (3.0, 2.0), (4.0, 6.0)])
    assert (found.count, found.rank, found.error) == (4, pytest.approx(0.8), 1.0)


def test_the_other_way_round():
    assert agreement([(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]).rank == pytest.approx(-1)


TIMES = st.sampled_from([0.001, 0.002, 0.003, 0.004, 0.01, 0.5])


@given(st.lists(st.tuples(TIMES, TIMES), min_size=2, max_size=30))
def test_ties_are_as_in_pandas(pairs):
    frame = pd.DataFrame(pairs)
    assume(frame.nunique().min() > 1)
    expected = frame.rank().corr(method="pearson").iloc[0, 1]
    assert agreement(pairs).rank == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("pairs", [[], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 3.0)]])
def test_too_little_says_nothing(pairs):
    assert agreement(pairs) is None


def test_in_words():
    assert str(Agreement(24, 0.96789, 0.00041)) == (
        "Spearman's rank correlation 0.968 (n = 24), mean absolute error 0.41 ms"
    )
