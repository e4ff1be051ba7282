"""What a stage is: checked when made, and equal where the network is equal."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.errors import UserError
from tests.strategies import FIELDS, stages

IDENTITY = Stage(block="identity", width=24, stride=2)


@pytest.mark.parametrize("block", BLOCK_FIELDS)
@given(data=st.data())
def test_what_a_block_does_not_read_takes_its_default(block, data):
    read = {key: data.draw(FIELDS[key]) for key in BLOCK_FIELDS[block]}
    noise = {key: data.draw(FIELDS[key]) for key in set(FIELDS) - set(read)}
    assert Stage(block=block, width=8, **read, **noise) == Stage(block=block, width=8, **read)


def test_a_whole_number_and_its_float_are_the_same_share():
    assert repr(Stage(width=8, se=0)) == repr(Stage(width=8, se=0.0))
    assert repr(Stage(width=8, se=1)) == repr(Stage(width=8, se=1.0))


def test_a_stage_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        IDENTITY.width = 8


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("width", 0, "a whole number >= 1"),
        ("width", 8.0, "a whole number >= 1"),
        ("width", True, "a whole number >= 1"),
        ("width", "8", "a whole number >= 1"),
        ("depth", -1, "a whole number >= 1"),
        ("stride", 0, "a whole number >= 1"),
        ("expand", 1.5, "a whole number >= 1"),
        ("reduce", 0, "a whole number >= 1"),
        ("kernel", 4, "an odd whole number: 1, 3, 5"),
        ("kernel", -3, "an odd whole number: 1, 3, 5"),
        ("kernel", True, "an odd whole number: 1, 3, 5"),
        ("kernel", 3.0, "an odd whole number: 1, 3, 5"),
        ("se", 1.01, "a number from 0 to 1"),
        ("se", -0.25, "a number from 0 to 1"),
        ("se", float("nan"), "a number from 0 to 1"),
        ("se", True, "a number from 0 to 1"),
        ("se", "0.25", "a number from 0 to 1"),
    ],
)
def test_a_wrong_value_names_its_field_and_what_is_allowed(field, value, allowed):
    with pytest.raises(UserError) as told:
        Stage(**{"width": 8, field: value})
    assert str(told.value) == f"{field}: {value!r} cannot be used\n  allowed: {allowed}"


def test_a_misspelt_block_is_told_with_the_nearest():
    with pytest.raises(UserError) as told:
        Stage(block="mbconf", width=8)
    assert str(told.value) == (
        "block: 'mbconf' is not known\n  allowed: mbconv, fused_mbconv, separable, basic, "
        "bottleneck, wide, identity\n  did you mean 'mbconv'?"
    )


def test_labels_by_hand():
    stage = Stage(width=24, depth=2, stride=2, kernel=5, expand=6, se=0.25)
    assert stage.label == "mbconv_w24_d2_s2_k5_e6_se0.25"
    assert Stage(width=8).label == "mbconv_w8_d1_s1_k3_e1_se0"
    assert IDENTITY.label == "identity_w24_s2"
    fused = Stage(block="fused_mbconv", width=48, depth=4, stride=2, expand=4)
    assert fused.label == "fused_mbconv_w48_d4_s2_k3_e4_se0"
    assert Stage(block="separable", width=8, kernel=5).label == "separable_w8_d1_s1_k5"
    assert Stage(block="basic", width=64, depth=2).label == "basic_w64_d2_s1_k3"
    assert Stage(block="bottleneck", width=256).label == "bottleneck_w256_d1_s1_k3_r4"
    assert Stage(block="wide", width=160, depth=4).label == "wide_w160_d4_s1_k3"


@given(stages(), stages())
def test_labels_are_equal_only_for_equal_stages(one, other):
    assert (one.label == other.label) == (one == other)


def test_every_block_kind_reads_fields_that_exist():
    names = {field.name for field in dataclasses.fields(Stage)}
    assert all(names.issuperset(used) for used in BLOCK_FIELDS.values())
