"""FPN: top-down fusion (Lin et al. 2017), repeated as in EfficientDet's Table 5."""

from __future__ import annotations

from dataclasses import dataclass

from scalesearch.arch.neck import Node


@dataclass(frozen=True, kw_only=True)
class FusionTable:
    """Each level fuses its input with the level above; the top has its input alone."""

    def nodes(self, levels: range) -> tuple[Node, ...]:
        """As many fusions as levels, coarse to fine."""
        above: tuple[int, ...] = ()
        nodes = []
        for number in reversed(range(len(levels))):
            nodes.append(Node(levels[number], (number, *above)))
            above = (len(levels) + len(nodes) - 1,)
        return tuple(nodes)
