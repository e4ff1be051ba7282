"""From a description to a module."""

from __future__ import annotations

from typing import overload

from torch import nn

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Detector
from scalesearch.arch.factory import Factory, build_module
from scalesearch.nn.backbone import Classifier
from scalesearch.nn.detector import DetectorNet


@overload
def build(architecture: Backbone) -> Classifier:
    """A classifier."""


@overload
def build(architecture: Detector) -> DetectorNet:
    """A detector."""


@overload
def build(architecture: Factory) -> nn.Module:
    """What the factory builds."""


def build(architecture: Backbone | Detector | Factory) -> nn.Module:
    """The torch module of an architecture, freshly initialised from torch's global generator."""
    if isinstance(architecture, Factory):
        module: nn.Module = build_module(architecture)
        return module
    if isinstance(architecture, Detector):
        return DetectorNet(architecture, architecture.nodes)
    return Classifier(architecture)
