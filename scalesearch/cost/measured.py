"""What a built model costs, measured on it: fvcore's counts and a counted run for memory.

Takes any module that maps one batch of images to logits; nothing here knows our architectures.
"""

from __future__ import annotations

import copy
import logging
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from scalesearch.cost.cost import Cost, Workload

with warnings.catch_warnings():
    # fvcore scripts a loss function when it is imported, which torch calls outdated.
    warnings.simplefilter("ignore", FutureWarning)
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import generic_activation_jit

# fvcore's names of the operations that count as `flops`; batch norm and pooling come on top.
_CONV_AND_LINEAR = ("conv", "linear", "addmm", "matmul", "bmm", "einsum")
_ACTIVATION_OPS = ("aten::_convolution", "aten::addmm", "aten::linear", "aten::matmul")

Shape = tuple[int, int, int, int]


def measure(model: nn.Module, shape: Shape, workload: Workload | None = None) -> Cost:
    """The cost of a model: counts by fvcore, memory by following live tensors.

    Args:
        model: any classifier; its parameters, buffers and mode are left as they are.
        shape: [N, C, H, W] of the images that counts are taken for, on the CPU; N = 1 gives the
            counts of one image.
        workload: batch and optimizer that memory is counted for.
    """
    workload = workload or Workload()
    counts = measure_counts(model, shape)
    inference = measure_inference_bytes(model, shape, workload)
    training = measure_training_bytes(model, shape, workload)
    return Cost(**counts, inference_bytes=inference, training_bytes=training)


def measure_counts(model: nn.Module, shape: Shape) -> dict[str, int]:
    """flops, flops_total, params and activations of a forward pass, by one fvcore trace."""
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    first = next(model.parameters(), torch.empty(0))
    images = torch.zeros(shape, dtype=first.dtype, device=first.device)
    activations: Counter[str] = Counter()
    with _evaluating(model), torch.no_grad():
        analysis = FlopCountAnalysis(model, images)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        for op in _ACTIVATION_OPS:
            analysis.set_op_handle(op, _with_activations(op, analysis._op_handles, activations))
        by_operator = analysis.by_operator()
    flops = sum(n for op, n in by_operator.items() if op in _CONV_AND_LINEAR)
    return {
        "flops": round(flops),
        "flops_total": round(sum(by_operator.values())),
        "params": sum(p.numel() for p in model.parameters()),
        "activations": round(sum(activations.values())),
    }


def measure_inference_bytes(model: nn.Module, shape: Shape, workload: Workload) -> int:
    """Peak bytes of a forward pass without gradients, in a counted run on fake tensors."""
    with FakeTensorMode(allow_non_fake_inputs=True) as fakes:
        fake = _fake_copy(model, fakes).eval()
        images = torch.empty(workload.inference_batch, *shape[1:])
        with torch.no_grad(), _LiveBytes([*_held(fake), images]) as live:
            fake(images)
    return live.peak


def measure_training_bytes(model: nn.Module, shape: Shape, workload: Workload) -> int:
    """Peak bytes of the second training step (the optimizer's state exists), in a counted run.

    The optimizer is SGD, SGD with momentum or AdamW, as `workload.optimizer_copies` says.
    """
    batch = workload.training_batch
    with FakeTensorMode(allow_non_fake_inputs=True) as fakes:
        fake = _fake_copy(model, fakes).train()
        average = [torch.empty_like(t) for t in _held(fake)] if workload.ema else []
        optimizer = _optimizer(fake, workload.optimizer_copies)
        images = torch.empty(batch, *shape[1:])
        labels = torch.zeros(batch, dtype=torch.int64)
        _step(fake, optimizer, images, labels)
        optimizer.zero_grad()
        state = [t for s in optimizer.state.values() for t in s.values() if isinstance(t, Tensor)]
        with _LiveBytes(_held(fake) + average + state + [images]) as live:
            _step(fake, optimizer, images, labels)
    return live.peak


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> None:
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()


def _optimizer(model: nn.Module, copies: int) -> torch.optim.Optimizer:
    if copies >= 2:
        return torch.optim.AdamW(model.parameters(), foreach=False)
    momentum = 0.9 if copies else 0.0
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum, foreach=False)


def _fake_copy(model: nn.Module, fakes: FakeTensorMode) -> nn.Module:
    # A deep copy whose tensors are looked up in `memo` never copies a real weight.
    memo: dict[int, Any] = {}
    for p in model.parameters():
        memo[id(p)] = nn.Parameter(fakes.from_tensor(p.detach().cpu()), p.requires_grad)
    for b in model.buffers():
        memo[id(b)] = fakes.from_tensor(b.detach().cpu())
    return copy.deepcopy(model, memo)


def _held(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


class _LiveBytes(TorchDispatchMode):
    """Follows every storage that operations make until Python lets go of it; `peak` in bytes."""

    def __init__(self, held: list[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()
        for tensor in held:
            self._follow(tensor)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._follow(leaf)
        return out

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the time of a trace, which would otherwise change running statistics."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _with_activations(
    op: str, handles: dict[str, Callable[..., Any]], activations: Counter[str]
) -> Callable[..., Any]:
    """fvcore's FLOP handle of an operation, which also counts its output values on the way."""
    flops, outputs = handles[op], generic_activation_jit(op)

    def handle(inputs: list[Any], made: list[Any]) -> Any:
        activations[op] += sum(dict(outputs(inputs, made)).values())
        return flops(inputs, made)

    return handle
