from __future__ import annotations

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


def test_a_total_is_set_apart(capsys):
    print_table("", ("n",), [(1,), (2,), (3,)], total=True)
    lines = capsys.readouterr().out.splitlines()
    rows = [line.strip() for line in lines]
    between = rows[rows.index("2") + 1 : rows.index("3")]
    assert len(between) == 1
