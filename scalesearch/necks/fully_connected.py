"""Fully connected: every level fuses every level (the comparison of EfficientDet's Table 5)."""

from __future__ import annotations

from dataclasses import dataclass

from scalesearch.arch.neck import Node


@dataclass(frozen=True, kw_only=True)
class FusionTable:
    """What each level outputs fuses all that the layer takes."""

    def nodes(self, levels: range) -> tuple[Node, ...]:
        """As many fusions as levels, each of all levels."""
        every = tuple(range(len(levels)))
        return tuple(Node(level, every) for level in levels)
