"""Strict YAML: plain values as `yaml.safe_load` gives them, lines, and a corpus of bad files."""

import math

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scalesearch.errors import UserError
from scalesearch.files.strict import format_key, load_yaml, parse_key, parse_value
from scalesearch.files.write import format_yaml

GOOD = """\
name: a
base: &base {width: 8, kernel: 3}
stages:
  - {block: mbconv, se: 0.25}
  - block: identity
    width: 16
  - <<: *base
    kernel: 5
same: *base
on_off: [yes, off, null, ~, 1.0e+3, 0x10, .inf]
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "study.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_values_are_those_of_safe_load(file):
    assert load_yaml(file(GOOD)).plain == yaml.safe_load(GOOD)


def test_of_several_merged_mappings_the_first_wins():
    """As https://yaml.org/type/merge.html says; PyYAML 6.0.4 lets the last win."""
    merged = parse_value(
        "a: &a {width: 8, kernel: 3}\nb: {<<: [{width: 1, depth: 2}, *a], depth: 5}"
    )
    assert merged["b"] == {"width": 1, "kernel": 3, "depth": 5}


def test_lines_of_keys_and_items(file):
    lines = load_yaml(file(GOOD)).lines
    assert lines[("name",)] == 1
    assert lines[("stages",)] == 3
    assert lines[("stages", 0)] == 4
    assert lines[("stages", 0, "se")] == 4
    assert lines[("stages", 1, "width")] == 6
    assert lines[("stages", 2, "kernel")] == 8
    assert lines[("same",)] == 9


# Our own writer quotes what PyYAML's would lose: Unicode's line breaks, and texts like 1e3.
WORDS = st.text(max_size=6) | st.sampled_from(["1e3", "08", "0123", "1:30", "-1E-3", "yes"])
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(WORDS, plain_values, min_size=1, max_size=4))
@example({"\xa0": None, "\u200bword": "\u3000"})
def test_whatever_is_dumped_is_read_back(plain):
    assert parse_value(format_yaml(plain)) == plain


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_one_user_error(text):
    try:
        value = parse_value(text)
    except UserError:
        return
    expected = yaml.safe_load(text)
    if isinstance(value, int | float) and isinstance(expected, str):
        expected = float(expected)  # 1e3, which YAML 1.1 takes for a text
    assert value == expected or (isinstance(value, float) and math.isnan(value))


BAD = [
    ("", None, "the file is empty"),
    ("# only a comment\n", None, "the file is empty"),
    ("- a\n- b\n", 1, "the top level is a list"),
    ("just words\n", 1, "the top level is a text"),
    ("a: 1\nb:\n\tc: 2\n", 3, "a tab indents this line"),
    (
        "a: 1\nb: !!python/object:os.system x\n",
        2,
        "the tag 'tag:yaml.org,2002:python/object:os.system'",
    ),
    ("a: !!str 5\n", 1, "the tag 'tag:yaml.org,2002:str' is not allowed"),
    ("a: 1\nb: !mine {c: 1}\n", 2, "the tag '!mine' is not allowed"),
    ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' stands twice"),
    ("s:\n  - {k: 1,\n     k: 2}\n", 3, "s[0].k: the key 'k' stands twice"),
    ("a: {b: 1\n", 2, "this is not YAML"),
    ("a: b: c\n", 1, "mapping values are not allowed here"),
    ("a: *nothing\n", 1, "undefined alias"),
    ("a: 1\n---\nb: 2\n", 2, "expected a single document"),
    ("a: &a [*a]\n", 1, "an alias refers to the value that holds it"),
    ("a: &a {<<: *a}\n", 1, "<< needs a mapping"),
    ("a: {<<: 5}\n", 1, "<< needs a mapping"),
    ("1: 2\n", 1, "the key '1' is a number"),
    ("on: 2\n", 1, "the key 'on' is true or false"),
    ("name: 2024-05-01\n", 1, "2024-05-01 reads as a date"),
    ("a: " + "[" * 60 + "]" * 60, 1, "nested deeper than 40"),
    ("a: " + "9" * 5000, 1, "cannot be read"),
    (b"a: 1\nb: \xff\xfe\n", 2, "this is not UTF-8 text"),
    (b"a: \x00\n", None, "this is not YAML"),
]


@pytest.mark.parametrize(("text", "line", "problem"), BAD, ids=[problem for _, _, problem in BAD])
def test_bad_files_name_file_line_and_problem(file, text, line, problem):
    path = file(text)
    with pytest.raises(UserError) as caught:
        load_yaml(path)
    assert str(caught.value).startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert problem in str(caught.value)


def test_an_alias_bomb_is_refused(file):
    levels = "\n".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 9)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(UserError, match="more than 100,000 values"):
        load_yaml(file(f"a: &a [1, 2]\n{levels}\n"))


def test_a_merge_bomb_is_refused(file):
    levels = "\n".join(
        f"{name}: &{name} {{<<: [{', '.join(['*' + before] * 9)}]}}"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(UserError, match="more than 100,000 values"):
        load_yaml(file(f"a: &a {{}}\n{levels}\n"))


def test_a_missing_file_names_the_nearest(file):
    path = file("a: 1\n")
    with pytest.raises(UserError, match=r"no such file\n  did you mean 'study.yaml'\?"):
        load_yaml(path.with_name("sudy.yaml"))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError, match="this is a folder"):
        load_yaml(tmp_path)


def test_a_byte_order_mark_is_skipped(file):
    assert load_yaml(file(b"\xef\xbb\xbfa: 1\n")).plain == {"a": 1}


def test_errors_find_their_line_or_that_of_a_parent(file):
    document = load_yaml(file(GOOD))
    there = document.locate(UserError("no", key="stages[1].width"))
    parent = document.locate(UserError("no", key="stages[1].kernel"))
    assert (there.line, parent.line) == (6, 5)
    assert there.file == str(document.path)
    assert document.locate(UserError("no", key="elsewhere")).line == 1


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 99) | st.from_regex(r"[a-z_]+", fullmatch=True), min_size=1, max_size=5)
)
def test_keys_to_text_and_back(keys):
    assert parse_key(format_key(tuple(keys))) == tuple(keys)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1e-3", 0.001), ("1E5", 100_000), ("1.e3", 1000.0), ("+1e-3", 0.001), ("-2e2", -200)),
        *((".5e1", 5.0), ("1.5e3", 1500.0), ("5e-324", 5e-324), ("0x1f", 31), ("1_000", 1000)),
        *(
            ("'1e-3'", "1e-3"),
            ('"0123"', "0123"),
            ("1e", "1e"),
            ("e3", "e3"),
            ("0", 0),
            ("0.5", 0.5),
        ),
    ],
)
def test_numbers_as_they_are_typed(text, value):
    read = parse_value(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["0123", "-017", "007", "1:30", "12:30:45", "+0_7"])
def test_numbers_that_yaml_reads_as_others_are_refused(text):
    with pytest.raises(UserError, match="reads as another number in YAML") as caught:
        parse_value(text)
    assert "in quotes" in caught.value.allowed


@pytest.mark.parametrize("text", ["1e400", "-1e999", "1" * 5000])
def test_numbers_that_none_can_be(text):
    with pytest.raises(UserError) as caught:
        parse_value(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "line", "odd"),
    [
        ("a: 1\nb:\n\u00a0 c: 2\n", 3, "U+00A0 NO-BREAK SPACE"),
        ("a:\n  \u200bb: 2\n", 2, "U+200B ZERO WIDTH SPACE"),
        ("a:\n\u3000b: 2\n", 2, "U+3000 IDEOGRAPHIC SPACE"),
        ("a: 1\nb\uff1a 2\n", 0, "U+FF1A FULLWIDTH COLON"),
        ("a\uff1a 2\n", 1, "U+FF1A FULLWIDTH COLON"),
    ],
)
def test_odd_characters_are_named_with_their_line(file, text, line, odd):
    with pytest.raises(UserError) as caught:
        load_yaml(file(text))
    assert odd in str(caught.value)
    assert not line or caught.value.line == line
