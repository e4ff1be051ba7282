"""Which weights of a phase are kept: every member's of the family, the best network's elsewhere."""

from __future__ import annotations

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
        others = self.record.trials.values()
        keeps = self.phase == "family" or ranked([*others, trial])[0] is trial
        if keeps and result.detections_json is not None:
            write_bytes(self.folder.detections(self.phase, trial.number), result.detections_json)
        if keeps and result.weights is not None:
            write_bytes(self.folder.checkpoint(self.phase, trial.number), result.weights)

    def tidy(self, trial: Trial) -> None:
        """Once a trial is recorded: removes weights that are not the best any more."""
        if self.phase == "family" or trial.state != "assessed":
            return
        best = ranked([*self.record.trials.values()])[0].number
        for kept in (
            self.folder.checkpoint(self.phase, best),
            self.folder.detections(self.phase, best),
        ):
            for file in kept.parent.glob(f"{self.phase}-*{kept.suffix}"):
                if file != kept:
                    file.unlink()
