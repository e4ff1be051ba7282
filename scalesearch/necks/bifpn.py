"""BiFPN: two-way fusion without the nodes that would have one input (EfficientDet, Figure 2d)."""

from __future__ import annotations

from dataclasses import dataclass

from scalesearch.arch.neck import Node
from scalesearch.errors import UserError


@dataclass(frozen=True, kw_only=True)
class FusionTable:
    """Top-down, then bottom-up; an inner level also fuses its own input once more."""

    def nodes(self, levels: range) -> tuple[Node, ...]:
        """2 * levels - 2 fusions: coarse to fine below the top, then fine to coarse.

        Raises:
            UserError: a single level, with which there is nothing to fuse.
        """
        if len(levels) < 2:
            raise UserError(
                "bifpn fuses levels, and there is one",
                key="neck.max_level",
                allowed=f"at least {levels.start + 1}",
            )
        nodes: list[Node] = []
        inputs = {level: number for number, level in enumerate(levels)}
        latest = dict(inputs)

        def fuse(level: int, *sources: int) -> None:
            nodes.append(Node(level, sources))
            latest[level] = len(levels) + len(nodes) - 1

        for level in reversed(levels[:-1]):
            fuse(level, inputs[level], latest[level + 1])
        for level in levels[1:]:
            # The top has not been fused yet: its input and what is latest there are the same.
            own = dict.fromkeys((inputs[level], latest[level]))
            fuse(level, *own, latest[level - 1])
        return tuple(nodes)
