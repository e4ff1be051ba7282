"""Text that must mean what it says and stand as ruff would lay it out."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.exporters._python_literals import Group, assignment, literal, prose, quoted


@given(st.text())
def test_a_quoted_text_is_read_back(text):
    literal = quoted(text)
    assert ast.literal_eval(literal) == text
    assert len(literal.splitlines()) == 1
    literal.encode()


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("a", '"a"'),
        ("it's", '"it\'s"'),
        ('a "b"', "'a \"b\"'"),
        ("\"'", '"\\"\'"'),
        ("\\\n", '"\\\\\\n"'),
        ("é", '"é"'),
        ("\u202e", '"\\u202e"'),
    ],
)
def test_quotes_as_ruff_prefers_them(text, literal):
    assert quoted(text) == literal


@given(st.text())
def test_prose_ends_no_docstring_and_says_every_word(text):
    docstring = '"""Of ' + prose(text, used=6) + '\n"""'
    read = ast.literal_eval(docstring)
    printable = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    if printable.count("?") == text.count("?"):
        assert read.split() == ["Of", *printable.split()]


def test_prose_is_wrapped_under_its_first_word():
    lines = prose("word " * 30, used=90, indent="    ").splitlines()
    assert lines[0] == "word word"
    assert lines[1].startswith("    word")
    assert max(map(len, lines)) <= 100


def test_a_call_on_one_line_up_to_the_last_column():
    call = Group("f(", (("a=", "1"), ("b=", literal((2,)))))
    assert assignment("x", call) == "x = f(a=1, b=(2,))"
    fits, over = "y" * 93, "y" * 94
    assert assignment("x", Group("f(", (("", fits),))) == f"x = f({fits})"
    assert len(f"x = f({fits})") == 100
    assert assignment("x", Group("f(", (("", over),))) == f"x = f(\n    {over},\n)"
