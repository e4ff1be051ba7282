"""Small spaces of classifiers and detectors for tests, and all of their networks one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import strategies as st

from scalesearch.arch.backbone import ACTIVATIONS, PADDINGS, Backbone, Head, Stem
from scalesearch.arch.detector import NORMS, Anchors, Architecture, Detector, Heads
from scalesearch.arch.neck import FUSIONS, Neck
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import COUNTED, Workload
from scalesearch.population.space_tables import of_slots
from scalesearch.population.tables import Tables
from tests.detectors import KINDS
from tests.strategies import KERNELS, STRIDES, WIDTHS, stages

Slots = dict[str, tuple[Any, ...]]
WORKLOADS = st.builds(
    Workload,
    inference_batch=st.integers(1, 3),
    training_batch=st.integers(1, 4),
    optimizer_copies=st.integers(0, 2),
    ema=st.booleans(),
    precision=st.sampled_from(["float32", "bf16"]),
)
_STEMS = st.builds(
    Stem, width=WIDTHS, kernel=KERNELS, stride=STRIDES, pool=st.integers(1, 2), norm=st.booleans()
)
_HEADS = st.builds(Head, width=st.sampled_from([0, 5, 16]), norm=st.booleans())

_OWN = {field.name for field in fields(Detector)}
_REST: Slots = {
    "resolution": (64,),
    "in_channels": (1,),
    "padding": ("symmetric",),
    "drop_path": (0.0,),
    "backbone.activation": ("silu",),
    "backbone.norm_eps": (1e-5,),
    "backbone.norm_momentum": (0.1,),
    "width_divisor": (8,),
    "num_classes": (4,),
    "activation": ("silu",),
    "norm": ("batch",),
    "norm_bias": (False,),
    "norm_eps": (1e-5,),
    "norm_momentum": (0.1,),
    "anchors": (Anchors(octaves=1),),
    "heads": (Heads(depth=1),),
    "stem": (Stem(width=4),),
}


@st.composite
def slots(draw: st.DrawFn) -> Slots:
    """Up to about a thousand networks that differ in everything a cost depends on."""

    def some(values: st.SearchStrategy[Any], most: int, least: int = 1) -> tuple[Any, ...]:
        return tuple(draw(st.lists(values, min_size=least, max_size=most, unique=True)))

    return {
        "resolution": some(st.integers(8, 40), 2),
        "head": some(_HEADS, 2),
        "activation": some(st.sampled_from(ACTIVATIONS), 2),
        **{f"stage{n}": some(stages(), 4, least=3) for n in range(1, draw(st.integers(3, 4)))},
        "stem": some(_STEMS, 2),
        "in_channels": (draw(st.sampled_from([1, 3])),),
        "num_classes": (draw(st.integers(1, 12)),),
        "padding": some(st.sampled_from(PADDINGS), 2),
        "drop_path": some(st.sampled_from([0.0, 0.1, 0.2]), 2),
    }


@st.composite
def detector_slots(draw: st.DrawFn) -> Slots:
    """Detectors that differ in everything a cost depends on."""

    def some(values: st.SearchStrategy[Any], most: int = 2) -> tuple[Any, ...]:
        return tuple(draw(st.lists(values, min_size=1, max_size=most, unique=True)))

    def stage(stride: int) -> tuple[Any, ...]:
        made = draw(st.lists(stages(), min_size=1, max_size=3, unique=True))
        return tuple(dict.fromkeys(_strided(one, stride) for one in made))

    # Levels 2, 2, 3 and 4 of the backbone; others are made.
    backbone = {f"stage{n}": stage(stride) for n, stride in enumerate((2, 1, 2, 2), start=1)}
    widths = [one.width for values in backbone.values() for one in values]
    necks = st.builds(
        lambda kind, width, depth, fusion, low, more: Neck(
            kind=kind,
            width=width,
            depth=depth,
            fusion=fusion,
            min_level=low,
            max_level=max(4, low + 4 if kind == "nas_fpn" else 4) + more,
        ),
        st.sampled_from(KINDS),
        st.sampled_from(widths) | st.integers(1, 12),
        st.integers(1, 3),
        st.sampled_from(FUSIONS),
        st.integers(2, 3),
        st.integers(0, 1),
    )
    chosen = some(necks, 3)
    even = all(neck.width % 2 == 0 for neck in chosen)
    anchors = st.builds(Anchors, octaves=st.integers(1, 2), ratios=st.just((1.0, 2.0)))
    made = {
        "resolution": some(st.integers(8, 70)),
        "neck": chosen,
        "stem": some(st.builds(Stem, width=st.integers(1, 8), norm=st.booleans())),
        **backbone,
        "heads": some(st.builds(Heads, depth=st.integers(0, 2))),
        "anchors": some(anchors),
        "in_channels": (draw(st.sampled_from([1, 3])),),
        "padding": some(st.sampled_from(PADDINGS)),
        "drop_path": some(st.sampled_from([0.0, 0.2])),
        "backbone.activation": some(st.sampled_from(ACTIVATIONS)),
        "activation": some(st.sampled_from(ACTIVATIONS)),
        "norm": some(st.sampled_from(NORMS if even else NORMS[:1])),
        "norm_bias": some(st.booleans()),
        "num_classes": (draw(st.integers(1, 9)),),
    }
    return {**{name: _REST[name] for name in _REST if name not in made}, **made}


def _strided(stage: Stage, stride: int) -> Stage:
    plain = {field.name: getattr(stage, field.name) for field in fields(Stage)}
    return Stage(**plain | {"stride": stride})


def network(of: Slots, row: Any) -> Architecture:
    """The network of a row."""
    return _maker(of)({name: v[i] for (name, v), i in zip(of.items(), row, strict=True)})


def tables_of(of: Slots, workload: Workload) -> Tables:
    """The tables of a space of classifiers or detectors."""
    return of_slots(of, _maker(of), workload)


def _maker(of: Slots) -> Callable[[Mapping[str, Any]], Architecture]:
    return _detector if "neck" in of else _backbone


def _backbone(parts: Mapping[str, Any]) -> Backbone:
    own = {name: value for name, value in parts.items() if not isinstance(value, Stage)}
    return Backbone(stages=tuple(v for v in parts.values() if isinstance(v, Stage)), **own)


def _detector(parts: Mapping[str, Any]) -> Detector:
    body = tuple(part for part in parts.values() if isinstance(part, Stage))
    own = {name: part for name, part in parts.items() if name in _OWN}
    rest = {
        name.removeprefix("backbone."): part
        for name, part in parts.items()
        if name not in _OWN and not isinstance(part, Stage)
    }
    return Detector(backbone=Backbone(stages=body, **rest), **own)


def every_row(of: Slots) -> np.ndarray:
    """All rows of a space, the last slot varying fastest."""
    return np.array(list(itertools.product(*(range(len(values)) for values in of.values()))))


def one_by_one(networks: Sequence[Architecture], workload: Workload) -> dict[str, np.ndarray]:
    """Each counted cost of every network, by `cost`."""
    costs = [cost(one, workload=workload) for one in networks]
    return {name: np.array([getattr(c, name) for c in costs]) for name in COUNTED}


def _mbconvs(stride: int, widths: tuple[int, ...], **fields: Any) -> tuple[Stage, ...]:
    made = itertools.product(widths, (1, 2), (3, 5))
    return tuple(
        Stage(block="mbconv", width=width, stride=stride, depth=depth, kernel=kernel, **fields)
        for width, depth, kernel in made
    )


# 4,096 detectors.
DETECTORS: Slots = _REST | {
    "stage1": _mbconvs(2, (8,), expand=1),
    "stage2": _mbconvs(2, (8, 12), expand=2),
    "stage3": _mbconvs(2, (12, 16), expand=2),
    "neck": tuple(
        Neck(kind=kind, width=width, depth=depth, max_level=5)
        for kind, width, depth in itertools.product(("bifpn", "fpn"), (8, 12), (1, 2))
    ),
    "heads": (Heads(depth=1), Heads(depth=2)),
}


def chi_square_bound(freedom: float) -> float:
    """What chi-square passes once in a billion times (Wilson & Hilferty 1931, six deviations)."""
    share = 2 / (9 * max(1, freedom))
    return max(1, freedom) * (1 - share + 6 * share**0.5) ** 3
