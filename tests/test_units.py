"""Units: expected numbers by hand arithmetic."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from scalesearch.errors import UserError
from scalesearch.units import (
    Bytes,
    Seconds,
    format_bytes,
    format_count,
    format_latency,
    format_seconds,
    parse_bytes,
    parse_count,
    parse_seconds,
)

POWERS = {"": 0, "k": 3, "K": 3, "M": 6, "G": 9, "T": 12}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("400M", 400_000_000),
        ("1.2G", 1_200_000_000),
        ("2k", 2_000),
        ("2 k", 2_000),
        ("0.3k", 300),
        ("1e6", 1_000_000),
        ("1_000", 1_000),
        (5, 5),
        (2e6, 2_000_000),
        ("4.4M", 4_400_000),  # 4.4 * 1e6 is 4400000.000000001 in binary
    ],
)
def test_counts_are_exact(text, count):
    assert parse_count(text) == count


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**9), st.integers(0, 6), st.sampled_from(sorted(POWERS)))
def test_a_decimal_count_is_its_digits_shifted(digits, places, unit):
    written = f"{Decimal(digits).scaleb(-places):f}"
    if places <= POWERS[unit]:
        assert parse_count(written + unit) == digits * 10 ** (POWERS[unit] - places)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("64MiB", 64 * 1024 * 1024),
        ("1.5GiB", 3 * 512 * 1024 * 1024),
        ("512MB", 512_000_000),
        ("10 kB", 10_000),
        ("7B", 7),
        (1024, 1024),
    ],
)
def test_bytes(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20ms", 0.02),
        ("1.5 ms", 0.0015),
        ("1s500ms", 1.5),
        ("10m", 600),
        ("90s", 90),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("2d", 172_800),
        (3, 3),
        (0.5, 0.5),
    ],
)
def test_seconds(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("parse", [parse_count, parse_bytes, parse_seconds])
@pytest.mark.parametrize("value", ["", "x", "10 parsecs", -1, "-1", True, None, [], float("nan")])
def test_nonsense_names_what_is_allowed(parse, value):
    with pytest.raises(UserError) as caught:
        parse(value)
    assert repr(value) in str(caught.value)
    assert "allowed: a" in str(caught.value)


@pytest.mark.parametrize("value", [float("inf"), "1h30", "1h 3"])
def test_times_that_are_unclear(value):
    with pytest.raises(UserError, match="is not a time"):
        parse_seconds(value)


@pytest.mark.parametrize(
    ("parse", "value", "hint"),
    [
        (parse_count, "400m", "did you mean 400M?"),
        (parse_bytes, "64mib", "did you mean 64MiB?"),
        (parse_bytes, "512M", "did you mean 512MiB?"),
        (parse_count, "1.0005k", "'1.0005k' is 1000.5, not a whole number"),
    ],
)
def test_near_misses_are_told(parse, value, hint):
    with pytest.raises(UserError) as caught:
        parse(value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (385_814_816, "385.8 M"),
        (999, "999"),
        (1_000, "1.0 k"),
        (999_949, "999.9 k"),
        (999_950, "1.0 M"),
        (1_200_000_000, "1.2 G"),
        (0, "0"),
    ],
)
def test_counts_as_text(count, text):
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(64 * 2**20, "64.0 MiB"), (1023, "1023 B"), (2**20 - 1, "1.0 MiB")]
)
def test_bytes_as_text(count, text):
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00042, "0.4 ms"),
        (0.00996, "10 ms"),
        (0.12, "120 ms"),
        (4.25, "4.2 s"),
        (42.4, "42 s"),
        (59.7, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.6, "1 h 00 min"),
        (3720, "1 h 02 min"),
        (86400 * 3 + 3600 * 4, "3 d 04 h"),
        (86399, "1 d 00 h"),
    ],
)
def test_seconds_as_text(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.000004, "0.00 ms"),
        (0.00085, "0.85 ms"),
        (0.0099949, "9.99 ms"),
        (0.009996, "10.0 ms"),
        (0.0123, "12.3 ms"),
        (0.09996, "100 ms"),
        (0.123, "123 ms"),
        (0.9996, "1.00 s"),
        (1.234, "1.23 s"),
        (75.0, "75.0 s"),
    ],
)
def test_latencies_as_text(seconds, text):
    assert format_latency(seconds) == text


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 10**15))
def test_a_printed_count_reads_back_within_its_last_digit(count):
    digits = format_count(count).replace(" ", "")
    if not digits.endswith("P"):
        assert parse_count(digits) == pytest.approx(count, rel=0.051)


def test_options_of_plug_ins_take_units():
    assert TypeAdapter(Seconds | None).validate_json('"10m"', strict=True) == 600
    assert TypeAdapter(Seconds | None).validate_json("null", strict=True) is None
    assert TypeAdapter(Bytes).validate_json('"1KiB"', strict=True) == 1024
    with pytest.raises(ValidationError, match="is not a time"):
        TypeAdapter(Seconds).validate_json('"soon"')
    assert TypeAdapter(Seconds).json_schema()["type"] == ["number", "string"]
