"""The loop of a phase whose trials are trained in rounds: successive halving, then repeats."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from scalesearch.errors import UserError
from scalesearch.history.halving import MOST_REPEATS, Halving
from scalesearch.history.jobs import Job, Outcome, Score, Stopped
from scalesearch.history.points import REPEAT
from scalesearch.history.record import Record, now
from scalesearch.history.trials import Trial
from scalesearch.spaces.trainings import TrainingsSpace
from scalesearch.study.loop import Listener, Loop, Plan
from scalesearch.study.outcomes import stopped_after


class Rounds(Loop):
    """Trains the points of a grid in rounds, each of which ends before the next one begins.

    A trial that waits for the next round is `running` in the record, with its curve so far and its
    checkpoint: that it is promoted is the same as that it goes on after a kill. So what is to be
    done next follows from the record alone.

    Args:
        plan: its space is a `TrainingsSpace`.
        record: of the phase.
        listener: as of `Loop`.
        halving: how the budget is spent.
        entrants: numbers of the grid's points that begin.
    """

    def __init__(
        self,
        plan: Plan,
        record: Record,
        listener: Listener,
        halving: Halving,
        entrants: Sequence[int],
    ) -> None:
        self._halving, self._entrants = halving, entrants
        self._waiting: dict[int, Job] = {}  # running trials that no worker has
        self._until: dict[int, int] = {}  # of those that a worker has: where they are to pause
        self._round: deque[int] = deque()
        super().__init__(plan, record, listener)
        for trial in self._interrupted:
            self._wait(self._hand_out(trial, plan.space.decode(trial.parameters)))
        self._interrupted.clear()

    def ask(self) -> Job | None:
        """The next job of the round; None until it has ended, and after the last."""
        while not self._round:
            if self._until or not self._begin_round():
                return None
        number = self._round.popleft()
        last = self._until[number] == self._halving.epochs
        return replace(self._waiting.pop(number), pauses=() if last else self._halving.rungs)

    def keep(self, job: Job, score: Score) -> bool:
        """Whether a job goes on after this score: until the rung of its round."""
        super().keep(job, score)
        until = self._until[job.number]
        if score.step > until and until not in self._trial(job.number).curve:
            raise UserError(
                f"the evaluator gives no score at epoch {until}, at which the grid compares",
                key="grid.stopping",
                hint="name rungs at which it does, or leave `trainings` out",
            )
        return score.step < until or until == self._halving.epochs

    def tell(self, job: Job, outcome: Outcome) -> None:
        """Records the outcome of a job; one that pauses at a rung has none yet."""
        del self._until[job.number]
        if isinstance(outcome, Stopped):
            self._forget_scores(job)
            where = outcome.where
            self.record.trials[job.number] = replace(self.record.trials[job.number], where=where)
            self._wait(job)
        else:
            super().tell(job, outcome)

    def _begin_round(self) -> bool:
        """Puts the trials of the next round into the queue; False if there is none."""
        known = self._recorded()
        for number in self._entrants:
            if (number, 0) not in known:
                self._begin(number, 0)
        candidates = [t.number for t in self._of_repeat(0) if t.number in self._jobs]
        for rung in self._halving.rungs:
            if self._queue(candidates, rung):
                return True
            values = {n: t.curve[rung] for n in candidates if rung in (t := self._trial(n)).curve}
            if not values:
                return False
            if any(max(self._trial(n).curve) > rung for n in values):
                # Decided before: a training that was repeated since may have other values now.
                candidates = [
                    n
                    for n in values
                    if self._trial(n).state != "stopped" or max(self._trial(n).curve) > rung
                ]
                continue
            best = self._halving.best(values)
            for number in sorted({*values} - {*best}):
                self._stop(number, rung)
            candidates = best
        return self._queue(candidates, self._halving.epochs) or self._repeat(candidates)

    def _queue(self, numbers: Sequence[int], until: int) -> bool:
        """Hands those of these trials out that have not come as far yet."""
        last = until == self._halving.epochs  # its outcome counts, not that it was there
        behind = [
            n for n in numbers if n in self._waiting and (last or until not in self._trial(n).curve)
        ]
        for number in behind:
            self._until[number] = until
            self._round.append(number)
        return bool(behind)

    def _repeat(self, finalists: Sequence[int]) -> bool:
        """Begins the next trainings of the leaders, or goes on with those that were cut off.

        Which they are is found out again from the first on, as it was: by the results before them.
        """
        space = cast(TrainingsSpace, self.plan.space)
        points = {n: space.number_of(self._trial(n).parameters) for n in finalists}
        known = self._recorded()
        results = {n: self._scores([n]) for n in finalists if self._scores([n])}
        trainings: dict[int, list[int]] = {n: [n] for n in results}
        flops = {n: self._trial(n).cost.flops for n in results}
        spent = self._spent
        while wanted := [
            n
            for n in self._halving.repeats(results, flops, spent)
            if len(trainings[n]) < MOST_REPEATS
        ]:
            repeats = {n: (points[n], len(trainings[n])) for n in wanted}
            begun = sum(repeat > 0 for _, repeat in known) * self._halving.each
            if begun + self._spent >= self._halving.trainings:
                repeats = {n: key for n, key in repeats.items() if key in known}
            for key in repeats.values():
                if key not in known:
                    known[key] = self._begin(*key)
            if self._queue([known[key] for key in repeats.values()], self._halving.epochs):
                return True
            for number, key in repeats.items():
                trainings[number].append(known[key])
                results[number] = self._scores(trainings[number])
            if not repeats:
                return False
            spent += len(wanted) * self._halving.each
        return False

    def _scores(self, numbers: Sequence[int]) -> list[float]:
        """The results of those of these trials that have one."""
        trials = [self._trial(number) for number in numbers]
        metric = self.plan.objective.metric
        return [trial.scores[metric] for trial in trials if trial.state == "assessed"]

    def _begin(self, point: int, repeat: int) -> int:
        """Proposes a training of a point of the grid; its number."""
        number = self.record.next_number
        parameters = cast(TrainingsSpace, self.plan.space).training(point, repeat)
        self.record.take(parameters)
        self._wait(self._admit(parameters))
        return number

    @property
    def _spent(self) -> float:
        """Whole trainings before any repeat; one that failed counts as such."""
        trials = [t for t in self._of_repeat(0) if t.number in self._jobs]
        whole = sum(trial.state in ("assessed", "failed") for trial in trials)
        rungs = [max(t.curve, default=0) for t in trials if t.state == "stopped"]
        work = sum(map(self._halving.schedule.work, rungs))
        return whole * self._halving.each + work / self._halving.epochs

    def _stop(self, number: int, rung: int) -> None:
        """Records a trial that does not go on from a rung."""
        trial = self._trial(number)
        if self._waiting.pop(number, None) is None:
            return
        scores = {self.plan.objective.metric: trial.curve[rung]}
        reason = stopped_after(rung, self._halving.schedule)
        self._finish(replace(trial, state="stopped", scores=scores, reason=reason, finished=now()))
        self._publish(number)

    def _wait(self, job: Job | None) -> None:
        if job is not None:
            self._waiting[job.number] = job

    def _trial(self, number: int) -> Trial:
        return self.record.trials[number]

    def _of_repeat(self, repeat: int) -> list[Trial]:
        trials = [self.record.trials[number] for number in sorted(self.record.trials)]
        return [trial for trial in trials if trial.parameters[REPEAT] == repeat]

    def _recorded(self) -> dict[tuple[int, int], int]:
        """The trials by the grid's point and the repeat that they are."""
        space = cast(TrainingsSpace, self.plan.space)
        return {
            (space.number_of(trial.parameters), trial.parameters[REPEAT]): trial.number
            for trial in self.record.trials.values()
        }

    def _identity(self, trial: Trial) -> str:
        """Equal networks share a training, but for repeats."""
        return f"{trial.digest}/{trial.parameters[REPEAT]}"
