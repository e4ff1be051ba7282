"""A backbone and its parts: checked when made."""

from __future__ import annotations

import dataclasses

import pytest

from scalesearch.arch.backbone import ACTIVATIONS, PADDINGS, Backbone, Head, Stem
from scalesearch.arch.stage import Stage
from scalesearch.errors import UserError

STAGES = (Stage(width=8, depth=2), Stage(block="identity", width=16), Stage(width=16, depth=3))


def test_depth_counts_blocks_in_all():
    assert Backbone(stages=STAGES).depth == 2 + 1 + 3


def test_a_list_of_stages_is_kept_as_a_tuple():
    net = Backbone(stages=list(STAGES))
    assert net == Backbone(stages=STAGES)
    assert hash(net) == hash(Backbone(stages=STAGES))
    with pytest.raises(dataclasses.FrozenInstanceError):
        net.resolution = 32


def test_shares_are_floats_whatever_was_written():
    written = Backbone(stages=STAGES, drop_path=0, norm_momentum=1, head=Head(dropout=0))
    assert repr(written) == repr(Backbone(stages=STAGES, drop_path=0.0, norm_momentum=1.0))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"stages": ()}, "stages: a backbone needs at least one stage"),
        ({"resolution": 0}, "resolution: 0 cannot be used\n  allowed: a whole number >= 1"),
        ({"in_channels": 1.0}, "in_channels: 1.0 cannot be used\n  allowed: a whole number >= 1"),
        ({"num_classes": None}, "num_classes: None cannot be used\n  allowed: a whole number >= 1"),
        ({"width_divisor": -8}, "width_divisor: -8 cannot be used\n  allowed: a whole number >= 1"),
        ({"drop_path": 1.5}, "drop_path: 1.5 cannot be used\n  allowed: a number from 0 to 1"),
        ({"norm_eps": -1}, "norm_eps: -1 cannot be used\n  allowed: a number from 0 to 1"),
        (
            {"norm_momentum": "x"},
            "norm_momentum: 'x' cannot be used\n  allowed: a number from 0 to 1",
        ),
        (
            {"activation": "sillu"},
            "activation: 'sillu' is not known\n  allowed: silu, relu, relu6, hardswish\n"
            "  did you mean 'silu'?",
        ),
        ({"padding": "valid"}, "padding: 'valid' is not known\n  allowed: symmetric, same"),
        ({"stem": {"width": 8}}, "stem: {'width': 8} cannot be used\n  allowed: a Stem"),
        ({"head": 1280}, "head: 1280 cannot be used\n  allowed: a Head"),
        (
            {"stages": (Stage(width=8), "mbconv")},
            "stages[1]: 'mbconv' cannot be used\n  allowed: a Stage",
        ),
    ],
)
def test_a_wrong_value_names_its_field_and_what_is_allowed(fields, text):
    with pytest.raises(UserError) as told:
        Backbone(**{"stages": STAGES, **fields})
    assert str(told.value) == text


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Stem(width=0), "width: 0 cannot be used\n  allowed: a whole number >= 1"),
        (lambda: Stem(stride=0), "stride: 0 cannot be used\n  allowed: a whole number >= 1"),
        (
            lambda: Stem(kernel=2),
            "kernel: 2 cannot be used\n  allowed: an odd whole number: 1, 3, 5",
        ),
        (lambda: Stem(pool=0), "pool: 0 cannot be used\n  allowed: a whole number >= 1"),
        (lambda: Stem(norm=1), "norm: 1 cannot be used\n  allowed: true or false"),
        (lambda: Head(width=-1), "width: -1 cannot be used\n  allowed: a whole number >= 0"),
        (lambda: Head(width=0, norm=None), "norm: None cannot be used\n  allowed: true or false"),
        (lambda: Head(dropout=2), "dropout: 2 cannot be used\n  allowed: a number from 0 to 1"),
    ],
)
def test_stem_and_head_are_checked_too(make, text):
    with pytest.raises(UserError) as told:
        make()
    assert str(told.value) == text


def test_a_convolution_in_the_head_brings_its_norm_whatever_is_said():
    assert Head(width=64, norm=True) == Head(width=64)
    assert Head(width=0, norm=True) != Head(width=0)


def test_features_are_the_heads_or_those_of_the_last_stage():
    assert Backbone(stages=STAGES, head=Head(width=64)).features == 64
    assert Backbone(stages=STAGES, head=Head(width=0)).features == 16


def test_every_word_that_is_listed_is_accepted():
    for activation in ACTIVATIONS:
        for padding in PADDINGS:
            assert Backbone(stages=STAGES, activation=activation, padding=padding)
