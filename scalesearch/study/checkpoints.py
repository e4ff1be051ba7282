"""Which weights of a phase are kept: every member's of the family, the best network's elsewhere.

Of repeated trainings the best of each network is kept: which network is the baseline is known last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scalesearch.files.write import write_bytes
from scalesearch.history.jobs import Result
from scalesearch.history.ranking import ranked
from scalesearch.history.record import Record
from scalesearch.history.trials import Trial
from scalesearch.study.folder import RunFolder


@dataclass(frozen=True)
class Checkpoints:
    """The files of one phase in `checkpoints/`.

    A process may be killed between any two steps, so the order is: write the better weights,
    record their trial, and only then remove the others.
    """

    folder: RunFolder
    phase: str
    record: Record

    def keep(self, trial: Trial, result: Result) -> None:
        """Writes the weights of a trial that is about to be recorded, if they are to be kept.

        Beside them, of a detector, its detections in the validation images.
        """
        every = [*self.record.trials.values(), trial]
        keeps = self.phase == "family" or any(best is trial for best in self._best(every))
        if keeps and result.detections_json is not None:
            write_bytes(self.folder.detections(self.phase, trial.number), result.detections_json)
        if keeps and result.weights is not None:
            write_bytes(self.folder.checkpoint(self.phase, trial.number), result.weights)

    def tidy(self, trial: Trial) -> None:
        """Once a trial is recorded: removes weights that are not the best any more."""
        if self.phase == "family" or trial.state != "assessed":
            return
        best = [each.number for each in self._best([*self.record.trials.values()])]
        for place in (self.folder.checkpoint, self.folder.detections):
            kept = [place(self.phase, number) for number in best]
            for file in kept[0].parent.glob(f"{self.phase}-*{kept[0].suffix}"):
                if file not in kept:
                    file.unlink()

    def _best(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """The best trial; of the phase `confirm` the best of each network."""
        ranking = ranked(trials)
        if self.phase != "confirm":
            return ranking[:1]
        return list({trial.digest: trial for trial in reversed(ranking)}.values())
