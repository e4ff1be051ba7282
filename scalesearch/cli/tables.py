"""Tables on the terminal: aligned on a screen, plain text where there is none."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

WIDE = 160  # where output is no terminal, so that pipes get whole rows


def console(*, stderr: bool = False) -> Console:
    """Where to print; without colours or wrapping if it is no terminal."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=WIDE)


def print_table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[object]], total: bool = False
) -> None:
    """A table whose numbers stand to the right; the last row apart if it is a total."""
    out = console()
    if title:
        out.print(f"[bold]{escape(title)}[/bold]", soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD)
    for index, word in enumerate(head):
        cells = [str(row[index]) for row in rows]
        numeric = any(cell[:1].isdigit() for cell in cells)
        table.add_column(word, justify="right" if numeric else "left", no_wrap=True)
    for index, row in enumerate(rows):
        last = total and index == len(rows) - 2
        table.add_row(*map(str, row), end_section=last)
    out.print(table)
