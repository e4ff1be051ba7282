from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from scalesearch.cli.progress import Bars, Lines, bars
from scalesearch.cost.cost import Cost
from scalesearch.history.jobs import Score
from scalesearch.history.trials import Trial

DONE = Trial(
    number=0,
    state="assessed",
    parameters={},
    digest="d",
    cost=Cost(1_000_000, 1, 1, 1, 1, 1),
    scores={"accuracy": 0.5},
    objective=(0.5,),
    seconds=2.0,
)
FAILED = replace(DONE, number=1, state="failed", reason="error: no", objective=(), scores={})
REUSED = replace(DONE, number=2, state="reused", source=0, seconds=0.0)
AGAIN = replace(FAILED, number=3, source=1)
INFEASIBLE = replace(DONE, number=4, state="infeasible", reason="over", objective=(), scores={})
BETTER = replace(DONE, number=5, objective=(0.75,), scores={"accuracy": 0.75})
SLOW = replace(INFEASIBLE, number=6, reason="slow", cost=replace(DONE.cost, latency=1.0))
ALL = (replace(DONE, state="running"), DONE, FAILED, REUSED, AGAIN, INFEASIBLE, BETTER, SLOW)


def test_lines_number_the_networks_that_were_tried(capsys):
    lines = Lines()
    lines.phase("search", 9, 2)
    for trial in ALL:
        lines.trial(trial)
    lines.score(DONE, Score(1, {"accuracy": 0.1}))
    lines.note("a note")
    lines.end({"assessed": 2, "failed": 2, "reused": 1, "infeasible": 1})
    assert capsys.readouterr().out.splitlines() == [
        "search: 7 of 9 trials to go",
        "search [3/9] trial 0 assessed: accuracy 0.5000, 1.0 M flops, 2.0 s",
        "search [4/9] trial 1 failed: error: no",
        "search [4/9] trial 2 reused of trial 0: accuracy 0.5000, 1.0 M flops",
        "search [4/9] trial 3 failed: error: no",
        "search [5/9] trial 5 assessed: accuracy 0.7500, 1.0 M flops, 2.0 s",
        "search [5/9] trial 6 infeasible: slow",
        "a note",
        "search: 2 assessed, 1 reused, 1 infeasible, 2 failed",
    ]


def test_a_bar_counts_networks_and_shows_the_best(monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160, highlight=False)
    with bars(on=console) as progress:
        watch = Bars(progress)
        watch.phase("search", 9, 2)
        for trial in ALL:
            watch.trial(trial)
        watch.score(DONE, Score(1, {"accuracy": 0.1}))
        task = progress.tasks[0]
        assert (task.completed, task.total) == (5, 9)
        assert (
            task.fields["news"]
            == "best accuracy 0.7500 (trial 5)  1 reused, 2 infeasible, 2 failed"
        )
        watch.end({"assessed": 5})
        assert task.finished, "a phase may need fewer trials than were planned"
        watch.phase("grid", 3, 0)
        watch.trial(DONE)
        assert progress.tasks[1].fields["news"] == "best accuracy 0.5000 (trial 0)"
    text = screen.getvalue()
    assert text.count("trial 1 failed: error: no") == 1
    assert "trial 3 failed" not in text, "printed once, not for each network that is equal"
