"""From a description to a module."""

from __future__ import annotations

from scalesearch.arch.backbone import Backbone
from scalesearch.nn.backbone import Classifier


def build(architecture: Backbone) -> Classifier:
    """The torch module of an architecture, freshly initialised from torch's global generator."""
    return Classifier(architecture)
