"""Peak memory of a built model, by a counted run: every storage is followed from birth to death.

Counts what PyTorch's operations make and keep: weights, gradients, the optimizer's state, what
autograd saves, and every intermediate result for as long as it lives. Left out are workspaces
inside of kernels (cuDNN, oneDNN), rounding and fragmentation by the allocator, and the memory of
Python, PyTorch and a CUDA context.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from scalesearch.cost.cost import Workload
from scalesearch.errors import UserError
from scalesearch.text import shortened

Shape = tuple[int, int, int, int]
Loss = Callable[[Any], Tensor]

_LOW = {"bf16": torch.bfloat16, "float16": torch.float16}


def measure_inference_bytes(model: nn.Module, shape: Shape, workload: Workload) -> int:
    """Peak bytes of a forward pass without gradients, in a counted run on fake tensors.

    Args:
        model: any module that takes one batch of images; it is left as it is.
        shape: [N, C, H, W] of the images; the workload says how many.
        workload: batch and precision.
    """
    with FakeTensorMode(allow_non_fake_inputs=True) as fakes:
        fake = _fake_copy(model, fakes).eval()
        images = _images(fake, workload.inference_batch, shape)
        held = [*_held(fake), images]
        with running(model, images.shape), torch.no_grad(), _LiveBytes(held) as live:
            _outputs(fake, images, workload)
    return live.peak


def measure_training_bytes(
    model: nn.Module, shape: Shape, workload: Workload, loss: Loss | None = None
) -> int:
    """Peak bytes of a training step other than the first, in a counted run on fake tensors.

    The optimizer is SGD, SGD with momentum or AdamW, as `workload.optimizer_copies` says. Where
    two gradients meet, autograd makes a third tensor under a dispatch mode as here, while it adds
    in place without one; that is seldom where the peak is.

    Args:
        model: any classifier, or any module that `loss` is for; it is left as it is.
        shape: [N, C, H, W] of the images; the workload says how many.
        workload: batch, optimizer and precision.
        loss: from the model's outputs to a scalar; by default cross entropy of its logits.
    """
    loss = loss or _cross_entropy
    with FakeTensorMode(allow_non_fake_inputs=True) as fakes:
        fake = _fake_copy(model, fakes).train()
        average = [torch.empty_like(t) for t in _held(fake)] if workload.ema else []
        optimizer = _optimizer(fake, workload.optimizer_copies)
        images = _images(fake, workload.training_batch, shape)
        for p in fake.parameters():
            p.grad = torch.zeros_like(p) if p.requires_grad else None
        optimizer.step()
        optimizer.zero_grad()
        state = [t for s in optimizer.state.values() for t in s.values() if isinstance(t, Tensor)]
        held = _held(fake) + average + state + [images]
        with running(model, images.shape), _LiveBytes(held) as live:
            _step(fake, optimizer, images, loss, workload)
    return live.peak


@contextmanager
def running(model: nn.Module, shape: Sequence[int]) -> Iterator[None]:
    """Makes one sentence of whatever a model raises when it is run on images of a shape."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = shortened(" ".join(str(error).split()) or type(error).__name__)
        sides = " x ".join(map(str, shape))
        hint = "give the images another shape, or mend the model"
        if "more than 1 value per channel" in reason:
            hint = "take two images or more (--batch 2), or larger ones (--resolution)"
        raise UserError(
            f"{type(model).__name__} cannot be run on images of {sides}: {reason}", hint=hint
        ) from error


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    loss: Loss,
    workload: Workload,
) -> None:
    total = loss(_outputs(model, images, workload))
    if total.requires_grad:  # nothing learns in a frozen model
        total.backward()
    optimizer.step()


def _images(model: nn.Module, count: int, shape: Shape) -> Tensor:
    """Images in the type of the model's weights."""
    types = [p.dtype for p in model.parameters() if p.is_floating_point()]
    return torch.empty(count, *shape[1:], dtype=types[0] if types else torch.float32)


def _cross_entropy(logits: Any) -> Tensor:
    if not isinstance(logits, Tensor) or logits.ndim < 2:
        raise UserError(
            f"the model gives {type(logits).__name__}, of which no cross entropy can be taken",
            key="loss",
            allowed="logits [N, K]",
            hint="pass `loss=`, from the model's outputs to a scalar",
        )
    labels = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    return nn.functional.cross_entropy(logits, labels)


def _outputs(model: nn.Module, images: Tensor, workload: Workload) -> Any:
    """The model's outputs, in float32; only its forward pass is in the workload's precision."""
    low = _LOW.get(workload.precision)
    with torch.autocast(images.device.type, dtype=low, enabled=low is not None):
        outputs = model(images)
    return tree_map_only(Tensor, Tensor.float, outputs)


def _optimizer(model: nn.Module, copies: int) -> torch.optim.Optimizer:
    # An optimizer wants a parameter, and a model may have none.
    parameters = list(model.parameters()) or [nn.Parameter(torch.empty(0))]
    if copies >= 2:
        return torch.optim.AdamW(parameters, foreach=False)
    momentum = 0.9 if copies else 0.0
    return torch.optim.SGD(parameters, lr=0.1, momentum=momentum, foreach=False)


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
        if func is torch.ops.aten.native_batch_norm.default:
            # Fake tensors say that statistics come in the input's type; every kernel's are float32.
            out = (out[0], out[1].float(), out[2].float())
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
