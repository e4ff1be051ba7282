"""Peak memory of a built model, by a counted run: every storage is followed from birth to death.

Counts what PyTorch's operations make and keep: weights, gradients, the optimizer's state, what
autograd saves, and every intermediate result for as long as it lives. Left out are workspaces
inside of kernels (cuDNN, oneDNN), rounding and fragmentation by the allocator, and the memory of
Python, PyTorch and a CUDA context.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from scalesearch.cost.any_module import copied, images_for, prepared, running
from scalesearch.cost.cost import Workload
from scalesearch.errors import UserError

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

    def run(copied: nn.Module) -> int:
        copied.eval()
        images = images_for(copied, [workload.inference_batch, *shape[1:]])
        with torch.no_grad(), _LiveBytes([*_held(copied), images]) as live:
            _outputs(copied, images, workload)
        return live.peak

    return _on_a_copy(model, [workload.inference_batch, *shape[1:]], run)


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

    def run(copied: nn.Module) -> int:
        copied.train()
        average = [torch.empty_like(t) for t in _saved(copied)] if workload.ema else []
        optimizer = _optimizer(copied, workload.optimizer_copies)
        images = images_for(copied, [workload.training_batch, *shape[1:]])
        for p in copied.parameters():
            p.grad = torch.zeros_like(p) if p.requires_grad else None
        optimizer.step()
        optimizer.zero_grad()
        state = [t for s in optimizer.state.values() for t in s.values() if isinstance(t, Tensor)]
        with _LiveBytes([*_held(copied), *average, *state, images]) as live:
            _step(copied, optimizer, images, loss or _cross_entropy, workload)
        return live.peak

    return _on_a_copy(model, [workload.training_batch, *shape[1:]], run)


def _on_a_copy(model: nn.Module, shape: Sequence[int], run: Callable[[nn.Module], int]) -> int:
    """What `run` counts on a copy of fake tensors, or of real ones where it takes their values."""
    with prepared(model, shape) as plain:
        try:
            fakes = FakeTensorMode(allow_non_fake_inputs=True)
            fake = _copy(plain, fakes.from_tensor)
            with fakes:
                return run(fake)
        except UserError:
            raise
        except Exception:  # a branch on values, or a fault that shows again
            real = _copy(plain, Tensor.clone)
            with running(model, shape):
                return run(real)


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    loss: Loss,
    workload: Workload,
) -> None:
    total = loss(_outputs(model, images, workload))
    if not isinstance(total, Tensor) or total.numel() != 1:
        raise UserError(
            f"the loss is {_described(total)}", key="loss", allowed="a tensor of one number"
        )
    if total.requires_grad:  # nothing learns in a frozen model
        total.backward()
    optimizer.step()


def _cross_entropy(logits: Any) -> Tensor:
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise UserError(
            f"the model gives {_described(logits)}, of which no cross entropy can be taken",
            key="loss",
            allowed="logits [N, K]",
            hint="pass `loss=`, from the model's outputs to a scalar",
        )
    labels = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    return nn.functional.cross_entropy(logits, labels)


def _described(value: Any) -> str:
    shaped = isinstance(value, Tensor)
    return f"a tensor {list(value.shape)}" if shaped else type(value).__name__


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


def _copy(model: nn.Module, convert: Callable[[Tensor], Tensor]) -> nn.Module:
    """A copy on the CPU of converted tensors, so that no real weight need be copied."""

    def converted(tensor: Tensor) -> Tensor:
        # Of inference mode, no tensor can be trained.
        plain = tensor.clone() if tensor.is_inference() else tensor
        return convert(plain.detach().cpu())

    memo: dict[int, Any] = {}
    for p in model.parameters():
        memo[id(p)] = nn.Parameter(converted(p), p.requires_grad)
    for b in model.buffers():
        memo[id(b)] = converted(b)
    return copied(model, memo)


def _saved(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _held(model: nn.Module) -> list[Tensor]:
    """All tensors of a model, those that are neither parameters nor buffers too."""
    others = (value for module in model.modules() for value in vars(module).values())
    return [*_saved(model), *(value for value in others if isinstance(value, Tensor))]


class _LiveBytes(TorchDispatchMode):
    """Follows every storage that operations make until Python lets go of it; `peak` in bytes."""

    def __init__(self, held: Iterable[Tensor]) -> None:
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
