"""The training loop of detectors: a model and a data set of objects to one score an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from scalesearch.arch.detector import Detector
from scalesearch.errors import TrialError
from scalesearch.history.jobs import Score, seed_for
from scalesearch.nn.anchors import AnchorBoxes
from scalesearch.nn.build import build
from scalesearch.nn.losses import Criterion, DetectionLoss, detection_loss
from scalesearch.nn.matching import Match, match
from scalesearch.nn.postprocess import Detections, Selection, detect
from scalesearch.training.average import moving_average
from scalesearch.training.average_precision import average_precision, results_file
from scalesearch.training.batches import in_order, prefetch, shuffled
from scalesearch.training.depthwise import quick_depthwise
from scalesearch.training.device import isolated, pick_device, uses_bf16
from scalesearch.training.freezing import begin, freeze, hold_frozen
from scalesearch.training.loop import clip_gradients
from scalesearch.training.optimizers import make_optimizer, set_learning_rate
from scalesearch.training.recipe import DetectionRecipe
from scalesearch.training.run import Run
from scalesearch.training.scenes import Input, Jitter, Scene, letterbox
from scalesearch.training.schedule import factor
from scalesearch.training.voc_precision import voc_precision

if TYPE_CHECKING:
    from scalesearch.interfaces import BoxData, BoxImages

# What a validation counts: COCO looks at the best 100 of an image.
_SELECTION = Selection()
_NAMED = 20  # images with a broken loss


@dataclass(frozen=True, kw_only=True)
class DetectionRun(Run):
    """The training of a detector."""

    data: BoxData
    recipe: DetectionRecipe
    anchors: AnchorBoxes
    into: Input


def train_detector(
    model: nn.Module, data: BoxData, net: Detector, recipe: DetectionRecipe, seed: int
) -> Generator[Score, None, None]:
    """Trains `model` and yields COCO's average precisions on validation, and the mean loss.

    It does so after every `validate_every`th epoch and the last; of several `seeds` once, at the
    end of all. The last score has with it what was found, as a COCO results file. With it the model
    holds the weights that were scored, in eval mode, on the device it was trained on. The same
    model, seed, threads and machine give bit-equal weights on a CPU. Random numbers of the caller
    are never touched: each epoch draws from (seed, epoch).

    Raises:
        TrialError: a loss that is not a finite number (the images are named), or an image that
            cannot be decoded.
        UserError: the recipe freezes a stage that the network has not.
    """
    if recipe.seeds > 1:
        yield _repeated(model, data, net, recipe, seed)
        return
    run = _prepare(model, data, net, recipe)
    for epoch in range(1, recipe.epochs + 1):
        epoch_seed = seed_for(seed, "epoch", epoch)
        last = epoch == recipe.epochs
        with isolated(epoch_seed, run.device):
            loss, seconds = train_epoch(run, epoch, epoch_seed)
            validates = last or epoch % recipe.validate_every == 0
            values, found = score(run) if validates else ({}, {})
        if run.average is not None and last:
            model.load_state_dict(run.average.module.state_dict())
        model.eval()
        if validates:
            ids = data.category_ids
            file = results_file(data.validation, found, ids) if last else None
            values |= {"loss": loss} | ({"step_seconds": seconds} if recipe.timed else {})
            yield Score(epoch, values, file)


def _repeated(
    model: nn.Module, data: BoxData, net: Detector, recipe: DetectionRecipe, seed: int
) -> Score:
    """The mean score of several trainings; the model ends with the weights of the last."""
    alone, scores = replace(recipe, seeds=1), []
    for number in range(recipe.seeds):
        own = seed_for(seed, "repeat", number)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(own)
            model.load_state_dict(build(net).state_dict())
        *_, last = train_detector(model, data, net, alone, own)
        scores.append(last)
    names = [name for name in last.values if all(name in score.values for score in scores)]
    values = {name: fmean(score.values[name] for score in scores) for name in names}
    if "ap" in values:
        values["ap_spread"] = stdev(score.values["ap"] for score in scores)
    return Score(last.step, values, last.detections_json)


def train_epoch(run: DetectionRun, epoch: int, seed: int) -> tuple[float, float]:
    """One pass over the training images; the mean loss, and the median seconds of a step."""
    recipe = run.recipe
    draws = np.random.default_rng(seed)
    batches = shuffled(len(run.data.train), recipe.batch_size, torch.Generator().manual_seed(seed))
    run.model.train()
    hold_frozen(run.model, recipe)
    total, seconds = 0.0, []
    with quick_depthwise(run.model):
        for done, scenes in enumerate(prefetch(_reader(run, draws), batches)):
            step = (epoch - 1) * run.steps + done
            share = factor(step, recipe.epochs * run.steps, recipe.warmup)
            set_learning_rate(run.optimizer, recipe.peak_learning_rate * share)
            began = time.perf_counter()
            total += _step(run, scenes, epoch)  # waits for its loss, also on a GPU
            seconds.append(time.perf_counter() - began)
    return total / len(batches), median(seconds)


@torch.no_grad()
def score(run: DetectionRun) -> tuple[dict[str, float], dict[int, Detections]]:
    """COCO's average precisions and VOC's (`ap50_voc`), over every validation image once, and the
    detections by the index of their image.
    """
    images = run.data.validation
    found = detections(run, run.scored.eval(), images)
    values = average_precision(images, found, run.data.classes)
    if values:  # else there is nothing to be found
        values["ap50_voc"] = voc_precision(images, found)
    return values, found


@torch.no_grad()
def detections(run: DetectionRun, model: nn.Module, images: BoxImages) -> dict[int, Detections]:
    """What a model finds in each image, in the image's own pixels, by index."""
    size = run.recipe.validation_batch or 2 * run.recipe.batch_size

    def read(indices: np.ndarray) -> list[Scene]:
        return [_letterboxed(images, index, run.into) for index in indices.tolist()]

    found: dict[int, Detections] = {}
    for scenes in prefetch(read, in_order(len(images), size)):
        pixels, logits, codes = _forward(run, model, scenes)
        places = [scene.place for scene in scenes if scene.place is not None]
        every = detect(logits, codes, run.anchors(pixels), places, _SELECTION)
        for scene, one in zip(scenes, every, strict=True):
            found[scene.index] = Detections(*(part.cpu() for part in one))
    return found


def loss_without_objects(outputs: tuple[Tensor, Tensor]) -> Tensor:
    """The loss of a detector's outputs for images without objects: what memory is measured with."""
    logits, codes = outputs
    none = torch.zeros(0, dtype=torch.int64, device=logits.device)
    bare = Match(anchors=none, labels=none, deltas=codes.new_zeros(0, 4), ignored=none)
    return detection_loss(logits, codes, [bare] * len(logits)).total


def _prepare(
    model: nn.Module, data: BoxData, net: Detector, recipe: DetectionRecipe
) -> DetectionRun:
    device = pick_device(recipe.device)
    model.to(device)
    model.to(memory_format=torch.channels_last)
    begin(model, recipe)
    freeze(model, net, recipe)
    average = None if recipe.ema is None else moving_average(model, recipe.ema)
    return DetectionRun(
        model=model,
        average=average,
        optimizer=make_optimizer(model, recipe),
        data=data,
        recipe=recipe,
        device=device,
        anchors=AnchorBoxes(net),
        into=Input(net.resolution, data.mean),
    )


def _step(run: DetectionRun, scenes: Sequence[Scene], epoch: int) -> float:
    """One update of the weights; the loss."""
    pixels, logits, codes = _forward(run, run.model, scenes)
    anchors = run.anchors(pixels)
    matches = [
        match(anchors, *(t.to(run.device) for t in (scene.boxes, scene.labels, scene.crowd)))
        for scene in scenes
    ]
    criterion = Criterion(label_smoothing=run.recipe.label_smoothing)
    loss = detection_loss(logits, codes, matches, criterion)
    value = _checked(run, loss, scenes, epoch)
    run.optimizer.zero_grad(set_to_none=True)
    loss.total.backward()  # type: ignore[no-untyped-call]
    if run.recipe.clip is not None:
        clip_gradients(list(run.model.parameters()), run.recipe.clip, run.device)
    run.optimizer.step()
    if run.average is not None:
        run.average.update_parameters(run.model)
    return value


def _checked(run: DetectionRun, loss: DetectionLoss, scenes: Sequence[Scene], epoch: int) -> float:
    """The loss as a number; `TrialError` names the images if it is none."""
    value = float(loss.total.detach())
    if math.isfinite(value):
        return value
    broken = loss.broken or range(len(scenes))  # all of them where only the sum is too large
    ids = [str(run.data.train.ids[scenes[i].index]) for i in broken]
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    raise TrialError(
        f"loss is {value} in epoch {epoch}, images with the ids {', '.join(ids[:_NAMED])}{more}"
    )


def _forward(
    run: DetectionRun, model: nn.Module, scenes: Sequence[Scene]
) -> tuple[Tensor, Tensor, Tensor]:
    """The normalised input [N, C, R, R], class logits and box codes."""
    pixels = torch.stack([scene.pixels for scene in scenes]).to(run.device, non_blocking=True)
    shape = (1, -1, 1, 1)
    mean = torch.tensor(run.data.mean, device=run.device).view(shape) * 255
    std = torch.tensor(run.data.std, device=run.device).view(shape) * 255
    images = ((pixels.float() - mean) / std).contiguous(memory_format=torch.channels_last)
    bf16 = uses_bf16(run.recipe.precision, run.device)
    with torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=bf16):
        logits, codes = model(images)
    return images, logits.float(), codes.float()


def _letterboxed(images: BoxImages, index: int, into: Input) -> Scene:
    return letterbox(images.image(index), images.targets(index), index, into)


def _reader(run: DetectionRun, draws: np.random.Generator) -> Callable[[np.ndarray], list[Scene]]:
    """A function from indices to scenes; it is called in order, so draws follow from the seed."""
    images, into = run.data.train, run.into
    jitter = Jitter(run.recipe.jitter, run.data.flip)

    def read(indices: np.ndarray) -> list[Scene]:
        if not run.recipe.augment:
            return [_letterboxed(images, index, into) for index in indices.tolist()]
        return [
            jitter(images.image(index), images.targets(index), index, into, draws)
            for index in indices.tolist()
        ]

    return read
