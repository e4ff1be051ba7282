"""The state of a training on disk, from which it goes on after it was cut off.

A checkpoint is written whole or not at all, but not flushed to the disk: a machine that loses power
may lose one, and what cannot be read is as if it were not there.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from scalesearch.history.jobs import Scratch

_FORMAT = 1
_SHARE = 0.02  # of the time of training that writing may take
_FILE = "training.pt"


@dataclass
class TrainingCheckpoint:
    """The one file of a trial's training.

    Attributes:
        file: where it lies; None keeps nothing.
        identity: of network, recipe and seed: what another training left is not read.
        every: epochs from one writing to the next; None for as often as it costs little.
        pauses: epochs after which it is written in any case.
        notes: that it could not be written, and why.
    """

    file: Path | None
    identity: str
    every: int | None = None
    pauses: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    _cost: float | None = field(default=None, init=False)  # seconds of the last writing
    _trained: float = field(default=0.0, init=False)  # seconds since then
    _epochs: int = field(default=0, init=False)  # since then

    @classmethod
    def of(cls, scratch: Scratch | None, identity: Callable[[], str]) -> TrainingCheckpoint:
        """The checkpoint in a trial's scratch folder; none without one."""
        if scratch is None or scratch.folder is None or scratch.every == 0:
            return cls(None, "")
        return cls(scratch.folder / _FILE, identity(), scratch.every, scratch.pauses)

    def read(self) -> dict[str, Any] | None:
        """What `write` was given last, on the CPU; None if there is nothing that can be used."""
        if self.file is None:
            return None
        try:
            content = torch.load(self.file, map_location="cpu", weights_only=True)
            same = (content["format"], content["identity"]) == (_FORMAT, self.identity)
            return dict(content["state"]) if same else None
        except Exception:  # a file that is half written, or of something else, raises anything
            return None

    def after_epoch(self, epoch: int, seconds: float, state: Callable[[], dict[str, Any]]) -> None:
        """Writes the state after an epoch of so many seconds, if it is time to do so."""
        if self.file is None:
            return
        self._trained += seconds
        self._epochs += 1
        if self.every is not None:
            due = self._epochs >= self.every
        else:
            due = self._cost is None or self._cost <= _SHARE * self._trained
        if due or epoch in self.pauses:
            self.write(state())

    def write(self, state: dict[str, Any]) -> None:
        """Leaves plain values and tensors; a disk that is full or gone is a note, no error."""
        if self.file is None:
            return
        began = time.perf_counter()
        beside = self.file.with_name(f".{self.file.name}.{os.getpid()}.part")
        content = {"format": _FORMAT, "identity": self.identity, "state": state}
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(content, beside)
            beside.replace(self.file)
        except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into the latter
            # Without the file's name, so that the same cause is said once.
            reason = error.strerror if isinstance(error, OSError) else str(error).partition("\n")[0]
            self.notes = (f"no checkpoint of a training could be written: {reason}",)
            with contextlib.suppress(OSError):
                beside.unlink()
        self._cost = time.perf_counter() - began
        self._trained, self._epochs = 0.0, 0
