"""Tables of spaces of detectors: what `cost` counts of each network, from few states."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesearch.arch.backbone import ACTIVATIONS, PADDINGS, Backbone, Stem
from scalesearch.arch.detector import NORMS, Anchors, Detector, Heads
from scalesearch.arch.neck import FUSIONS, Neck
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import COUNTED, Workload
from scalesearch.cost.limits import Limit
from scalesearch.errors import UserError
from scalesearch.population import feasible
from scalesearch.population.feasible import FeasibleSet
from scalesearch.population.space_tables import of_list, of_slots
from tests.detectors import KINDS
from tests.populations import WORKLOADS, chi_square_bound
from tests.strategies import stages

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
OWN = {field.name for field in fields(Detector)}
REST: dict[str, tuple[Any, ...]] = {
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
def slots(draw: st.DrawFn) -> dict[str, tuple[Any, ...]]:
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
    return {**{name: REST[name] for name in REST if name not in made}, **made}


def _strided(stage: Stage, stride: int) -> Stage:
    plain = {field.name: getattr(stage, field.name) for field in fields(Stage)}
    return Stage(**plain | {"stride": stride})


def network(of: dict[str, tuple[Any, ...]], row: Any) -> Detector:
    """The detector of a row."""
    return detector({name: v[i] for (name, v), i in zip(of.items(), row, strict=True)})


def detector(parts: dict[str, Any]) -> Detector:
    """The detector of one value for each slot."""
    body = tuple(part for part in parts.values() if isinstance(part, Stage))
    own = {name: part for name, part in parts.items() if name in OWN}
    rest = {
        name.removeprefix("backbone."): part
        for name, part in parts.items()
        if name not in OWN and not isinstance(part, Stage)
    }
    return Detector(backbone=Backbone(stages=body, **rest), **own)


def every_row(of: dict[str, tuple[Any, ...]]) -> np.ndarray:
    return np.array(list(itertools.product(*(range(len(values)) for values in of.values()))))


@given(of=slots(), workload=WORKLOADS, seed=st.integers(0, 99))
@settings(SLOW, max_examples=30)
def test_a_population_costs_what_its_detectors_do(of, workload, seed):
    tables = of_slots(of, detector, workload)
    rows = tables.uniform(20, np.random.default_rng(seed))
    found = tables.cost(rows)
    expected = [cost(network(of, row), workload=workload) for row in rows]
    for name in COUNTED:
        assert getattr(found, name).tolist() == [getattr(one, name) for one in expected], name


@given(of=slots(), workload=WORKLOADS)
@settings(SLOW, max_examples=10)
def test_detectors_in_a_list_are_a_population_too(of, workload):
    networks = [network(of, row) for row in every_row(of)[:20]]
    found = of_list(networks, workload).cost(np.arange(len(networks))[:, None])
    for name in COUNTED:
        expected = [getattr(cost(one, workload=workload), name) for one in networks]
        assert getattr(found, name).tolist() == expected


def mbconvs(stride, widths, **fields):
    made = itertools.product(widths, (1, 2), (3, 5))
    return tuple(
        Stage(block="mbconv", width=width, stride=stride, depth=depth, kernel=kernel, **fields)
        for width, depth, kernel in made
    )


SMALL = REST | {
    "stage1": mbconvs(2, (8,), expand=1),
    "stage2": mbconvs(2, (8, 12), expand=2),
    "stage3": mbconvs(2, (12, 16), expand=2),
    "neck": tuple(
        Neck(kind=kind, width=width, depth=depth, max_level=5)
        for kind, width, depth in itertools.product(("bifpn", "fpn"), (8, 12), (1, 2))
    ),
    "heads": (Heads(depth=1), Heads(depth=2)),
}


def test_states_are_what_blocks_behind_depend_on():
    shapes = [level.after.shape for level in of_slots(SMALL, detector, Workload()).levels]
    # One state up to the second stage; behind it its 2 widths, which the neck takes; behind the
    # third their 2 x 2 combinations, each with 8 necks and 2 heads.
    assert shapes == [(1, 1), (1, 1), (1, 4), (1, 8), (2, 8), (4, 16)]


def test_counts_and_draws_within_limits_are_what_going_through_all_gives(monkeypatch):
    tables = of_slots(SMALL, detector, Workload(training_batch=2))
    (rows,) = tables.every()
    spent = tables.cost(rows)
    limits = {name: Limit(max=int(np.median(getattr(spent, name)))) for name in COUNTED[:2]}
    limits["training_bytes"] = Limit(max=int(np.quantile(spent.training_bytes, 0.4)))
    within = np.all([getattr(spent, n) <= limit.max for n, limit in limits.items()], axis=0)
    assert 100 < within.sum() < len(rows) / 2
    listed = FeasibleSet.make(tables, limits)
    assert (listed.count().value, listed.count().exact) == (within.sum(), True)
    monkeypatch.setattr(feasible, "_LISTABLE_SPACE", 0)
    monkeypatch.setattr(feasible, "_LISTABLE_REST", 0)
    for name in limits:
        some = getattr(spent, name) <= limits[name].max
        count = FeasibleSet.make(tables, {name: limits[name]}).count()
        assert abs(count.value - some.sum()) <= 5 * count.error + 2
    counted = FeasibleSet.make(tables, limits)
    assert abs(counted.count().value - within.sum()) <= 5 * counted.count().error + 2
    drawn = Counter(map(tuple, counted.draw(20 * int(within.sum()), 0).tolist()))
    assert drawn.keys() <= {tuple(row) for row in rows[within].tolist()}
    expected = 20.0
    statistic = sum((times - expected) ** 2 / expected for times in drawn.values())
    statistic += expected * (within.sum() - len(drawn))
    assert statistic < chi_square_bound(within.sum() - 1)


def test_too_many_necks_are_refused():
    sides = tuple(range(32, 1032))
    many = tuple(Neck(width=width, max_level=5) for width in range(1, 1002))
    with pytest.raises(UserError, match="too many to be counted") as error:
        of_slots(SMALL | {"neck": many, "resolution": sides}, detector, Workload())
    assert error.value.key == "neck"


def test_numbers_beyond_int64_are_refused():
    huge = SMALL | {"resolution": (2**20,), "neck": (Neck(width=2**24, max_level=5),)}
    with pytest.raises(UserError, match="more than 2\\^63"):
        of_slots(huge, detector, Workload(training_batch=2**16))
