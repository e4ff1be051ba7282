"""From a description to a module."""

from __future__ import annotations

from typing import overload

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Detector
from scalesearch.nn.backbone import Classifier
from scalesearch.nn.detector import DetectorNet


@overload
def build(architecture: Backbone) -> Classifier:
    """A classifier."""


@overload
def build(architecture: Detector) -> DetectorNet:
    """A detector."""


def build(architecture: Backbone | Detector) -> Classifier | DetectorNet:
    """The torch module of an architecture, freshly initialised from torch's global generator."""
    if isinstance(architecture, Detector):
        return DetectorNet(architecture, architecture.nodes)
    return Classifier(architecture)
