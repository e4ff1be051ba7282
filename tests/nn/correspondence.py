"""What a built network runs and what its graph says that it runs, in the same words."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from scalesearch.arch.walk import walk
from scalesearch.nn.blocks import Shortcut
from scalesearch.nn.detector import Predictor
from scalesearch.nn.layers import Activation, DropPath, MaxPool, SamePad, SqueezeExcite
from scalesearch.nn.pyramid import Fusion, Resample

IMAGES = -1
# In a neck the graph also pads a side of one pixel, which is not pooled: its size is not compared.
PADDED = "pad to pool"
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
        self.ran, self.running, self.seen = [], [], set()
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
        return lambda module, given: self.running.append((name, module))

    def _after(self, name):
        def note(module, given, out):
            self.running.pop()
            if (operation := layer(module, given[0], out)) is not None:
                kind, details = operation
                shared = ("shared",) if kind == "conv" and name in self.seen else ()
                self.seen.add(name)
                self._note(name, kind, (*details, *shared), given, out)

        return note

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        called = func.__name__.strip("_")
        name, module = self.running[-1] if self.running else ("", None)
        match module:
            case SqueezeExcite() if called in SQUEEZING:
                self._note(f"{name}.{SQUEEZING[called]}", SQUEEZING[called], (), args, out)
            case Resample() if called == "interpolate":
                self._note(name, "upsample", (), args[:1], out)
            case Resample() if called == "pad":
                self._note(f"{name}.pad", PADDED, (), args[:1], out)
            case Resample() if called == "max_pool2d":
                kernel, stride = max(args[1]), max(kwargs["stride"])
                self._note(name, "max_pool", (kernel, stride), args[:1], out)
            case Predictor() if called == "cat":
                pixels = out.transpose(1, 2).unsqueeze(2)
                self._note(f"{name}.pixels", "concat", (), args[0], pixels)
                self._same(pixels, out)
            case _ if called in ("sum", "flatten", "permute", "transpose", "unsqueeze"):
                self._same(args[0], out)  # a part of the operation behind it, or none
        return out

    def _same(self, known, other):
        """Another tensor of what the graph has as one."""
        if id(known) in self.numbers:
            self.numbers[id(other)] = self.numbers[id(known)]
            self.alive.append(other)  # no other tensor gets its id

    def _note(self, name, kind, details, given, out):
        given = given[0] if isinstance(given[0], list) else given
        inputs = tuple(self.numbers[id(x)] for x in given if isinstance(x, torch.Tensor))
        if kind == "max_pool" and self.ran and self.ran[-1].name == f"{name}.pad":
            inputs = (len(self.ran) - 1,)  # the padding is inside of the pooling's module
        shape = () if kind == PADDED else (*out.shape[1:], 1, 1)[:3]
        self.numbers[id(out)] = len(self.ran)
        self.alive.append(out)
        self.ran.append(Ran(name, kind, inputs, details, shape))


# Functions that squeeze-excite calls, to the operations of its graph.
SQUEEZING = {
    "mean": "mean",
    "truediv": "mean",
    "div": "mean",
    "sigmoid": "sigmoid",
    "mul": "multiply",
}


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
        case nn.GroupNorm():
            return "group_norm", (module.num_groups,)
        case Fusion():
            return "fuse", (module.kind,)
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
    operations, blocks, x, taps = [], {}, [IMAGES], {}
    for part in walk(net, size):
        for _ in range(part.repeats):
            prefix, taken = "", x
            if part.name.startswith("stage"):
                index = int(part.name.removeprefix("stage")) - 1
                block = blocks[index] = blocks.get(index, -1) + 1
                prefix = f"{'backbone.' * bool(net.sources)}stages.{index}.{block}."
            elif part.name.startswith("stem") and net.sources:
                prefix = "backbone."
            elif part.name.startswith("neck"):
                layer = blocks["neck"] = blocks.get("neck", -1) + 1
                prefix = f"neck.layers.{layer}."
                taken = x if layer else [taps[index] for index in net.sources]
            known = dict(enumerate(taken))
            for op in part.graph.ops:
                if op.kind not in LOSSES:
                    inputs = tuple(known.get(i) for i in op.inputs)
                    operations.append(described(op, prefix, inputs))
                known[len(known)] = len(operations) - 1
            if not part.name.endswith("_head"):  # both heads take what the neck outputs
                x = [known.get(i) for i in part.graph.outputs]
            if part.name.startswith("stage"):
                taps[index] = x[0]
    return operations


def described(op, prefix, inputs):
    shape = (op.output.width, *op.output.size)
    marks = (*["bias"] * op.bias, *["shared"] * op.shared)
    details = {
        "conv": (op.source.width, op.kernel, op.stride, op.groups, *marks),
        "linear": (op.source.width,),
        "activation": (op.function,),
        "max_pool": (op.kernel, op.stride),
        "add": (op.function,),
        "fuse": (op.function,),
        "group_norm": (op.groups,),
    }.get(op.kind, ())
    if op.name.startswith("extra."):  # levels that are made in front of the first layer
        prefix = "neck."
    name = f"{prefix}{op.name}".removesuffix(".")
    if op.kind == "pad" and name.startswith("neck."):
        return Ran(name, PADDED, inputs, details, ())
    return Ran(name, op.kind, inputs, details, shape)
