"""The training loop: a model and a data set to one score an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from scalesearch.errors import TrialError
from scalesearch.history.jobs import Score, seed_for
from scalesearch.training.augment import augment
from scalesearch.training.average import moving_average
from scalesearch.training.batches import in_order, prefetch, shuffled
from scalesearch.training.depthwise import quick_depthwise
from scalesearch.training.device import isolated, pick_device, uses_bf16
from scalesearch.training.optimizers import make_optimizer, set_learning_rate
from scalesearch.training.recipe import Recipe
from scalesearch.training.run import Run
from scalesearch.training.schedule import factor

if TYPE_CHECKING:
    from scalesearch.interfaces import ImageData, Images

# Losses are looked at this often: looking makes a GPU wait for its queue to run dry.
_LOOK_EVERY = 20
_Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class ClassifierRun(Run):
    """The training of a classifier."""

    data: ImageData
    resolution: int


def train(
    model: nn.Module, data: ImageData, resolution: int, recipe: Recipe, seed: int
) -> Generator[Score, None, None]:
    """Trains `model` and yields accuracy (0 to 1) and mean loss on validation after each epoch.

    With the last score the model holds the weights that were scored, in eval mode, on the device
    it was trained on. The same model, seed, threads and machine give bit-equal weights on a CPU.
    Random numbers of the caller are never touched: each epoch draws from (seed, epoch).

    Raises:
        TrialError: the loss is not a finite number, or an image cannot be decoded.
    """
    run = _prepare(model, data, resolution, recipe)
    for epoch in range(1, recipe.epochs + 1):
        epoch_seed = seed_for(seed, "epoch", epoch)
        with isolated(epoch_seed, run.device):
            train_epoch(run, epoch, torch.Generator().manual_seed(epoch_seed))
            values = score(run)
        if not math.isfinite(values["loss"]):
            raise TrialError(f"validation loss is {values['loss']} after epoch {epoch}")
        if run.average is not None and epoch == recipe.epochs:
            model.load_state_dict(run.average.module.state_dict())
        model.eval()
        yield Score(epoch, values)


def train_epoch(run: ClassifierRun, epoch: int, draws: torch.Generator) -> None:
    """One pass over the training images, shuffled and augmented by `draws`."""
    recipe, images = run.recipe, run.data.train
    losses: list[torch.Tensor] = []
    run.model.train()
    batches = shuffled(len(images), recipe.batch_size, draws)
    with quick_depthwise(run.model):
        for pixels, labels in prefetch(_reader(run, images), batches):
            step = (epoch - 1) * run.steps + len(losses)
            share = factor(step, recipe.epochs * run.steps, recipe.warmup)
            set_learning_rate(run.optimizer, recipe.peak_learning_rate * share)
            if recipe.augment:
                pixels = augment(pixels, run.data.flip, draws)
            losses.append(_step(run, pixels, labels))
            if len(losses) % _LOOK_EVERY == 0 or len(losses) == run.steps:
                _check_losses(run, losses, epoch)


@torch.no_grad()
def score(run: ClassifierRun) -> dict[str, float]:
    """Accuracy (0 to 1) and mean cross-entropy over every validation image once."""
    images, model = run.data.validation, run.scored.eval()
    size = run.recipe.validation_batch or 2 * run.recipe.batch_size
    right, loss = 0, 0.0
    for pixels, labels in prefetch(_reader(run, images), in_order(len(images), size)):
        logits = _forward(run, model, pixels)
        labels = labels.to(run.device, non_blocking=True)
        right += int((logits.argmax(dim=1) == labels).sum())
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
    return {"accuracy": right / len(images), "loss": loss / len(images)}


def _prepare(model: nn.Module, data: ImageData, resolution: int, recipe: Recipe) -> ClassifierRun:
    device = pick_device(recipe.device)
    model.to(device)
    model.to(memory_format=torch.channels_last)
    average = None if recipe.ema is None else moving_average(model, recipe.ema)
    optimizer = make_optimizer(model, recipe)
    return ClassifierRun(
        model=model,
        average=average,
        optimizer=optimizer,
        data=data,
        resolution=resolution,
        recipe=recipe,
        device=device,
    )


def _step(run: ClassifierRun, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """One update of the weights; the loss as a scalar on the device."""
    run.optimizer.zero_grad(set_to_none=True)  # before activations take their room
    labels = labels.to(run.device, non_blocking=True)
    logits = _forward(run, run.model, pixels)
    loss = functional.cross_entropy(logits, labels, label_smoothing=run.recipe.label_smoothing)
    loss.backward()  # type: ignore[no-untyped-call]
    if run.recipe.clip is not None:
        clip_gradients(list(run.model.parameters()), run.recipe.clip, run.device)
    run.optimizer.step()
    if run.average is not None:
        run.average.update_parameters(run.model)
    return loss.detach()


def clip_gradients(parameters: list[nn.Parameter], clip: float, device: torch.device) -> None:
    """Scales the gradients down to a norm of `clip` if theirs is larger."""
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    # Scaling by 1 reads and writes every gradient; only a CPU can look without waiting for a queue.
    if device.type != "cpu" or not norm <= clip:
        nn.utils.clip_grads_with_norm_(parameters, clip, norm, foreach=True)


def _forward(run: ClassifierRun, model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Logits [N, K] in float32 of uint8 images [N, C, R, R]."""
    images = pixels.to(run.device, non_blocking=True).float()
    shape = (1, -1, 1, 1)
    mean = torch.tensor(run.data.mean, device=run.device).view(shape) * 255
    std = torch.tensor(run.data.std, device=run.device).view(shape) * 255
    images = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
    bf16 = uses_bf16(run.recipe.precision, run.device)
    with torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=bf16):
        logits: torch.Tensor = model(images)
    return logits.float()


def _reader(run: ClassifierRun, images: Images) -> Callable[[np.ndarray], _Pair]:
    """A function from indices to uint8 images and labels, ready to be sent to the device."""

    def read(indices: np.ndarray) -> _Pair:
        pixels = images.batch(indices, run.resolution)
        labels = torch.from_numpy(images.labels[indices])
        return (pixels.pin_memory(), labels.pin_memory()) if on_gpu else (pixels, labels)

    on_gpu = run.device.type == "cuda"
    return read


def _check_losses(run: ClassifierRun, losses: list[torch.Tensor], epoch: int) -> None:
    """Raises `TrialError` for the first loss that is no finite number."""
    first = len(losses) - 1 - (len(losses) - 1) % _LOOK_EVERY
    for step, loss in enumerate(torch.stack(losses[first:]).tolist(), first + 1):
        if not math.isfinite(loss):
            done = (epoch - 1) * run.steps + step - 1
            share = factor(done, run.recipe.epochs * run.steps, run.recipe.warmup)
            rate = run.recipe.peak_learning_rate * share
            raise TrialError(
                f"loss is {loss} in epoch {epoch}, step {step} (learning rate {rate:.3g})"
            )
