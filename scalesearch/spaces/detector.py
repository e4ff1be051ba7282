"""The space of detectors that a file of `search_spaces/` describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import partial
from itertools import product
from typing import Any

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Anchors, Architecture, Detector, Heads
from scalesearch.arch.neck import Neck
from scalesearch.arch.plain import CLASSIFYING, check_bare, make
from scalesearch.arch.stage import Stage
from scalesearch.errors import UserError
from scalesearch.spaces import space as base
from scalesearch.spaces.backbone import backbone_parts, backbone_slots
from scalesearch.spaces.slot import Slot, options_slot, record_slot, scalar_slot

_RECORDS = {"neck": Neck, "heads": Heads, "anchors": Anchors}
_SCALARS = {f.name: f.default for f in fields(Detector) if f.default is not MISSING}
_OF_BACKBONE = [f.name for f in fields(Backbone) if f.name not in ("stages", *CLASSIFYING)]


@dataclass(frozen=True)
class DetectorSpace(base.Space):
    """Detectors whose fields are chosen from lists: of backbone, neck, heads, anchors.

    Parts of the backbone are named as in a space of backbones; where a detector has a field of the
    same name, the backbone's is `backbone.activation`. A neck may be given as `options`.
    """

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> DetectorSpace:
        """The space that a plain dict describes; `UserError` as of its base.

        Raises:
            UserError: also stages of different strides in one place, as levels would shift, or a
                neck that the backbone cannot feed.
        """
        if "stages" in plain:
            raise UserError(
                "this is a space of classifiers",
                key="stages",
                hint="a detector's stages are listed below `backbone`, beside `neck` and `heads`",
            )
        base.check_keys(plain, Detector)
        backbone = plain.get("backbone", {})
        if not isinstance(backbone, Mapping):
            raise UserError(f"{backbone!r} is not a mapping", key="backbone")
        check_bare(backbone)
        base.check_keys(backbone, Backbone, "backbone")
        base.check_stages(backbone, "backbone.stages")
        space = cls.of_slots(_slots(plain, backbone))
        space._check_levels()
        return space

    def with_anchors(self, anchors: Anchors) -> DetectorSpace:
        """The same space with these anchors in every detector.

        Raises:
            UserError: the space lists anchors of its own.
        """
        if listed := [name for name in self.parameters if name.startswith("anchors.")]:
            raise UserError(
                f"the space lists {listed[0]}, and the study gives every network its anchors",
                key="anchors",
                hint="leave one of the two out",
            )
        fixed = scalar_slot("anchors", anchors, lambda _: None)
        return self.with_slots({"anchors": fixed})

    def _make(self, parts: Mapping[str, Any]) -> Detector:
        named = {name: parts[_slot_name(name)] for name in _OF_BACKBONE}
        backbone = Backbone(stages=base.stages_of(parts), **named)
        own = {name: parts[name] for name in (*_SCALARS, *_RECORDS)}
        return Detector(backbone=backbone, **own)

    def _parts(self, architecture: Architecture) -> dict[str, Any]:
        if not isinstance(architecture, Detector):
            raise UserError("a classifier is not in this space", allowed="a detector")
        own = {name: getattr(architecture, name) for name in (*_SCALARS, *_RECORDS)}
        parts = backbone_parts(architecture.backbone)
        left = {_slot_name(name): part for name, part in parts.items() if name not in CLASSIFYING}
        return own | left

    def _check_levels(self) -> None:
        """Rejects what would give some networks other levels than others, or none for a neck."""
        for name, values in self.slots.items():
            strides = {getattr(v, "stride", 1) * getattr(v, "pool", 1) for v in values}
            if len(strides) > 1:
                raise UserError(
                    f"{name} has strides of {', '.join(map(str, sorted(strides)))}",
                    key=f"backbone.{_path(name)}.stride",
                    allowed="one stride: which stage feeds which level of the neck follows from it",
                )
        first = {name: values[0] for name, values in self.slots.items()}
        for neck, norm in product(self.slots["neck"], self.slots["norm"]):
            self._make({**first, "neck": neck, "norm": norm})


def _slots(plain: Mapping[str, Any], backbone: Mapping[str, Any]) -> Iterator[Slot]:
    """A slot for each part, in the order of the file; then those left out of it."""
    every = ("backbone", *_RECORDS, *_SCALARS)
    for key in [*plain, *(key for key in every if key not in plain)]:
        given = plain.get(key, {})
        if key == "backbone":
            yield from _backbone_slots(backbone)
        elif key == "neck" and isinstance(given, Mapping) and "options" in given:
            yield options_slot(key, given, key, partial(make, Neck))
        elif key in _RECORDS:
            yield record_slot(key, _RECORDS[key], _with_shapes(key, given), key)
        else:
            yield scalar_slot(key, plain.get(key, _SCALARS[key]), partial(_check_scalar, key))


def _backbone_slots(plain: Mapping[str, Any]) -> Iterator[Slot]:
    try:
        for slot in backbone_slots(plain):
            if slot.name not in CLASSIFYING:
                yield slot.renamed(_slot_name(slot.name))
    except UserError as error:
        raise error.at(under="backbone") from None


def _slot_name(field: str) -> str:
    """The name of a backbone's part among those of a detector."""
    return f"backbone.{field}" if field in _SCALARS else field


def _with_shapes(key: str, given: Any) -> Any:
    """Shapes of anchors are a list in every network: not one of choices."""
    if key == "anchors" and isinstance(given, Mapping) and isinstance(given.get("ratios"), list):
        return {**given, "ratios": tuple(given["ratios"])}
    return given


def _path(name: str) -> str:
    number = name.removeprefix("stage")
    return f"stages[{int(number) - 1}]" if number.isdigit() else name


def _check_scalar(key: str, value: Any) -> None:
    Detector(backbone=_PLAIN, neck=_FINE, **{key: value})


_PLAIN = Backbone(stages=(Stage(width=8, stride=2),))
_FINE = Neck(min_level=2)
