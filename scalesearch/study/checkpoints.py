"""Which weights of a phase are kept: every member's of the family, the best network's elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from scalesearch.files.write import write_bytes
from scalesearch.history.ranking import best_of
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

    def keep(self, trial: Trial, weights: bytes) -> None:
        """Writes the weights of a trial that is about to be recorded, if they are to be kept."""
        if self.phase == "family" or best_of([*self._assessed(), trial]) is trial:
            write_bytes(self.folder.checkpoint(self.phase, trial.number), weights)

    def tidy(self, trial: Trial) -> None:
        """Once a trial is recorded: removes weights that are not the best any more."""
        if self.phase == "family" or trial.state != "assessed":
            return
        best = self.folder.checkpoint(self.phase, best_of(self._assessed()).number)
        for file in best.parent.glob(f"{self.phase}-*.safetensors"):
            if file != best:
                file.unlink()

    def _assessed(self) -> list[Trial]:
        return [trial for trial in self.record.trials.values() if trial.state == "assessed"]
