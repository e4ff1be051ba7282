"""scalesearch: from a budget to a family of networks you own.

Everything public hangs here (`import scalesearch as ss`); what needs torch, ray, optuna, pandas or
matplotlib is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.detector import Anchors, Detector, Heads
from scalesearch.arch.neck import Neck
from scalesearch.arch.rounding import round_depth, round_resolution, round_width
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Cost, Deployment, Workload
from scalesearch.cost.limits import Limit
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.scaling.scale import scale
from scalesearch.scaling.solve import solve_phi

if TYPE_CHECKING:
    from scalesearch.cost.latency import measure_latency
    from scalesearch.cost.measured import measure
    from scalesearch.exporters import export
    from scalesearch.files.architecture import architecture
    from scalesearch.nn.build import build
    from scalesearch.nn.fold import fold
    from scalesearch.nn.weights import load_weights
    from scalesearch.scaling.fit_surface import fit_surface
    from scalesearch.spaces.space import Space
    from scalesearch.study.run import load_study, run

__version__ = "0.1.0"

_LAZY = {
    "Space": "scalesearch.spaces.space",
    "architecture": "scalesearch.files.architecture",
    "build": "scalesearch.nn.build",
    "export": "scalesearch.exporters",
    "fit_surface": "scalesearch.scaling.fit_surface",
    "fold": "scalesearch.nn.fold",
    "load_study": "scalesearch.study.run",
    "load_weights": "scalesearch.nn.weights",
    "measure": "scalesearch.cost.measured",
    "measure_latency": "scalesearch.cost.latency",
    "run": "scalesearch.study.run",
}

__all__ = [
    "Anchors",
    "Backbone",
    "Coefficients",
    "Cost",
    "Deployment",
    "Detector",
    "DetectorCoefficients",
    "Head",
    "Heads",
    "Limit",
    "Neck",
    "Space",
    "Stage",
    "Stem",
    "UserError",
    "Workload",
    "architecture",
    "build",
    "cost",
    "export",
    "fit_surface",
    "fold",
    "load_study",
    "load_weights",
    "measure",
    "measure_latency",
    "round_depth",
    "round_resolution",
    "round_width",
    "run",
    "scale",
    "solve_phi",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'scalesearch' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
