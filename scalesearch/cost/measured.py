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
from torch.jit._trace import TracerWarning

from scalesearch.cost.any_module import (
    TensorOutputs,
    evaluating,
    following,
    images_for,
    prepared,
)
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

    from scalesearch.cost.operators import HANDLES, PRODUCTS, without_a_count

_ACTIVATION_OPS = (
    *("aten::_convolution", "aten::_convolution_mode", "aten::addmm", "aten::linear"),
    "aten::matmul",
)


def measure(
    model: nn.Module, shape: Shape, workload: Workload | None = None, loss: Loss | None = None
) -> Cost:
    """The cost of a model: counts by fvcore, memory by following live tensors.

    `flops` are the multiply-adds of convolutions, linear layers and all other matrix products,
    attention and recurrent layers included. An operator that may do work and has no count is named
    in a warning, once.

    Args:
        model: any classifier, or any module that `loss` is for; its parameters, buffers and mode
            are left as they are. Lazy layers are given their shapes in a copy.
        shape: [N, C, H, W] of the images that counts are taken for; N = 1 gives the counts of one
            image.
        workload: batches, optimizer and precision that memory is counted for.
        loss: from the model's outputs to the scalar that it is trained with; by default cross
            entropy of its logits.

    Raises:
        UserError: the model cannot be run on such images, or cannot be followed.
    """
    workload = workload or Workload()
    with prepared(model, shape) as plain:
        counts = measure_counts(plain, shape)
        inference = measure_inference_bytes(plain, shape, workload)
        training = measure_training_bytes(plain, shape, workload, loss)
    return Cost(**counts, inference_bytes=inference, training_bytes=training)


def measure_counts(model: nn.Module, shape: Shape) -> dict[str, int]:
    """flops, flops_total, params and activations of a forward pass, by one fvcore trace.

    Raises:
        UserError: the model cannot be run on such images, or cannot be followed.
    """
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    activations: Counter[str] = Counter()
    with prepared(model, shape) as plain, evaluating(plain), torch.no_grad(), _quiet():
        images = images_for(plain, shape)
        analysis = FlopCountAnalysis(TensorOutputs(plain), images)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.set_op_handle(**HANDLES)
        for op in _ACTIVATION_OPS:
            analysis.set_op_handle(op, _with_activations(op, analysis._op_handles, activations))
        with following(plain, images):
            by_operator = analysis.by_operator()
        params = sum(p.numel() for p in plain.parameters())
    _warn(analysis.unsupported_ops())
    flops = sum(n for op, n in by_operator.items() if op in PRODUCTS)
    return {
        "flops": round(flops),
        "flops_total": round(sum(by_operator.values())),
        "params": params,
        "activations": round(sum(activations.values())),
    }


def _warn(operators: Counter[str]) -> None:
    unknown = without_a_count(sorted(operators))
    if unknown:
        warnings.warn(f"flops leave out what has no count here: {', '.join(unknown)}", stacklevel=4)


@contextmanager
def _quiet() -> Iterator[None]:
    """No remarks on what a trace turns into constants, and attention layers as their operators.

    In evaluation torch would take one fused operator for them, which has no count.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TracerWarning)
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _with_activations(
    op: str, handles: dict[str, Callable[..., Any]], activations: Counter[str]
) -> Callable[..., Any]:
    """fvcore's FLOP handle of an operation, which also counts its output values on the way."""
    flops, outputs = handles[op], generic_activation_jit(op)

    def handle(inputs: list[Any], made: list[Any]) -> Any:
        activations[op] += sum(dict(outputs(inputs, made)).values())
        return flops(inputs, made)

    return handle
