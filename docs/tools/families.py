"""Generates the tables of docs/families.md: `python -m docs.tools.families docs/families.md`.

The text between `<!-- table of NAME -->` and `<!-- end -->` is replaced, NAME being a key of
`PAPERS`; the rest of the page is left alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

from docs.tools.papers import PAPERS, Paper, Row
from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Cost
from scalesearch.files.write import write_text
from scalesearch.units import format_bytes, parse_count

_COUNTS = ("params", "flops", "flops_total", "activations")
_TABLE = re.compile(r"(<!-- table of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(page: Path) -> None:
    """Writes the tables of a page and prints its path."""
    print(write_text(page, fill(page.read_text(encoding="utf-8"))))


def fill(text: str) -> str:
    """The page with current tables."""
    return _TABLE.sub(lambda match: f"{match[1]}{tables(PAPERS[match[2]])}{match[3]}", text)


def tables(paper: Paper) -> str:
    """A table of costs, and one of their differences from the printed numbers."""
    spent = {name: cost(published(name)) for name in paper.rows}
    head = ("", "resolution", *_COUNTS, "inference memory", "training memory")
    costs = markdown_table(head, (_costs(name, spent[name]) for name in paper.rows))
    compared = _compared(paper, spent)
    counted = f"; counted: {paper.counted}" if paper.counted else ""
    return f"\n{costs}\nPrinted: {paper.source}{counted}.\n\n{compared}\n"


def difference(ours: int, printed: str) -> str:
    """`+4.6 %*`: a star where rounding to the printed digits does not make both equal."""
    percent = f"{100 * (ours / parse_count(printed) - 1):+.1f}"
    shown = "0.0" if float(percent) == 0 else percent
    return f"{shown} %{'' if rounds_to(ours, printed) else '*'}"


def rounds_to(ours: int, printed: str) -> bool:
    """Whether a count, rounded to the digits of `0.39G`, is that."""
    digits, unit = Decimal(printed[:-1]), parse_count(f"1{printed[-1]}")
    last = Decimal(1).scaleb(int(digits.as_tuple().exponent))
    return abs(Decimal(ours) / unit - digits) <= last / 2


def _costs(name: str, spent: Cost) -> Iterable[str]:
    side = published(name).resolution
    counts = (f"{getattr(spent, key):,}" for key in _COUNTS)
    memory = map(format_bytes, (spent.inference_bytes, spent.training_bytes))
    return (f"`{name}`", f"{side}", *counts, *memory)


def _compared(paper: Paper, spent: dict[str, Cost]) -> str:
    """A column of printed numbers and one of differences for each count that is printed."""
    keys = [key for key in Row._fields if any(getattr(row, key) for row in paper.rows.values())]
    head, columns = [""], [[f"`{name}`" for name in paper.rows]]
    for key in keys:
        printed = [getattr(row, key) for row in paper.rows.values()]
        if key == "score":
            head.append(paper.score)
            columns.append(printed)
            continue
        name = key.removeprefix("counted_")
        ours = [getattr(spent[network], name) for network in paper.rows]
        head += [f"{name}, {'printed' if name == key else 'counted'}", "difference"]
        columns.append([re.sub("([MG])$", r" \1", text) for text in printed])
        columns.append([difference(o, p) if p else "" for o, p in zip(ours, printed, strict=True)])
    return markdown_table(head, zip(*columns, strict=True))


def markdown_table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown; all columns but the first hold numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/families.md"))
