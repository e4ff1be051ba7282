"""The phase `confirm`: the best networks of a search, each trained several times."""

from __future__ import annotations

from collections.abc import Sequence

from scalesearch import plugins
from scalesearch.history.confirmed import Confirmation, confirmed
from scalesearch.history.ranking import ranked, require_results
from scalesearch.history.trials import Trial
from scalesearch.interfaces import Evaluator, Space
from scalesearch.spaces.repeated import RepeatedSpace
from scalesearch.study.context import Context
from scalesearch.study.estimate import total_seconds
from scalesearch.units import format_seconds


def confirm(context: Context, space: Space, trials: Sequence[Trial]) -> Confirmation | None:
    """Trains the best of a search's networks several times each; None if the study does not ask.

    The candidates were within the limits of the search: they have none here.
    """
    search = context.study.search
    assert search is not None
    settings = search.confirm
    if settings is None:
        return None
    best = ranked(trials)[: settings.top]
    if len(best) < settings.top:
        context.watch.note(
            f"confirm: {len(best)} candidates instead of {settings.top}: the search assessed no "
            "more networks"
        )
    if "confirm" not in context.folder.read():  # that of a run without this phase is no more
        (context.folder.path / "baseline.yaml").unlink(missing_ok=True)
    networks = {trial.number: space.decode(trial.parameters) for trial in best}
    repeated = RepeatedSpace(networks=networks, repeats=settings.seeds)
    evaluator: Evaluator = settings.evaluator.make()
    every = [network for network in networks.values() for _ in range(settings.seeds)]
    seconds = total_seconds(context, every, evaluator, settings.schedule)
    about = "" if seconds is None else f", about {format_seconds(seconds)}"
    context.watch.note(f"confirm: {confirm_words(len(best), settings.seeds)}{about}")
    plan = context.plan(
        "confirm",
        repeated,
        plugins.load("samplers", "grid")(),
        evaluator,
        objective=search.objective,
        schedule=settings.schedule,
        keep_weights=True,
        repeats=True,
    )
    repeats = context.carry_out(plan, evaluator, every)
    require_results(repeats, "confirm")
    found = confirmed({"search": trials, "confirm": repeats})
    assert found is not None
    for candidate in found.candidates:
        if len(candidate.trainings) < 2:
            context.watch.note(
                f"confirm: trial {candidate.trial.number} of the search has no probability: "
                f"{len(candidate.trainings)} of {settings.seeds} trainings gave a result"
            )
    return found


def confirm_words(top: int, seeds: int) -> str:
    """How much the phase trains: `3 candidates, 3 trainings of each`."""
    return f"{top} candidate{'s' * (top > 1)}, {seeds} trainings of each"
