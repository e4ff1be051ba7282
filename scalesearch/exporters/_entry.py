"""The end of an exported classifier: real code, here for a tiny network without weights.

The exporter joins it to the sources that it uses and puts its own text for the two constants.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.stage import Stage
from scalesearch.nn.backbone import Classifier

ARCHITECTURE = Backbone(stages=(Stage(width=16),))
WEIGHTS: Path | None = None


def build(weights: bool | str | Path | None = WEIGHTS) -> Classifier:
    """The network in evaluation mode, with `weights` as `load_weights` takes them."""
    model = Classifier(ARCHITECTURE).eval()
    load_weights(model, weights)
    return model


def load_weights(model: nn.Module, weights: bool | str | Path | None) -> None:
    """Sets the weights of a network.

    `weights` is a .safetensors file, or True for the one exported with this file. False or None
    leaves the network as it is: freshly initialised, to be trained.
    """
    if weights is None or weights is False:
        return
    path = WEIGHTS if weights is True else Path(weights)
    if path is None:
        raise ValueError("this network was exported without weights: name a .safetensors file")
    if not path.is_file():
        raise FileNotFoundError(
            f"there are no weights at {path}; build(weights=False) makes the network without"
        )
    from safetensors.torch import load_file  # nothing else here needs more than torch

    model.load_state_dict(load_file(path))
