"""Training on a GPU: images a second in each precision, and memory against the closed form.

`python -m tests.benchmarks gpu`, on a machine that has one.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.nn.build import build
from scalesearch.training.detect import loss_without_objects
from tests.gpu.memory import cross_entropy, gpu_bytes

CASES = (
    ("efficientnet_b0", 224, 128, cross_entropy),
    ("efficientnet_v2_s", 224, 64, cross_entropy),
    ("resnet50", 224, 128, cross_entropy),
    ("efficientdet_d0", 512, 16, loss_without_objects),
)
_STEPS, _WARM_UP = 20, 5


def rows() -> list[dict[str, Any]]:
    """A row for each network and precision; none without a GPU."""
    if not torch.cuda.is_available():
        return [{"network": "none: this machine has no GPU"}]
    return [
        row(name, side, batch, loss, precision)
        for name, side, batch, loss in CASES
        for precision in ("float32", "bf16")
    ]


def row(name: str, side: int, batch: int, loss: Any, precision: str) -> dict[str, Any]:
    """One network in one precision."""
    net = published(name, resolution=side)
    workload = Workload(training_batch=batch, optimizer_copies=1, precision=precision)
    measured = gpu_bytes(build(net), (1, 3, side, side), workload, loss)
    own = cost(net, workload=workload).training_bytes
    return {
        "network": name,
        "precision": precision,
        "batch": batch,
        "images/s": round(batch / seconds(net, side, batch, loss, precision), 1),
        "allocator MiB": round(measured / 2**20, 1),
        "closed form MiB": round(own / 2**20, 1),
        "ratio": round(own / measured, 4),
    }


def seconds(net: Any, side: int, batch: int, loss: Any, precision: str) -> float:
    """The mean time of a training step."""
    model = build(net).cuda().train().to(memory_format=torch.channels_last)
    images = torch.zeros(batch, 3, side, side, device="cuda")
    images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, fused=True)
    started = 0.0
    for step in range(_WARM_UP + _STEPS):
        if step == _WARM_UP:
            torch.cuda.synchronize()
            started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16"):
            outputs = model(images)
        outputs = tuple(o.float() for o in outputs) if isinstance(outputs, tuple) else outputs
        loss(outputs).backward()
        optimizer.step()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / _STEPS
