"""Modules as people have them, made ready to be counted, and left as they were.

Whatever a module cannot be counted for becomes one sentence.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from numbers import Integral
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, is_lazy

from scalesearch.errors import UserError
from scalesearch.text import shortened

# What torch says where code asks for a GPU on a machine, or of a build, without one.
_NO_GPU = ("NVIDIA driver", "not compiled with CUDA", "No CUDA GPUs are available")


@contextmanager
def prepared(model: nn.Module, shape: Sequence[int]) -> Iterator[nn.Module]:
    """The model without its compiled parts' compilation, or a copy whose lazy layers have shapes.

    Gradients are on, whatever they were before; the random state and the model are put back.

    Raises:
        UserError: not a module or a shape, or a module that no operator can be seen of.
    """
    _check(model, shape)
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.random.fork_rng(devices=[]),
        _uncompiled(model) as plain,
    ):
        if any(map(is_lazy, _state(plain))):
            plain = _shaped(plain, shape)
        yield plain


@contextmanager
def running(model: nn.Module, shape: Sequence[int]) -> Iterator[None]:
    """Makes one sentence of whatever a model raises when it is run on images of a shape."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason, sides = _reason(error), " x ".join(map(str, shape))
        if any(words in reason for words in _NO_GPU):
            raise UserError(
                f"{type(model).__name__} asks for a GPU in its own code, where there is none: "
                f"{reason}",
                hint="let it keep to the device of its images: no `.cuda()` in its code",
            ) from error
        raise UserError(
            f"{type(model).__name__} cannot be run on images of {sides}: {reason}",
            hint=_way_out(reason),
        ) from error


@contextmanager
def following(model: nn.Module, images: Tensor) -> Iterator[None]:
    """The same while a model is followed, which fails for more reasons than running it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        with running(model, images.shape):
            model(images)
        reason = _reason(error)
        if "requires grad as a constant" in reason:
            reason = "it uses weights that are not registered in it"
        raise UserError(
            f"{type(model).__name__} runs, but its operators cannot be followed: {reason}",
            hint="measure it without what torch.jit.trace cannot follow: quantised layers, layers "
            "in a plain list, compiled functions, functional_call, reentrant checkpoints",
        ) from error


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; then modes, hooks and buffers are as they were."""
    modes = [(module, module.training) for module in model.modules()]
    hooks = [
        (hooks, set(hooks))
        for module in model.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks)
    ]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers() if not is_lazy(buffer)]
    named = [(module._buffers, dict(module._buffers)) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for now, before in hooks:
            for key in now.keys() - before:
                del now[key]
        for names, tensors in named:
            names.update(tensors)  # a cache may be another tensor after each batch
        with torch.no_grad():
            for buffer, value in buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


def copied(model: nn.Module, memo: dict[int, object]) -> nn.Module:
    """A deep copy, for which `memo` holds copies of tensors by the identity of the original.

    Raises:
        UserError: it cannot be copied.
    """
    for module in model.modules():
        for value in vars(module).values():
            # What a hook or a pass has computed, as `weight_norm` does: no leaf can be copied.
            if isinstance(value, Tensor):
                memo.setdefault(id(value), value.detach().clone())
    for buffer in model.buffers():
        if isinstance(buffer, UninitializedBuffer):  # which has no copy of its own
            memo.setdefault(id(buffer), UninitializedBuffer().to(buffer.device, buffer.dtype))
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise UserError(
            f"{type(model).__name__} cannot be copied, and memory is counted on a copy: "
            f"{_reason(error)}",
            hint="take out what cannot be copied: locks, files, generators",
        ) from error


def images_for(model: nn.Module, shape: Sequence[int]) -> Tensor:
    """Black images of a shape, in the type of most of the model's weights, on their device."""
    sizes: Counter[tuple[torch.dtype, torch.device]] = Counter()
    for p in model.parameters():
        if p.is_floating_point() or p.is_complex():
            # Real matrices before single numbers and before filters in the frequency domain.
            rank = 0 if is_lazy(p) else (p.ndim > 1) * p.numel() * (not p.is_complex())
            sizes[p.dtype, p.device] += rank
    kind, device = max(sizes, key=lambda one: sizes[one], default=(torch.float32, "cpu"))
    return torch.zeros(*shape, dtype=kind, device=device)


class TensorOutputs(nn.Module):
    """A model with nothing but the tensors among its outputs, which alone can be traced."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Its one tensor, or all of them."""
        tensors = tuple(_tensors(self.model(images)))
        return tensors[0] if len(tensors) == 1 else tensors


def _tensors(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, Tensor):
        yield outputs
    elif dataclasses.is_dataclass(outputs) and not isinstance(outputs, type):
        for field in dataclasses.fields(outputs):
            yield from _tensors(getattr(outputs, field.name))
    elif isinstance(outputs, Mapping):
        for value in outputs.values():
            yield from _tensors(value)
    elif isinstance(outputs, list | tuple):
        for value in outputs:
            yield from _tensors(value)


def _check(model: nn.Module, shape: Sequence[int]) -> None:
    if not isinstance(model, nn.Module):
        raise UserError(
            f"a module is measured, not {type(model).__name__}",
            allowed="a torch.nn.Module",
            hint="build an architecture first: ss.build(net); its arithmetic is ss.cost(net)",
        )
    sides: list[Any] = list(shape) if isinstance(shape, Sequence) else []
    if len(sides) < 2 or not all(isinstance(side, Integral) and int(side) > 0 for side in sides):
        raise UserError(
            f"{shortened(repr(shape))} is no shape of images",
            key="shape",
            allowed="[N, C, H, W], each at least 1",
        )
    name = type(model).__name__
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise UserError(
            f"{name} holds scripted or traced modules, whose operators cannot be followed",
            hint="measure the module that torch.jit.script or torch.jit.trace was given",
        )
    if any(isinstance(m, torch.fx.GraphModule) and "eval" in vars(m) for m in model.modules()):
        raise UserError(
            f"{name} holds a program of torch.export, which has one mode alone",
            hint="measure the module that torch.export was given",
        )
    if any(tensor.is_meta for tensor in _state(model) if not is_lazy(tensor)):
        raise UserError(
            f"{name} is on the meta device, where nothing can be followed",
            hint='give it memory: model.to_empty(device="cpu")',
        )


def _state(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _shaped(model: nn.Module, shape: Sequence[int]) -> nn.Module:
    """A copy whose lazy layers have the shapes that such images give them."""
    shaped = copied(model, {})
    images = images_for(shaped, shape)
    with evaluating(shaped), torch.no_grad(), running(model, shape):
        shaped(images)
    return shaped


@contextmanager
def _uncompiled(model: nn.Module) -> Iterator[nn.Module]:
    """The model with what `torch.compile` was given in place of what it returned."""
    with ExitStack() as stack:
        for module in model.modules():
            given = {name: _given(part) for name, part in module._modules.items()}
            if given != module._modules:
                stack.enter_context(mock.patch.dict(module._modules, given))
            if module._compiled_call_impl is not None:
                stack.enter_context(mock.patch.object(module, "_compiled_call_impl", None))
        yield _given(model)


def _given(module: Any) -> Any:
    """What `torch.compile` was given if it returned this, else the same."""
    return getattr(module, "_orig_mod", module)


def _reason(error: Exception) -> str:
    return shortened(" ".join(str(error).split()) or type(error).__name__)


def _way_out(reason: str) -> str:
    if "Expected more than 1" in reason:  # values per channel of a batch norm, or pixels
        return "take two images or more (--batch 2), or larger ones (--resolution)"
    if "forward() " in reason and "argument" in reason:
        return "wrap it in a module whose forward takes one batch of images alone"
    return "give images of another shape [N, C, H, W], or mend the model"
