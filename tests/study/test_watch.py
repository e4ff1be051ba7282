from __future__ import annotations

import re
from dataclasses import replace

import pytest

from scalesearch.cost.cost import Cost
from scalesearch.history.jobs import Score
from scalesearch.history.trials import Trial
from scalesearch.study.watch import Log, Watches, describe, summarise

DONE = Trial(
    number=7,
    state="assessed",
    parameters={},
    digest="d",
    cost=Cost(1_210_000, 2, 3, 4, 5, 6),
    scores={"accuracy": 0.9412},
    seconds=4.2,
)


@pytest.mark.parametrize(
    ("trial", "text"),
    [
        (DONE, "trial 7 assessed: accuracy 0.9412, 1.2 M flops, 4.2 s"),
        (
            replace(DONE, state="reused", source=3, seconds=0.0),
            "trial 7 reused of trial 3: accuracy 0.9412, 1.2 M flops",
        ),
        (
            replace(DONE, cost=replace(DONE.cost, latency=0.0123)),
            "trial 7 assessed: accuracy 0.9412, 1.2 M flops, latency 12.3 ms, 4.2 s",
        ),
        (replace(DONE, state="running"), "trial 7 running: 1.2 M flops"),
        (replace(DONE, state="failed", reason="error: NaN"), "trial 7 failed: error: NaN"),
        (replace(DONE, state="infeasible", reason="over"), "trial 7 infeasible: over"),
    ],
)
def test_one_line_on_a_trial(trial, text):
    assert describe(trial) == text


def test_a_summary_counts_states():
    counts = {"infeasible": 31, "assessed": 24, "reused": 2, "failed": 0}
    assert summarise(counts) == "24 assessed, 2 reused, 31 infeasible"
    assert summarise({}) == "no trials"


def test_the_log_is_lines_with_their_time(tmp_path):
    log = Log(tmp_path / "log.txt")
    log.phase("search", 24, 3)
    log.trial(DONE)
    log.trial(replace(DONE, state="infeasible", reason="over"))
    log.trial(
        replace(DONE, state="infeasible", reason="slow", cost=replace(DONE.cost, latency=1.0))
    )
    log.score(DONE, Score(2, {"accuracy": 0.5, "loss": 1.25}))
    log.end({"assessed": 24})
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    assert [line[20:] for line in lines] == [
        "search: 24 trials to assess, 3 there already",
        "trial 7 assessed: accuracy 0.9412, 1.2 M flops, 4.2 s",
        "trial 7 infeasible: slow",
        "trial 7 step 2: accuracy 0.5000, loss 1.2500",
        "24 assessed",
    ]


def test_watches_tell_each(tmp_path):
    logs = [Log(tmp_path / name) for name in "ab"]
    both = Watches(logs)
    both.phase("grid", 4, 0)
    both.trial(DONE)
    both.score(DONE, Score(1, {"accuracy": 0.5}))
    both.note("a sentence")
    both.end({"assessed": 4})
    texts = [re.sub(r"^.{20}", "", log.path.read_text(), flags=re.MULTILINE) for log in logs]
    assert texts[0] == texts[1]
    assert len(texts[0].splitlines()) == 5
