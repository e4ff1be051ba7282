"""The feature network between a backbone and its heads, as a table of fusion nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from scalesearch.arch import check
from scalesearch.errors import UserError

FUSIONS = ("fast", "softmax", "sum", "unbounded")


class Node(NamedTuple):
    """One fusion: `inputs`, resampled to its pyramid level, become one feature map.

    Inputs are numbered as they come: first what the layer takes, one for each level from the
    finest, then its nodes in their order. A level's last node is what the layer outputs there.
    """

    level: int
    inputs: tuple[int, ...]


class FusionTable(Protocol):
    """`necks/`: which feature maps one layer of a neck fuses."""

    def nodes(self, levels: range) -> tuple[Node, ...]:
        """The fusions of one layer in order of computation; `UserError` for too few levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neck:
    """A feature network of `depth` equal layers.

    Attributes:
        kind: a file of `necks/`: bifpn, fpn, panet, nas_fpn, fully_connected.
        width: channels of every feature map it outputs.
        depth: layers; each takes what the one before it output.
        fusion: how a node weighs its inputs (EfficientDet, section 3.3): `fast` (ReLU of a learnt
            weight, divided by their sum plus 1e-4), `softmax` (of learnt weights), `unbounded`
            (learnt weights as they are) or `sum` (no weights).
        min_level, max_level: of the pyramid; level l has one pixel for 2^l of the image.
    """

    kind: str = "bifpn"
    width: int = 64
    depth: int = 3
    fusion: str = "fast"
    min_level: int = 3
    max_level: int = 7

    def __post_init__(self) -> None:
        for key in ("width", "depth", "min_level"):
            check.whole(key, getattr(self, key))
        check.whole("max_level", self.max_level, least=self.min_level)
        check.one_of("fusion", self.fusion, FUSIONS)
        if not isinstance(self.kind, str) or not self.kind:
            raise UserError(f"{self.kind!r} cannot be used", key="kind", allowed="bifpn, fpn, …")

    @property
    def levels(self) -> range:
        """The pyramid's levels from the finest."""
        return range(self.min_level, self.max_level + 1)

    @property
    def label(self) -> str:
        """Every field in a few words: `bifpn fast w64 d3 p3-p7`."""
        levels = f"p{self.min_level}-p{self.max_level}"
        return f"{self.kind} {self.fusion} w{self.width} d{self.depth} {levels}"


def check_nodes(nodes: tuple[Node, ...], levels: range) -> None:
    """Rejects a table that no module could run, as somebody's own wiring may put one out."""
    for number, node in enumerate(nodes, start=len(levels)):
        known = all(isinstance(i, int) and 0 <= i < number for i in node.inputs)
        if not node.inputs or not known or len(set(node.inputs)) < len(node.inputs):
            raise UserError(
                f"fusion {number} has the inputs {node.inputs!r}",
                key="neck.kind",
                allowed=f"different feature maps that come before it: 0 to {number - 1}",
            )
    bare = set(levels) - {node.level for node in nodes}
    odd = {node.level for node in nodes} - set(levels)
    if bare or odd:
        raise UserError(
            f"fusions at the levels {sorted({node.level for node in nodes})!r}",
            key="neck.kind",
            allowed=f"each of {levels.start} to {levels.stop - 1} once or more",
        )


def outputs(nodes: tuple[Node, ...], levels: range) -> tuple[int, ...]:
    """For each level the number of the feature map that a layer outputs: its last node's."""
    last = {level: number for number, level in enumerate(levels)}
    for number, node in enumerate(nodes, start=len(levels)):
        last[node.level] = number
    return tuple(last[level] for level in levels)
