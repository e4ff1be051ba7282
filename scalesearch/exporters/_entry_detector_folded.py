"""The end of an exported detector that folds batch norms: the other `build`."""

from __future__ import annotations

from pathlib import Path

from scalesearch.exporters._entry import WEIGHTS, load_weights
from scalesearch.exporters._entry_detector import ARCHITECTURE, NODES
from scalesearch.nn.detector import DetectorNet
from scalesearch.nn.fold import fold


def build(
    weights: bool | str | Path | None = WEIGHTS,
    folded: bool = True,
) -> DetectorNet:
    """The network in evaluation mode, with `weights` as `load_weights` takes them.

    Its batch norms are folded for inference. `folded=False` leaves them, to train the network on.
    """
    model = DetectorNet(ARCHITECTURE, NODES).eval()
    load_weights(model, weights)
    return fold(model) if folded else model
