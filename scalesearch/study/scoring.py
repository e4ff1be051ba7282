"""The last phase, `test`: reported networks, each scored once on images that no other phase sees.

Nothing is chosen by these scores. They are recorded as those of other phases are, so that a study
that is run again does not score a network twice.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from scalesearch import plugins
from scalesearch.arch.plain import digest
from scalesearch.contracts import name_of
from scalesearch.cost.cost import Workload
from scalesearch.errors import UserError
from scalesearch.files.write import add_comments
from scalesearch.history.fidelity import WHOLE_EPOCHS, Schedule
from scalesearch.history.jobs import Failure, Job, Score
from scalesearch.history.record import Record
from scalesearch.history.trials import Trial, overall
from scalesearch.interfaces import Evaluator, Parameters, Space, hook
from scalesearch.scaling.family import Member
from scalesearch.spaces.family import FamilySpace
from scalesearch.spaces.named import NamedSpace
from scalesearch.study.context import Context
from scalesearch.study.loop import Listener, Loop, Plan, require_same_networks
from scalesearch.study.results import Winner, winners

PHASE = "test"


@dataclass(frozen=True)
class Scorer:
    """Scores trained networks on test images, as an evaluator's `score` does."""

    evaluator: Any

    @property
    def workload(self) -> Workload:
        """What the memory of a candidate is counted for."""
        workload: Workload = self.evaluator.workload
        return workload

    def smaller(self) -> Scorer | None:
        """The same with less memory in a step; None if there is none."""
        inner = hook(self.evaluator, "smaller")()
        return None if inner is None else Scorer(inner)

    def fitted(self, architecture: Any) -> Scorer | None:
        """The same made for a network and the device of this process; None for itself."""
        inner = hook(self.evaluator, "fitted")(architecture)
        return None if inner is None else Scorer(inner)

    def evaluate(
        self,
        model: Any,
        architecture: Any,
        data: Any,
        seed: int,
        schedule: Schedule = WHOLE_EPOCHS,
    ) -> Generator[Score, None, None]:
        """Yields the scores on the test images, seen as large as at the end of the training."""
        more = {"schedule": schedule} if schedule else {}
        scores = self.evaluator.score(model, architecture, data, **more)
        if not isinstance(scores, Mapping):
            raise UserError(
                f"{name_of(self.evaluator)!r}: `score` returned a {type(scores).__name__}",
                allowed="{name: number, …}",
            )
        yield Score(1, scores)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The kept weights of a network: the trial that they are of, `family 3`, and their file."""

    name: str
    path: Path


class Scoring(Loop):
    """Hands out the networks that have weights and no test score of them, each with its weights.

    Args:
        plan: its space has all that are reported, also those whose training has failed.
        record: of the phase.
        listener: as of `Loop`.
        weights: of each network with a result, by its digest.
    """

    def __init__(
        self, plan: Plan, record: Record, listener: Listener, weights: Mapping[str, Weights]
    ) -> None:
        self._weights = weights
        super().__init__(plan, record, listener)

    def ask(self) -> Job | None:
        """The next network; one whose weights are gone has failed."""
        while (job := super().ask()) is not None:
            weights = self._weights[digest(job.architecture)]
            scored = self.record.trials[job.number].weights_of
            if scored != weights.name:
                why = f"the weights of {scored or 'another training'} are not reported any more"
            elif not weights.path.exists():
                why = f"its weights are missing: there is no {weights.path}"
            else:
                return replace(job, weights=weights.path.read_bytes())
            self.tell(job, Failure("error", why))
        return None

    @property
    def done(self) -> int:
        """How many networks were scored, or could not be, with the weights that are reported."""
        every = [self.record.trials[number] for number in self._jobs]
        return sum(self._is_current(trial) and trial.state != "running" for trial in every)

    def _require_same_networks(self, trials: Sequence[Trial]) -> None:
        # What was scored with weights of another network, or of another training, stays recorded.
        require_same_networks(self.plan, [trial for trial in trials if self._is_current(trial)])

    def _propose(self) -> Job | None:
        parameters = self._next()
        assert parameters is not None  # else it was enough
        self.record.take(parameters)
        weights = self._weights[digest(self.plan.space.decode(parameters))]
        return self._admit(parameters, weights.name)

    def _is_enough(self) -> bool:
        return self._next() is None

    def _next(self) -> Parameters | None:
        recorded = [
            trial.parameters for trial in self.record.trials.values() if self._is_current(trial)
        ]
        return next(
            (
                point
                for point in self.plan.space.points()
                if point not in recorded and digest(self.plan.space.decode(point)) in self._weights
            ),
            None,
        )

    def _identity(self, trial: Trial) -> str:
        return f"{trial.digest}/{trial.weights_of}"

    def _is_current(self, trial: Trial) -> bool:
        """Whether a trial is of weights that are reported."""
        weights = self._weights.get(digest(self.plan.space.decode(trial.parameters)))
        return weights is not None and trial.weights_of == weights.name


def score_reported(context: Context, members: tuple[Member, ...] = ()) -> None:
    """Scores the reported networks on the test images, if the study has some.

    Those are the members of the family with a result; without a family the baseline of the search.
    Their files say what they score.
    """
    if context.test_data is None:
        return
    phases = context.folder.read(context.storage)
    wanted = "family" if members else "baseline"
    every = winners(context.folder, phases)
    reported = [one for one in every if wanted in (one.phase, one.name)]
    if not reported:
        context.watch.note(
            "test: this study reports coefficients and no trained network, so that there is "
            "nothing to score on the test images"
        )
        return
    section = _section(context, reported[0])
    evaluator: Evaluator = section.evaluator.make()
    trained = {
        digest(one.architecture): Weights(
            name=one.weights_of, path=context.folder.checkpoint(one.phase, one.trial.number)
        )
        for one in reported
        if one.has_weights
    }
    if not trained or hook(evaluator, "score") is None:
        why = (
            f"the evaluator {name_of(evaluator)!r} has no `score`"
            if trained
            else "their results are known and not trained, so that there are no weights"
        )
        context.watch.note(f"test: the test images are not used: {why}")
        return
    scorer = Scorer(evaluator)
    # All that may be reported: the same ones whichever of them have a result so far.
    space: Space = FamilySpace(members=members)
    if not members:
        space = NamedSpace(networks={one.name: one.architecture for one in reported})
    sampler = plugins.load("samplers", "grid")()
    plan = context.plan(PHASE, space, sampler, scorer, schedule=section.schedule)
    networks = [one.architecture for one in reported if digest(one.architecture) in trained]
    trials = context.carry_out(
        plan,
        scorer,
        [*dict.fromkeys(networks)],
        make_loop=partial(Scoring, weights=trained),
        test=True,
    )
    _write_scores(context, reported, trials)


def _write_scores(context: Context, reported: Sequence[Winner], trials: Sequence[Trial]) -> None:
    """Adds test scores to the files of the networks."""
    scored = {trial.weights_of: trial for trial in trials if trial.has_result}
    for one in reported:
        if (trial := scored.get(one.weights_of)) is not None:
            about = {f"test_{k}": round(v, 6) for k, v in overall(trial.scores).items()}
            add_comments(context.folder.path / one.file, about)


def _section(context: Context, one: Winner) -> Any:
    """The settings of the phase that has trained a reported network."""
    study = context.study
    if one.phase == "family":
        return study.family
    assert study.search is not None
    return study.search.confirm if one.phase == "confirm" else study.search
