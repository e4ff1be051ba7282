"""Small spaces for tests, drawn by hypothesis, and all of their networks one by one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st

from scalesearch.arch.backbone import ACTIVATIONS, PADDINGS, Backbone, Head, Stem
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import COUNTED, Workload
from tests.strategies import KERNELS, STRIDES, WIDTHS, stages

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


@st.composite
def slots(draw: st.DrawFn) -> dict[str, tuple[Any, ...]]:
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


def network(of: dict[str, tuple[Any, ...]], row: Any) -> Backbone:
    """The network of a row."""
    return backbone({name: v[i] for (name, v), i in zip(of.items(), row, strict=True)})


def backbone(parts: dict[str, Any]) -> Backbone:
    """The network of one value for each slot."""
    own = {name: value for name, value in parts.items() if not isinstance(value, Stage)}
    return Backbone(stages=tuple(v for v in parts.values() if isinstance(v, Stage)), **own)


def every_row(of: dict[str, tuple[Any, ...]]) -> np.ndarray:
    """All rows of a space, the last slot varying fastest."""
    return np.array(list(itertools.product(*(range(len(values)) for values in of.values()))))


def one_by_one(networks: list[Backbone], workload: Workload) -> dict[str, np.ndarray]:
    """Each counted cost of every network, by `cost`."""
    costs = [cost(one, workload=workload) for one in networks]
    return {name: np.array([getattr(c, name) for c in costs]) for name in COUNTED}


def chi_square_bound(freedom: float) -> float:
    """What chi-square passes once in a billion times (Wilson & Hilferty 1931, six deviations)."""
    share = 2 / (9 * max(1, freedom))
    return max(1, freedom) * (1 - share + 6 * share**0.5) ** 3
