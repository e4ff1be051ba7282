"""NAS-FPN: the seven merges that a search found (Ghiasi, Lin & Le 2019, Figure 6)."""

from __future__ import annotations

from dataclasses import dataclass

from scalesearch.arch.neck import Node
from scalesearch.errors import UserError

# Found for P3 to P7, here 0 to 4: the level of each merge, and its inputs, where 5 is the first
# merge. Inputs that nothing else used are summed into their level's output (section 3.1), so two
# merges have three. Global pooling is a fusion like all others here.
_MERGES = (
    (1, (3, 1)),
    (1, (5, 1)),
    (0, (6, 0)),
    (1, (7, 6)),
    (2, (2, 8, 7)),
    (4, (4, 9, 6)),
    (3, (10, 9)),
)
_LEVELS = 5


@dataclass(frozen=True, kw_only=True)
class FusionTable:
    """The published cell; a level above its five is fused with what is output below it."""

    def nodes(self, levels: range) -> tuple[Node, ...]:
        """Seven fusions, and one for each level above the fifth.

        Raises:
            UserError: fewer than five levels.
        """
        extra = len(levels) - _LEVELS
        if extra < 0:
            raise UserError(
                f"nas_fpn was found for five levels, not {len(levels)}",
                key="neck.max_level",
                allowed=f"at least {levels[0] + _LEVELS - 1}",
            )
        nodes = [
            Node(levels[level], tuple(i if i < _LEVELS else i + extra for i in inputs))
            for level, inputs in _MERGES
        ]
        below = len(levels) + 5  # the merge that outputs the fifth level
        for number in range(_LEVELS, len(levels)):
            nodes.append(Node(levels[number], (number, below)))
            below = len(levels) + len(nodes) - 1
        return tuple(nodes)
