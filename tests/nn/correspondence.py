"""What a built network runs and what the walk says that it runs, in the same words."""

from __future__ import annotations

import torch
from torch import nn

from scalesearch.arch.walk import walk
from scalesearch.nn.blocks import Shortcut
from scalesearch.nn.layers import Activation, DropPath, MaxPool, SqueezeExcite

# Operations that no module of their own runs: functions, and the loss.
_NO_MODULE = ("mean", "sigmoid", "pad", "cross_entropy")


def ran(model, images):
    """Every layer that an evaluation ran, in the order in which it ended: name, what, sizes."""
    events = []

    def hook(name, module):
        def note(_, given, out):
            found = layer(module, given[0], out)
            if found:
                events.append((name, *found, tuple(out.shape[1:])))

        return note

    handles = [m.register_forward_hook(hook(name, m)) for name, m in model.named_modules()]
    with torch.no_grad():
        model.eval()(images)
    for handle in handles:
        handle.remove()
    return events


def layer(module, given, out):
    """What a layer is, with all that decides its cost; None for what is no layer."""
    match module:
        case nn.Conv2d():
            kernel, stride = module.kernel_size[0], module.stride[0]
            assert module.kernel_size == (kernel, kernel)
            assert module.stride == (stride, stride)
            bias = module.bias is not None
            return "conv", module.in_channels, kernel, stride, module.groups, bias
        case nn.Linear():
            return "linear", module.in_features
        case nn.BatchNorm2d():
            return "batch_norm", module.num_features
        case MaxPool():
            return "max_pool", 3, module.stride
        case Shortcut():
            return ("shortcut",) if out is not given else None
        case nn.Dropout():
            return ("dropout",) if module.p else None
        case Activation() | SqueezeExcite() | DropPath() | nn.AdaptiveAvgPool2d():
            return (KINDS[type(module)],)
    return None


KINDS = {
    Activation: "activation",
    SqueezeExcite: "multiply",
    DropPath: "add",
    nn.AdaptiveAvgPool2d: "avg_pool",
}


def walked(net, size):
    """The same from the walk: each operation by the path of its module."""
    blocks = {}
    for part in walk(net, size):
        for _ in range(part.repeats):
            place = ""
            if part.name.startswith("stage"):
                number = int(part.name.removeprefix("stage")) - 1
                place = f"stages.{number}.{blocks.setdefault(number, 0)}"
                blocks[number] += 1
            for op in part.graph.ops:
                if op.kind not in _NO_MODULE:
                    name = op.name.removesuffix(".multiply")
                    yield ".".join(filter(None, (place, name))), *event(op)


def event(op):
    """What an operation is, with all that decides its cost."""
    width, size = op.output
    match op.kind:
        case "conv":
            return "conv", op.source.width, op.kernel, op.stride, op.groups, op.bias, (width, *size)
        case "linear":
            return "linear", op.source.width, (width,)
        case "batch_norm":
            return "batch_norm", width, (width, *size)
        case "max_pool":
            return "max_pool", op.kernel, op.stride, (width, *size)
        case "dropout":
            return "dropout", (width,)
    return op.kind, (width, *size)
