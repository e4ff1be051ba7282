"""PANet: a top-down and a bottom-up path (Liu et al. 2018), as EfficientDet compares with it."""

from __future__ import annotations

from dataclasses import dataclass

from scalesearch.arch.neck import Node


@dataclass(frozen=True, kw_only=True)
class FusionTable:
    """Every level has a node on both paths, also where it has one input."""

    def nodes(self, levels: range) -> tuple[Node, ...]:
        """2 * levels fusions: coarse to fine, then fine to coarse."""
        count = len(levels)
        before: tuple[int, ...] = ()
        nodes: list[Node] = []
        down: dict[int, int] = {}
        for number in reversed(range(count)):
            nodes.append(Node(levels[number], (number, *before)))
            down[number] = count + len(nodes) - 1
            before = (down[number],)
        before = ()
        for number in range(count):
            nodes.append(Node(levels[number], (down[number], *before)))
            before = (count + len(nodes) - 1,)
        return tuple(nodes)
