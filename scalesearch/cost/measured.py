"""What a built model costs, measured on it: fvcore's counts, and memory by a counted run.

Takes any module that maps one batch of images to logits, or to what a loss is given for; nothing
here knows our architectures.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from scalesearch.cost.cost import Cost, Workload
from scalesearch.cost.measured_memory import (
    Loss,
    Shape,
    measure_inference_bytes,
    measure_training_bytes,
)

with warnings.catch_warnings():
    # fvcore scripts a loss function when it is imported, which torch calls outdated.
    warnings.simplefilter("ignore", FutureWarning)
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import generic_activation_jit

# fvcore's names of the operations that count as `flops`; batch norm and pooling come on top.
_CONV_AND_LINEAR = ("conv", "linear", "addmm", "matmul", "bmm", "einsum")
_ACTIVATION_OPS = ("aten::_convolution", "aten::addmm", "aten::linear", "aten::matmul")


def measure(
    model: nn.Module, shape: Shape, workload: Workload | None = None, loss: Loss | None = None
) -> Cost:
    """The cost of a model: counts by fvcore, memory by following live tensors.

    Args:
        model: any classifier, or any module that `loss` is for; its parameters, buffers and mode
            are left as they are.
        shape: [N, C, H, W] of the images that counts are taken for, on the CPU; N = 1 gives the
            counts of one image.
        workload: batches, optimizer and precision that memory is counted for.
        loss: from the model's outputs to the scalar that it is trained with; by default cross
            entropy of its logits.
    """
    workload = workload or Workload()
    counts = measure_counts(model, shape)
    inference = measure_inference_bytes(model, shape, workload)
    training = measure_training_bytes(model, shape, workload, loss)
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
