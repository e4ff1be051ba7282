"""Peak memory on a GPU, as its allocator counts it."""

from __future__ import annotations

import copy

import torch
from torch import nn


def gpu_bytes(model, shape, workload, loss):
    """Bytes of a training step other than the first: what the counted run follows, each tensor's
    rounding up to 512 bytes, and the workspaces of cuDNN and cuBLAS.

    The CUDA context is not in it, nor what the allocator holds back of freed memory.
    """
    before = torch.cuda.memory_allocated()
    copied = copy.deepcopy(model).cuda().train().to(memory_format=torch.channels_last)
    images = torch.zeros(workload.training_batch, *shape[1:], device="cuda")
    images = images.contiguous(memory_format=torch.channels_last)
    if workload.optimizer_copies >= 2:
        optimizer = torch.optim.AdamW(copied.parameters(), foreach=False)
    else:
        momentum = 0.9 * workload.optimizer_copies
        optimizer = torch.optim.SGD(copied.parameters(), 0.1, momentum=momentum, foreach=False)

    def step():
        optimizer.zero_grad()
        bf16 = workload.precision == "bf16"
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=bf16):
            outputs = copied(images)
        outputs = tuple(o.float() for o in outputs) if isinstance(outputs, tuple) else outputs
        loss(outputs).backward()
        optimizer.step()

    step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def cross_entropy(logits):
    labels = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    return nn.functional.cross_entropy(logits.float(), labels)
