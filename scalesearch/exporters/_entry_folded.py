"""The end of an exported file that folds batch norms: `build` takes the place of `_entry.py`'s."""

from __future__ import annotations

from pathlib import Path

from scalesearch.exporters._entry import ARCHITECTURE, WEIGHTS, load_weights
from scalesearch.nn.backbone import Classifier
from scalesearch.nn.fold import fold


def build(
    weights: bool | str | Path | None = WEIGHTS,
    folded: bool = True,
) -> Classifier:
    """The network in evaluation mode, with `weights` as `load_weights` takes them.

    Its batch norms are folded for inference. `folded=False` leaves them, to train the network on.
    """
    model = Classifier(ARCHITECTURE).eval()
    load_weights(model, weights)
    return fold(model) if folded else model
