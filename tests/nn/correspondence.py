"""What a built network runs and what the walk says that it runs, in the same words."""

from __future__ import annotations

import torch
from torch import nn

from scalesearch.arch.walk import walk
from scalesearch.nn.blocks import Shortcut
from scalesearch.nn.layers import Activation, DropPath, MaxPool, SqueezeExcite


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
            return "linear", module.in_features, module.bias is not None
        case nn.BatchNorm2d():
            return "norm", module.num_features
        case MaxPool():
            return "max_pool", 3, module.stride
        case Shortcut():
            return ("cut", module.stride) if out is not given else None
        case nn.Dropout():
            return ("dropout",) if module.p else None
        case Activation() | SqueezeExcite() | DropPath() | nn.AdaptiveAvgPool2d():
            return (KINDS[type(module)],)
    return None


KINDS = {
    Activation: "active",
    SqueezeExcite: "gate",
    DropPath: "add",
    nn.AdaptiveAvgPool2d: "pool",
}


def walked(net, size):
    """The same from the walk: each operation's layers by the names that their modules have."""
    done = {}
    for part in walk(net, size):
        for _ in range(part.repeats if part.name.startswith("stage") else 1):
            place = part.name
            if place.startswith("stage"):
                number = int(place.removeprefix("stage")) - 1
                place = f"stages.{number}.{done.setdefault(number, 0)}"
                done[number] += 1
            for op in part.ops:
                yield from layers_of(op, place)


# Operations that are no module of their name: the block itself, and one that may also drop.
OWNERS = {"cut": "", "add": ".drop_path", "squeeze": ".squeeze"}


def layers_of(op, place):
    """The layers of one operation, which all have its output's size."""
    stage = place.startswith("stages")
    shape = (op.outputs, *op.size_out) if op.kind != "linear" else (op.outputs,)
    # A convolution, its norm and its activation are one module of the operation's name; the stem
    # and the head are such modules themselves.
    within = f"{place}.{op.name}" if stage else place
    squeezing = op.name.startswith("squeeze.")
    if op.kind == "conv":
        name = f"{place}.{op.name}" if squeezing else f"{within}.conv"
        yield name, "conv", op.inputs, op.kernel, op.stride, op.groups, op.bias, shape
    elif op.kind == "linear":
        yield op.name, "linear", op.inputs, op.bias, shape
    elif op.kind == "max_pool":
        yield "stem_pool", "max_pool", op.kernel, op.stride, shape
    elif op.kind == "cut":
        yield f"{place}{OWNERS.get(op.name, op.name)}", "cut", op.stride, shape
    elif op.kind in ("add", "gate"):
        yield f"{place}{OWNERS.get(op.name, op.name)}", op.kind, shape
    elif op.kind in ("pool", "dropout") and not squeezing:
        yield op.name, op.kind, shape if op.kind == "pool" else shape[:1]
    if op.norm:
        yield f"{within}.norm", "norm", op.outputs, shape
    if op.active:
        owner = f"{place}.squeeze" if squeezing else place if op.kind == "add" else within
        yield f"{owner}.active", "active", shape
