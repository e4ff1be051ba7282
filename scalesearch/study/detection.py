"""The study file of `task: detection`, as far as it differs from one of classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from scalesearch.arch.detector import Anchors, Detector
from scalesearch.errors import UserError
from scalesearch.history.fidelity import WHOLE
from scalesearch.history.objective import METRICS, Objective
from scalesearch.interfaces import hook
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.scaling.family import DetectorStrategy
from scalesearch.study import parts
from scalesearch.study.checks import check_confirm, check_trainings
from scalesearch.study.parts import Baseline
from scalesearch.study.schema import (
    AS_TUPLE,
    Family,
    FidelityOf,
    GridConfirm,
    Limits,
    ObjectiveOf,
    Phase,
    PhaseEvaluator,
    Phi,
    Positive,
    Reads,
    Search,
    StoppingOf,
    Study,
    Trainings,
    distinct,
    plugin,
)

METRIC = METRICS["detection"]
_Strategies = Annotated[
    tuple[DetectorStrategy, ...], Field(strict=False, min_length=1), AfterValidator(distinct)
]
_Coefficients = Annotated[
    DetectorCoefficients | None,
    Reads(parts.read_detector_coefficients, "coefficients of detectors", optional=True),
]
_Anchors = Annotated[
    Anchors | Literal["auto"] | None, Reads(parts.read_anchors, "anchors", optional=True)
]


def _listed(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else (given,)


def _coefficient(name: str, value: float) -> float:
    try:
        DetectorCoefficients(**{name: value})
    except UserError as error:  # the place in the list says its name
        raise UserError(error.problem, allowed=error.allowed, hint=error.hint) from None
    return value


def _values(name: str) -> Any:
    one = Annotated[float, AfterValidator(lambda value: _coefficient(name, value))]
    return Annotated[
        tuple[one, ...],
        Field(strict=False, min_length=1),
        AfterValidator(distinct),
        BeforeValidator(_listed),
    ]


def _objective_of(settings: dict[str, Any]) -> Objective:
    """The metric of an evaluator that has one alone, or AP."""
    evaluator = settings.get("evaluator")
    known: Sequence[str] = () if evaluator is None else hook(evaluator.make(), "metrics") or ()
    return Objective(metric=known[0] if len(known) == 1 else METRIC)


class DetectionSearch(Search):
    """Phase 1: the baseline is the best detector of a space."""

    task_name: ClassVar[str] = "detection"

    objective: ObjectiveOf = Field(default_factory=_objective_of)


class DetectorGridConfirm(GridConfirm):
    """The grid's leaders and single dimensions, trained longer and scaled further."""

    strategies: Annotated[tuple[DetectorStrategy, ...], AfterValidator(distinct), AS_TUPLE] = (
        "backbone",
        "neck_width",
        "resolution",
    )


class DetectorGrid(Phase):
    """Phase 2: the best coefficients for the baseline: all combinations of values that fit."""

    alpha: _values("alpha") = (1.2,)  # type: ignore[valid-type]
    beta: _values("beta") = (1.1,)  # type: ignore[valid-type]
    neck_width: _values("neck_width") = (1.2, 1.25, 1.3, 1.35, 1.4, 1.45)  # type: ignore[valid-type]
    neck_depth: _values("neck_depth") = (1.0,)  # type: ignore[valid-type]
    head_depth: _values("head_depth") = (1 / 3,)  # type: ignore[valid-type]
    resolution: _values("resolution") = (128.0,)  # type: ignore[valid-type]
    budget: Positive | None = None
    tolerance: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    phi: Positive = 1.0
    limits: Limits = Field(default_factory=dict)
    trainings: Trainings = None
    stopping: StoppingOf = None
    confirm: DetectorGridConfirm | None = None
    evaluator: PhaseEvaluator
    fidelity: FidelityOf = WHOLE

    @model_validator(mode="after")
    def _check(self) -> DetectorGrid:
        check_trainings(self.trainings, self.stopping, self.evaluator)
        if self.confirm is not None:
            check_confirm(self.confirm.lengths, self.evaluator)
        return self

    @property
    def choices(self) -> dict[str, tuple[float, ...]]:
        """Each coefficient to its values."""
        return {field.name: getattr(self, field.name) for field in fields(DetectorCoefficients)}


class DetectorFamily(Family):
    """Phase 3: the baseline scaled; by single dimensions only where the study asks for them."""

    phi: Annotated[tuple[Phi, ...], Field(strict=False, min_length=1), AfterValidator(distinct)]
    strategies: _Strategies = ("compound",)


class DetectionStudy(Study):
    """A whole study file of detectors.

    `anchors` are those of every network: `auto` fits them to the data set, before the search.
    """

    default_evaluator: ClassVar[str] = "detection"
    metric: ClassVar[str] = METRIC
    network: ClassVar[type] = Detector
    task_name: ClassVar[str] = "detection"

    task: Literal["detection"] = "detection"  # type: ignore[assignment]
    baseline: Annotated[
        Baseline | None, Reads(parts.read_baseline, "baseline of detectors", optional=True)
    ] = None
    evaluator: Annotated[parts.Plugin, plugin("evaluators")] = Field(
        default_factory=lambda: "detection", validate_default=True
    )
    anchors: _Anchors = None
    search: DetectionSearch | None = None
    coefficients: _Coefficients = None  # type: ignore[assignment]
    grid: DetectorGrid | None = None  # type: ignore[assignment]
    family: DetectorFamily | None = None

    @model_validator(mode="after")
    def _check_detectors(self) -> DetectionStudy:
        if self.family is not None and self.family.lines:
            raise UserError(
                "lines list classifiers",
                key="family.lines",
                hint="detectors are scaled by `phi` and `strategies`",
            )
        if self.latency is not None and self.latency.table is not None:
            raise UserError(
                "a latency table predicts classifiers", key="latency.table", hint="leave it out"
            )
        return self
