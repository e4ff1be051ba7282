"""What a built network runs and what its graph says that it runs, in the same words."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from scalesearch.arch.walk import walk
from scalesearch.nn.blocks import Shortcut
from scalesearch.nn.layers import Activation, DropPath, MaxPool, SamePad

IMAGES = -1
LOSSES = ("cross_entropy", "focal_loss", "box_loss")


class Ran(NamedTuple):
    """An operation as it ran: `inputs` are numbers of earlier operations, or `IMAGES`."""

    name: str
    kind: str
    inputs: tuple[int, ...]
    details: tuple[object, ...]
    shape: tuple[int, ...]


def ran(model, images):
    """Every operation that an evaluation ran, in order."""
    recorder = Recorder(model, images)
    with torch.no_grad(), recorder:
        model.eval()(images)
    return recorder.close()


class Recorder(TorchFunctionMode):
    """Notes the modules that run, and the functions of those that have no module of their own."""

    def __init__(self, model, images):
        super().__init__()
        self.ran, self.running = [], []
        self.numbers, self.alive = {id(images): IMAGES}, [images]
        self.handles = []
        for name, module in model.named_modules():
            self.handles.append(module.register_forward_pre_hook(self._before(name)))
            self.handles.append(module.register_forward_hook(self._after(name)))

    def close(self):
        for handle in self.handles:
            handle.remove()
        return self.ran

    def _before(self, name):
        return lambda module, given: self.running.append(name)

    def _after(self, name):
        def note(module, given, out):
            self.running.pop()
            if (operation := layer(module, given[0], out)) is not None:
                self._note(name, *operation, given, out)

        return note

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        called = func.__name__.strip("_")
        module = self.running[-1] if self.running else ""
        if module.endswith("squeeze") and called in SQUEEZING:
            self._note(f"{module}.{SQUEEZING[called]}", SQUEEZING[called], (), args, out)
        elif called in ("sum", "flatten"):  # a part of the operation behind it, or none
            self.numbers[id(out)] = self.numbers[id(args[0])]
            self.alive.append(out)
        return out

    def _note(self, name, kind, details, given, out):
        inputs = tuple(self.numbers[id(x)] for x in given if isinstance(x, torch.Tensor))
        if self.ran and self.ran[-1].name == f"{name}.pad":  # a pooling's, inside of it
            inputs = (len(self.ran) - 1,)
        shape = (*out.shape[1:], 1, 1)[:3]
        self.numbers[id(out)] = len(self.ran)
        self.alive.append(out)  # no other tensor gets its id
        self.ran.append(Ran(name, kind, inputs, details, shape))


# Functions that squeeze-excite calls, to the operations of its graph.
SQUEEZING = {"truediv": "mean", "div": "mean", "sigmoid": "sigmoid", "mul": "multiply"}


def layer(module, given, out):
    """The kind of an operation and all that decides its cost; None for what is no operation."""
    match module:
        case nn.Conv2d():
            kernel, stride = module.kernel_size[0], module.stride[0]
            assert module.kernel_size == (kernel, kernel)
            assert module.stride == (stride, stride)
            return "conv", (module.in_channels, kernel, stride, module.groups, *bias(module))
        case nn.Linear():
            return "linear", (module.in_features,)
        case nn.BatchNorm2d():
            return "batch_norm", ()
        case Activation():
            return "activation", (module.name,)
        case SamePad():
            return "pad", ()
        case MaxPool():
            return "max_pool", (3, module.stride)
        case nn.AdaptiveAvgPool2d():
            return "avg_pool", ()
        case Shortcut():
            return ("shortcut", ()) if out is not given else None
        case DropPath():
            return "add", ("drop_path" if module.rate else "",)
        case nn.Dropout():
            return ("dropout", ()) if module.p else None
    return None


def bias(module):
    return ("bias",) if module.bias is not None else ()


def walked(net, size):
    """The same from the graphs of the walk."""
    operations, blocks, x = [], {}, IMAGES
    for part in walk(net, size):
        for _ in range(part.repeats):
            prefix = ""
            if part.name.startswith("stage"):
                index = int(part.name.removeprefix("stage")) - 1
                block = blocks[index] = blocks.get(index, -1) + 1
                prefix = f"stages.{index}.{block}."
            numbers = [x]
            for op in part.graph.ops:
                if op.kind not in LOSSES:
                    known = dict(enumerate(numbers))
                    inputs = tuple(known.get(i) for i in op.inputs)
                    operations.append(described(op, prefix, inputs))
                numbers.append(len(operations) - 1)
            x = dict(enumerate(numbers)).get(part.graph.outputs[0])
    return operations


def described(op, prefix, inputs):
    shape = (op.output.width, *op.output.size)
    biased = ("bias",) if op.bias else ()
    details = {
        "conv": (op.source.width, op.kernel, op.stride, op.groups, *biased),
        "linear": (op.source.width,),
        "activation": (op.function,),
        "max_pool": (op.kernel, op.stride),
        "add": (op.function,),
    }.get(op.kind, ())
    return Ran(f"{prefix}{op.name}".removesuffix("."), op.kind, inputs, details, shape)
