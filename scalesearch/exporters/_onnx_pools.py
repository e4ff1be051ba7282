"""Max pooling in an ONNX file that pads for itself.

PyTorch pads alike on both sides, so TensorFlow's SAME padding is an operation before it, of minus
infinity. In a file it would be a tensor that holds infinities, to which no 8-bit scale can be
fitted; ONNX's own pooling takes four sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def pad_in_pools(graph: onnx.GraphProto) -> None:
    """Moves what only a max pooling reads out of a Pad of minus infinity into that pooling."""
    import onnx

    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    pads = {node.output[0]: node for node in graph.node if _is_infinite(node, values)}
    readers = [name for node in graph.node for name in node.input]
    for pool in [node for node in graph.node if node.op_type == "MaxPool"]:
        pad = pads.get(pool.input[0])
        if pad is None or readers.count(pad.output[0]) > 1:
            continue
        sides = values[pad.input[1]].tolist()
        around = [*sides[2:4], *sides[6:8]]  # of rows and columns; before, then behind
        fields = {one.name: one.ints for one in pool.attribute}
        kernel = [*fields["kernel_shape"], *fields["kernel_shape"]]
        # A window must hold at least one pixel.
        if any(fields["pads"]) or any(n >= side for n, side in zip(around, kernel, strict=True)):
            continue
        fields["pads"][:] = around
        pool.input[0] = pad.input[0]
        graph.node.remove(pad)
    still = {name for node in graph.node for name in node.input}
    for one in [one for one in graph.initializer if one.name not in still]:
        graph.initializer.remove(one)


def _is_infinite(node: onnx.NodeProto, values: dict[str, Any]) -> bool:
    constant = node.op_type == "Pad" and all(name in values for name in node.input[1:3])
    return constant and len(node.input) == 3 and values[node.input[2]].item() == float("-inf")
