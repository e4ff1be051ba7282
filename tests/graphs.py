"""A graph as lines to be read: what tests compare with what was written by hand."""

from __future__ import annotations


def lines(graph):
    """`expand.conv conv 0 -> 18x9x14 k1 s1`: name, kind, inputs, output and what else it has."""
    return [_line(op) for op in graph.ops]


def _line(op):
    width, (rows, columns) = op.output
    inputs = ",".join(map(str, op.inputs))
    words = [op.name, op.kind, inputs, "->", f"{width}x{rows}x{columns}"]
    words += [f"k{op.kernel}", f"s{op.stride}"] if op.kind in ("conv", "max_pool") else []
    words += [f"g{op.groups}"] if op.groups > 1 else []
    words += [word for word in ("bias", "shared") if getattr(op, word)]
    return " ".join([*words, op.function]).strip()


def by_hand(text):
    """The lines of a text, without their indentation."""
    return [" ".join(line.split()) for line in text.strip().splitlines()]
