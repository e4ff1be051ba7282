from __future__ import annotations

import pytest
from rich.console import Console

from scalesearch.cli import tables
from scalesearch.cli.tables import print_table


def test_numbers_stand_right_and_words_left(capsys):
    print_table("a [title]", ("name", "count"), [("a", 5), ("long", "1,234")])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == "a [title]"
    assert lines[1].split() == ["name", "count"]
    assert lines[3].endswith("    5")
    assert lines[4].endswith("1,234")
    assert lines[3].index("a") == lines[4].index("l")


def test_long_rows_are_not_wrapped_in_a_pipe(capsys):
    print_table("", ("path",), [("x" * 150,)])
    assert "x" * 150 in capsys.readouterr().out


def test_rows_are_set_apart(capsys):
    print_table("", ("n",), [(1,), (2,), (3,)], ends=[-2])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.strip() for line in lines]
    between = rows[rows.index("2") + 1 : rows.index("3")]
    assert len(between) == 1


WIDE = [("row", "x" * 20, "y" * 20, "z" * 20)]
HEAD = ("name", "one", "two", "three")


@pytest.mark.parametrize(
    ("width", "left"),
    # Names and cells have 4 + 20 + 20 + 20 characters; gaps of 3 or 2 and margins come on top.
    [(80, ()), (74, ()), (60, ("two",)), (35, ("two", "three")), (10, ("two", "three"))],
)
def test_a_narrow_screen_has_fewer_columns_and_no_cut_cell(width, left, monkeypatch, capsys):
    monkeypatch.setattr(tables, "console", lambda: Console(width=width))
    print_table("", HEAD, WIDE, spare=("two", "three"))
    out = capsys.readouterr().out
    assert ("y" * 20 in out) == ("two" not in left)
    assert ("z" * 20 in out) == ("three" not in left)
    assert "x" * 20 in out
    assert "…" not in out
    assert (f"no room for {', '.join(left)}" in out) == bool(left)
