"""A network's operations as a graph, and the builder that writes it like a forward pass.

Counts are sums over a graph (`cost/counts.py`) and memory is a simulation of it (`cost/memory.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Size = tuple[int, int]  # height, width in pixels


class FeatureMap(NamedTuple):
    """Channels and size of one tensor of one image, [width, *size]."""

    width: int
    size: Size

    @property
    def values(self) -> int:
        """How many values it has."""
        return self.width * self.size[0] * self.size[1]


class Op(NamedTuple):
    """One operation on one image.

    Attributes:
        kind: `conv`, `linear`, `batch_norm`, `group_norm`, `activation`, `sigmoid`, `multiply`
            (each channel by its own factor), `add`, `fuse` (weighted sum of maps), `max_pool`,
            `avg_pool` (AdaptiveAvgPool2d to one pixel), `mean` (the same as a sum and a division),
            `upsample` (nearest), `pad`, `shortcut` (parameter-free),
            `dropout`, `concat`; and of a training step alone `cross_entropy`,
            `focal_loss`, `box_loss`.
        name: path of its module within the block, such as `expand.conv`.
        inputs: numbers of the tensors that it takes: first the graph's inputs, then the outputs
            of its operations in their order.
        source, output: its first input and its output.
        kernel, stride, groups, bias: of a convolution; a max pooling has the first two. `groups` of
            a group norm are its groups.
        function: which activation, or how a fusion weighs its inputs; `drop_path` of an addition
            whose branch may be dropped.
        shared: it runs with the parameters of an earlier operation of the same name.
    """

    kind: str
    name: str
    inputs: tuple[int, ...]
    source: FeatureMap
    output: FeatureMap
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = False
    function: str = ""
    shared: bool = False

    @property
    def weights(self) -> int:
        """Values of the weight of a convolution or linear layer, its bias left out."""
        inputs = self.source.width // self.groups
        return self.output.width * inputs * self.kernel * self.kernel


class Graph(NamedTuple):
    """The operations of a block in order of execution.

    Attributes:
        inputs: what the block takes.
        ops: operation i makes tensor `len(inputs) + i`.
        outputs: numbers of the tensors that the block returns.
        image: the input is the batch of images, which needs no gradient.
        held: tensors that a variable of a module holds until that module returns: number, and path
            of the module within the block.
    """

    inputs: tuple[FeatureMap, ...]
    ops: tuple[Op, ...]
    outputs: tuple[int, ...]
    image: bool = False
    held: tuple[tuple[int, str], ...] = ()

    def map(self, tensor: int) -> FeatureMap:
        """Channels and size of a tensor."""
        first = len(self.inputs)
        return self.inputs[tensor] if tensor < first else self.ops[tensor - first].output


class GraphBuilder:
    """Writes a graph, one operation after the other; each method returns its output's number.

    Args:
        inputs: what the block takes; their numbers are 0, 1, …
        activation: of every `act`.
        same: padding of strided convolutions and poolings is an operation of its own.
    """

    def __init__(
        self, inputs: Sequence[FeatureMap], activation: str = "", *, same: bool = False
    ) -> None:
        self._inputs, self._activation, self._same = tuple(inputs), activation, same
        self._maps, self._ops, self._held = list(inputs), list[Op](), list[tuple[int, str]]()

    def graph(self, *outputs: int, image: bool = False) -> Graph:
        """The graph that was written."""
        return Graph(self._inputs, tuple(self._ops), outputs, image, tuple(self._held))

    def hold(self, x: int, module: str = "") -> int:
        """`x`, which a variable of `module` (by default the block) holds until that returns."""
        self._held.append((x, module))
        return x

    def map(self, x: int) -> FeatureMap:
        """Channels and size of a tensor."""
        return self._maps[x]

    def op(
        self,
        kind: str,
        name: str,
        *inputs: int,
        output: FeatureMap | None = None,
        groups: int = 1,
        function: str = "",
        shared: bool = False,
    ) -> int:
        """Any operation that has no method of its own; by default it keeps its input's size."""
        source = self._maps[inputs[0]]
        if output is None:
            output = source
        self._ops.append(
            Op(kind, name, inputs, source, output, 1, 1, groups, False, function, shared)
        )
        self._maps.append(output)
        return len(self._maps) - 1

    def conv(
        self,
        name: str,
        x: int,
        width: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        *,
        bias: bool = False,
        shared: bool = False,
        size: Size | None = None,
    ) -> int:
        """A convolution to `width` channels, and to `ceil(side / stride)` pixels or `size`."""
        source = self._maps[x]
        output = FeatureMap(width, size or shrink(source.size, stride))
        op = Op("conv", name, (x,), source, output, kernel, stride, groups, bias, "", shared)
        return self._append(op)

    def conv_norm_act(
        self,
        name: str,
        x: int,
        width: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        act: bool = True,
    ) -> int:
        """A convolution without bias, a batch norm and the activation (`nn.layers.ConvNormAct`)."""
        size = shrink(self._maps[x].size, stride)
        if stride > 1 and self._same:
            x = self.pad(f"{name}.pad", x, kernel, stride)
        y = self.conv(f"{name}.conv", x, width, kernel, stride, groups, size=size)
        y = self.op("batch_norm", f"{name}.norm", y) if norm else y
        return self.act(f"{name}.active", y) if act else y

    def norm_act(self, name: str, x: int) -> int:
        """A batch norm and the activation (`nn.layers.NormAct`)."""
        return self.act(f"{name}.active", self.op("batch_norm", f"{name}.norm", x))

    def act(self, name: str, x: int) -> int:
        """The activation."""
        return self.op("activation", name, x, function=self._activation)

    def add(self, name: str, x: int, branch: int, *, drops: bool = False) -> int:
        """A shortcut and its branch, which training may drop (`nn.layers.DropPath`)."""
        return self.op("add", name, x, branch, function="drop_path" if drops else "")

    def squeeze_excite(self, name: str, x: int, squeezed: int) -> int:
        """Each channel times a weight computed from all channels (`nn.layers.SqueezeExcite`)."""
        width = self._maps[x].width
        means = self.op("mean", f"{name}.mean", x, output=FeatureMap(width, (1, 1)))
        y = self.conv(f"{name}.reduce", self.hold(means, name), squeezed, bias=True)
        y = self.conv(f"{name}.expand", self.act(f"{name}.active", y), width, bias=True)
        shares = self.op("sigmoid", f"{name}.sigmoid", self.hold(y, name))
        return self.op("multiply", f"{name}.multiply", x, shares)

    def max_pool(self, name: str, x: int, kernel: int, stride: int, size: Size) -> int:
        """Max pooling to `size`."""
        if self._same:
            x = self.pad(f"{name}.pad", x, kernel, stride)
        source = self._maps[x]
        output = FeatureMap(source.width, size)
        return self._append(Op("max_pool", name, (x,), source, output, kernel, stride))

    def pad(self, name: str, x: int, kernel: int, stride: int) -> int:
        """TensorFlow's SAME padding before a strided operation, as an operation of its own."""
        width, size = self._maps[x]
        rows, columns = (max(side, (-(-side // stride) - 1) * stride + kernel) for side in size)
        return self.op("pad", name, x, output=FeatureMap(width, (rows, columns)))

    def _append(self, op: Op) -> int:
        self._ops.append(op)
        self._maps.append(op.output)
        return len(self._maps) - 1


def shrink(size: Size, stride: int) -> Size:
    """The output size of any strided operation here: odd kernels, padded: ceil(side / stride)."""
    return (-(-size[0] // stride), -(-size[1] // stride)) if stride > 1 else size
