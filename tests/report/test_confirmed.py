"""What the page says of how sure the baseline is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scalesearch.cost.cost import Cost
from scalesearch.history.confirmed import confirmed
from scalesearch.history.trials import Trial
from scalesearch.report import tables
from scalesearch.report.numbers import NONE
from scalesearch.report.sections import Drawn, facts, sections


def trial(number, value, flops, **parameters):
    return Trial(
        number=number,
        state="failed" if value is None else "assessed",
        parameters=parameters,
        digest=f"{flops}",
        cost=Cost(*[flops] * 6),
        objective=() if value is None else (value,),
        scores={} if value is None else {"accuracy": value},
    )


@pytest.fixture
def repeated(small):
    """Trials 5, 2 and 4 of the small search, trained three times each."""

    def make(**values):
        search = [trial(5, 0.95, 2_900_000), trial(2, 0.94, 2_000_000), trial(4, 0.92, 2_500_000)]
        flops = {t.number: t.cost.flops for t in search}
        own = {5: (0.94, 0.95, 0.96), 2: (0.935, 0.945, 0.95), 4: (0.90, 0.91, 0.92)}
        own |= {int(name[1:]): each for name, each in values.items()}
        every = [(number, value) for number in own for value in own[number]]
        confirm = [
            trial(n, value, flops[number], candidate=number, repeat=1)
            for n, (number, value) in enumerate(every)
        ]
        found = confirmed({"search": search, "confirm": confirm})
        return replace(small, confirmation=found)

    return make


def baseline(contents):
    return next(s for s in sections(contents, Drawn()) if s.title == "Baseline")


def test_the_table_has_every_candidate(repeated):
    """Sums of squares 2e-4, 1.17e-4 and 2e-4 over 6 degrees: an error of 0.54 % each."""
    table = tables.candidates(repeated())
    assert [row[:5] for row in table.rows] == [
        ["5", "95.00 %", "95.00 % ± 0.54 %", "3", "2.9 M"],
        ["2", "94.00 %", "94.33 % ± 0.54 %", "3", "2.0 M"],
        ["4", "92.00 %", "91.00 % ± 0.54 %", "3", "2.5 M"],
    ]
    assert table.rows[2][5] == "below 1 %"
    assert table.marked == {0}
    assert "objective" not in table.note


def test_the_alternative_is_named(repeated):
    text = " ".join(baseline(repeated()).text)
    assert text.startswith("It is trial 5 of the search. Probability ")
    assert "of being the best of 3 candidates, by 3 trainings of it." in text
    other = "trial 2 has the fewest FLOPs: 2.0 M, of the baseline's 2.9 M; probability "
    assert f"Of the others within one standard error of the difference, {other}" in text


def test_no_candidate_is_near(repeated):
    text = baseline(repeated(_2=(0.90, 0.91, 0.92))).text
    assert text[-1] == "No other candidate is within one standard error of the difference."


def test_too_few_results_are_said(repeated):
    table = tables.candidates(repeated(_4=(0.99, None, None)))
    assert table.rows[2][2:] == ["99.00 %", "1, 2 failed", "2.5 M", f"{NONE} (1 result)"]
    none = tables.candidates(repeated(_4=(None, None, None)))
    assert none.rows[2][2:] == [NONE, "0, 3 failed", "2.5 M", f"{NONE} (0 results)"]
    few = repeated(_5=(0.9, None), _2=(0.8, None), _4=(None, None))
    assert baseline(few).text[1].startswith("No probability known: 1 training of the baseline")


def test_values_of_a_reward_are_no_percentages(repeated):
    contents = repeated()
    trials = contents.trials.assign(objective=contents.trials["objective"] * 2)
    weighed = replace(contents, trials=trials, objective="accuracy * (flops / 2) ^ -0.07")
    table = tables.candidates(weighed)
    assert table.rows[0][1:3] == ["0.95", "0.95 ± 0.005358"]
    assert table.note.startswith("Values are of the objective, accuracy * (flops / 2) ^ -0.07.")


def test_the_headline_is_the_mean(repeated):
    first = facts(repeated(_5=(0.95, 0.96, 0.97)))[0]
    assert (first.value, first.detail) == ("96.00 %", "trial 5, mean of 3 trainings")


def test_without_it_the_page_says_that_nothing_is_known(small):
    doubt = "one training of each network, no probability known"
    section = baseline(replace(small, doubt=doubt))
    assert section.text == ["It is trial 5 of the search.", f"O{doubt[1:]}."]
    assert tables.candidates(small).rows == []
    assert baseline(small).text == ["It is trial 5 of the search."]
