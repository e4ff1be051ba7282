"""Tables on the terminal: aligned on a screen, plain text elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich import box
from rich.console import Console, ConsoleDimensions
from rich.markup import escape
from rich.table import Table

WIDE = 160  # where output is not a terminal, so that pipes get whole rows


def console() -> Console:
    """Where to print; without colours or wrapping if it is not a terminal."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=WIDE)


def shown_score(scores: Mapping[str, float], metric: str) -> str:
    """A score of a table with four digits, or nothing where there is none."""
    return f"{scores[metric]:.4f}" if metric in scores else ""


def print_table(
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    ends: Collection[int] = (),
    spare: Sequence[str] = (),
) -> None:
    """Prints a table whose numbers are aligned to the right.

    Args:
        title: a line above, or nothing.
        head: the names of the columns.
        rows: as many cells each.
        ends: rows, counted from 0 or back from -1, with a blank line below.
        spare: columns to leave out, the first first, on a screen that is too narrow for all.
    """
    out = console()
    if title:
        out.print(f"[bold]{escape(title)}[/bold]", soft_wrap=True)
    shown, removable, gap = list(head), list(spare), 3
    while _width(out, table := _table(head, rows, shown, gap, ends)) > out.width:
        if gap == 2 and not removable:
            # The screen wraps it: no number is cut. Its size, as a dumb terminal ignores its width.
            out.size = ConsoleDimensions(_width(out, table), out.height)
        elif gap == 2:
            shown.remove(removable.pop(0))
        gap = 2
    out.print(table)
    if hidden := [word for word in head if word not in shown]:
        out.print(f"no room for {', '.join(hidden)}", style="dim")


def _width(out: Console, table: Table) -> int:
    """Characters that a table needs in a row."""
    return out.measure(table, options=out.options.update(width=10_000)).maximum


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    shown: Sequence[str],
    gap: int,
    ends: Collection[int],
) -> Table:
    """Some columns of a table, `gap` characters apart."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, gap - 2))
    for index, word in enumerate(head):
        if word in shown:
            cells = [str(row[index]) for row in rows]
            numeric = any(cell[:1].isdigit() for cell in cells)
            table.add_column(word, justify="right" if numeric else "left", no_wrap=True)
    for number, row in enumerate(rows):
        cells = [str(cell) for word, cell in zip(head, row, strict=True) if word in shown]
        table.add_row(*cells, end_section=bool({number, number - len(rows)} & {*ends}))
    return table
