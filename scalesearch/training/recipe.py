"""How a network is trained: every choice in one frozen record, without torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from scalesearch.cost.cost import Precision, Workload
from scalesearch.errors import UserError, nearest
from scalesearch.training.presets import CLASSIFICATION_PRESETS, DETECTION_PRESETS


@dataclass(frozen=True, slots=True)
class OptimizerDefaults:
    """What an optimizer starts from when the recipe leaves it open.

    Attributes:
        learning_rate: peak, at `batch` images.
        batch: that it was published for.
        scaling: how it grows with the batch: `linear` or `root`.
        weight_decay: of weight matrices and kernels; norms and biases never decay.
        copies: values kept for each parameter.
    """

    learning_rate: float
    batch: int
    scaling: Literal["linear", "root"]
    weight_decay: float
    copies: int


# adamw: peak found on MBConv networks trained for the few epochs of a search (mnist5k, 3 epochs,
#   batch 128: accuracy .61 at Adam's own 1.4e-3, .89 at 3e-3, .94 at 6e-3); it grows with the
#   square root of the batch (Malladi et al. 2022, "On the SDEs and Scaling Rules for Adaptive
#   Gradient Algorithms"); decay 0.05 as in DeiT and ConvNeXt.
# sgd: 0.1 for 256 images, linear (Goyal et al. 2017).
# rmsprop: EfficientNet's official code, 0.016 for 256 images, linear (0.256 at 4,096).
OPTIMIZERS = {
    "adamw": OptimizerDefaults(4e-3, 128, "root", 0.05, 2),
    "sgd": OptimizerDefaults(0.1, 256, "linear", 1e-4, 1),
    "rmsprop": OptimizerDefaults(0.016, 256, "linear", 1e-5, 2),
}
# adamw: peak found on detectors of 8 M flops trained for the few epochs of a search (mnist_canvas,
#   6 epochs, batch 8: AP50 .79 at 1.2e-2, .82 at 2e-2, .75 at 3e-2).
# sgd: EfficientDet's official code, 0.08 for 64 images, linear, decay 4e-5.
DETECTION_OPTIMIZERS = {
    "adamw": OptimizerDefaults(2e-2, 8, "root", 0.05, 2),
    "sgd": OptimizerDefaults(0.08, 64, "linear", 4e-5, 1),
}
ENOUGH = 8  # images of a batch whose statistics are fit for batch norm
FEW_CLASSES = 10  # of so many, or fewer, the best five say little
# What memory is counted for, by precision.
_COUNTED: Mapping[str, Precision] = {"bf16": "bf16", "fp16": "float16"}
POLICIES = ("rand_augment", "auto_augment", "trivial_augment")
MOST_MAGNITUDE = 30  # of a policy's operations
_PARTS = re.compile(r"stem|stage[1-9]\d*")
_DEVICES = re.compile(r"auto|cpu|cuda(:\d+)?")


@dataclass(frozen=True, kw_only=True)
class CommonRecipe:
    """How a network of either task is trained.

    Attributes:
        epochs: passes over the training images.
        batch_size: images in a training step; at least 2, since batch norm needs a variance.
        micro_batch: images at once, where memory does not hold a batch: gradients are added up to
            the batch's, batch norms see so many. By default the whole batch; `auto` is as many as
            are predicted to fit into the memory of a worker's GPU, of which it needs a whole one
            (a limit on `training_bytes` counts 8 images then). A trial that runs out of memory is
            trained again with half.
        optimizer: `adamw`, `sgd` (Nesterov momentum 0.9) or `rmsprop` (as in EfficientNet).
        learning_rate: the peak; by default the optimizer's own, scaled to the batch.
        learning_rate_for: images in a batch that the given `learning_rate` is for: others scale it
            as they do the optimizer's own. By default it is taken as it is.
        weight_decay: by default the optimizer's own.
        warmup: share of all steps in which the rate rises from 0.
        rate_decay: how it falls then: `cosine`, half of one, or `step`, in steps.
        decay_every: share of the training from one of these steps to the next, warm-up counted in.
        decay_factor: that the rate is multiplied with in each.
        label_smoothing: share of the target spread over all classes (Szegedy et al. 2016).
        clip: largest norm of the gradient, or null. The default lets ordinary steps pass and
            bounds the steps of networks that were never tried before (5, as in DARTS).
        ema: decay of a moving average of the weights, which is then what is scored; null is none.
        weights: a file of weights to begin with, of such a network, or of a classifier that is a
            detector's backbone, as its trainer or another library saved it: those that fit by name
            and shape are taken, all else is drawn. How many is said before the first trial.
        freeze: `stem` or `stageN`: the backbone up to and with it is not trained, as those weights
            on little data ask for.
        frozen_norm: batch norms of the backbone keep statistics and weights.
        precision: `bf16` and `fp16` are mixed precision, `fp16` on GPUs alone and with a scaled
            loss; `auto` takes `bf16` on GPUs that compute in it, `fp16` on others with tensor
            cores, and `float32` on all else.
        tf32: on GPUs, products and convolutions in float32 round their factors to TF32's 10 bits.
        cudnn_benchmark: on GPUs, cuDNN times its algorithms for each new shape and takes the
            fastest; not with `execution: {deterministic: true}`.
        device: `auto` (a GPU if the process sees one), `cpu`, `cuda` or `cuda:N`.
        loaders: processes that read images ahead of the training; 0 reads in a thread of its own.
            By default as many as a worker has CPUs where a GPU trains on images that are decoded or
            changed one by one, else 0. Pixels do not depend on it.
        validation_batch: images at once in validation; by default twice as many as in training.
        validate_every: epochs from one validation to the next; the last is always validated.
        checkpoint: which weights count: the `last`, or the `best` of all validated epochs by
            `accuracy` (or `ap`), whose scores are then the trial's.
        seeds: trainings with weights and draws of their own; scores are means, and
            `accuracy_spread` (`ap_spread`, …) is the standard deviation over them.
        timed: `step_seconds`, the median time of a training step, is among the scores.
    """

    optimizers: ClassVar[Mapping[str, OptimizerDefaults]] = OPTIMIZERS
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    epochs: int = 10
    batch_size: int = 128
    micro_batch: int | Literal["auto"] | None = None
    optimizer: Literal["adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: float | None = None
    learning_rate_for: int | None = None
    weight_decay: float | None = None
    warmup: float = 0.1
    rate_decay: Literal["cosine", "step"] = "cosine"
    decay_every: float = 2.4 / 350
    decay_factor: float = 0.97
    label_smoothing: float = 0.1
    clip: float | None = 5.0
    ema: float | None = None
    augment: bool = True
    weights: Path | None = None
    freeze: str | None = None
    frozen_norm: bool = False
    precision: Literal["auto", "bf16", "fp16", "float32"] = "auto"
    tf32: bool = False
    cudnn_benchmark: bool = False
    device: str = "auto"
    loaders: int | None = None
    validation_batch: int | None = None
    validate_every: int = 1
    checkpoint: Literal["last", "best"] = "last"
    seeds: int = 1
    timed: bool = False

    def require_files(self) -> None:
        """Raises `UserError` for a file that is named and not there."""
        for key in ("weights", "teacher_weights"):
            path = getattr(self, key, None)
            if path is not None and not path.is_file():
                raise UserError(f"there is no file {path}", key=key)

    @classmethod
    def named(cls, recipe: str, **others: Any) -> Self:
        """A recipe by its name, with other values of some fields.

        Raises:
            UserError: there is none of that name, or a value cannot be used.
        """
        return cls(**{**preset(cls.presets, recipe), **others})

    def __post_init__(self) -> None:
        for key in ("epochs", "validate_every", "seeds"):
            _check(key, getattr(self, key), getattr(self, key) >= 1, "1 or more")
        _check("batch_size", self.batch_size, self.batch_size >= 2, "2 or more")
        micro = self.micro_batch
        allowed = micro in (None, "auto")
        if isinstance(micro, int):
            allowed = 2 <= micro <= self.batch_size
        _check("micro_batch", micro, allowed, f"2 to {self.batch_size} (batch_size), auto, or null")
        known = self.optimizer in self.optimizers
        _check("optimizer", self.optimizer, known, ", ".join(self.optimizers))
        for key in ("learning_rate", "clip"):
            value = getattr(self, key)
            allowed = value is None or (math.isfinite(value) and value > 0)
            _check(key, value, allowed, "a number above 0, or null")
        decay = self.weight_decay
        allowed = decay is None or (math.isfinite(decay) and decay >= 0)
        _check("weight_decay", decay, allowed, "0 or more, or null")
        for key in ("warmup", "label_smoothing"):
            _check(key, getattr(self, key), 0 <= getattr(self, key) < 1, "0 or more, below 1")
        _check_word("rate_decay", self.rate_decay, ("cosine", "step"))
        _check("decay_every", self.decay_every, 0 < self.decay_every <= 1, "above 0, up to 1")
        images = self.learning_rate_for
        _check("learning_rate_for", images, images is None or images >= 1, "1 or more, or null")
        _check("decay_factor", self.decay_factor, 0 < self.decay_factor <= 1, "above 0, up to 1")
        _check("ema", self.ema, self.ema is None or 0 < self.ema < 1, "between 0 and 1, or null")
        self._check_weights()
        _check_word("precision", self.precision, ("auto", "bf16", "fp16", "float32"))
        known = _DEVICES.fullmatch(self.device) is not None
        _check("device", self.device, known, "auto, cpu, cuda or cuda:N")
        possible = self.precision != "fp16" or self.device != "cpu"
        _check("precision", self.precision, possible, "auto, bf16 or float32 with device: cpu")
        loaders = self.loaders
        _check("loaders", loaders, loaders is None or loaders >= 0, "0 or more, or null")
        images = self.validation_batch
        _check("validation_batch", images, images is None or images >= 1, "1 or more, or null")
        _check_word("checkpoint", self.checkpoint, ("last", "best"))

    def _check_weights(self) -> None:
        named = self.freeze is None or _PARTS.fullmatch(self.freeze) is not None
        _check("freeze", self.freeze, named, "stem, or stage1, stage2 and so on")
        if self.weights is None and (self.freeze is not None or self.frozen_norm):
            raise UserError(
                "weights that were never trained would be kept as they are",
                key="frozen_norm" if self.freeze is None else "freeze",
                hint="give `weights:`, a file to begin with",
            )

    @property
    def frozen_stages(self) -> int:
        """How many stages of the backbone are not trained; -1 if its stem is trained, too."""
        if self.freeze is None:
            return -1
        return 0 if self.freeze == "stem" else int(self.freeze.removeprefix("stage"))

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate after warm-up."""
        default = self.optimizers[self.optimizer]
        rate, batch = default.learning_rate, default.batch
        if self.learning_rate is not None:
            rate, batch = self.learning_rate, self.learning_rate_for or self.batch_size
        growth = self.batch_size / batch
        return rate * (math.sqrt(growth) if default.scaling == "root" else growth)

    @property
    def step_batch(self) -> int:
        """Images at once in a training step."""
        micro = self.micro_batch
        return micro if isinstance(micro, int) else self.batch_size

    def smaller(self) -> Self | None:
        """The same training with half as many images at once; None for less than two."""
        if self.step_batch < 4:
            return None
        validation = self.validation_batch and max(1, self.validation_batch // 2)
        micro = self.step_batch // 2
        return replace(self, micro_batch=micro, validation_batch=validation)

    @property
    def images_in_validation(self) -> int:
        """Images at once in validation."""
        return self.validation_batch or 2 * self.step_batch

    @property
    def workload(self) -> Workload:
        """A training step of this batch, with what the optimizer and the average keep.

        Which precision `auto` takes only a worker's GPU can tell: float32 is counted, which takes
        more wherever activations outweigh weights.
        """
        fewest = min(ENOUGH, self.batch_size)
        return Workload(
            training_batch=fewest if self.micro_batch == "auto" else self.step_batch,
            optimizer_copies=self.optimizers[self.optimizer].copies,
            ema=self.ema is not None,
            precision=_COUNTED.get(self.precision, "float32"),
        )

    @property
    def decay(self) -> float:
        """The weight decay in force."""
        default = self.optimizers[self.optimizer].weight_decay
        return default if self.weight_decay is None else self.weight_decay


@dataclass(frozen=True, kw_only=True)
class Recipe(CommonRecipe):
    """How a classifier is trained: as in `CommonRecipe`, and with these.

    Attributes:
        augment: training images are changed at random, as the options below say.
        crop: `shift` shows all of an image's square, moved by up to 1/8 of the side;
            `random_resized` shows a random part of the image (Szegedy et al. 2015). Either is
            mirrored where labels allow it.
        crop_scale: area of such a part, as a share of the image's, from and to.
        crop_ratio: its width to its height, from and to.
        interpolation: of images that are resized, in training and validation.
        validation_crop: share of the side that validation shows of the square in the middle: 0.875
            resizes to 256 pixels and cuts out 224, as published accuracies are measured.
        policy: a sequence of operations on each image: `rand_augment` (Cubuk et al. 2020),
            `auto_augment` (2019, the policy found for ImageNet) or `trivial_augment` (Mueller &
            Hutter 2021, wide).
        operations: of `rand_augment`, how many.
        magnitude: of `rand_augment`, from 0 to 30.
        color_jitter: brightness, contrast and saturation are multiplied by 1 - this to 1 + this.
        erase: share of images of which a random rectangle is erased (Zhong et al. 2020).
        mixup: alpha of mixup (Zhang et al. 2018), 0 for none: pairs of images are blended.
        cutmix: alpha of CutMix (Yun et al. 2019), 0 for none: a part of one image is pasted into
            another. Of both, each batch takes one, either half of the time.
        teacher: a network by name or file that the training learns from, too (Hinton et al.
            2015): of the same images and classes, with `teacher_weights`.
        teacher_weights: its weights, all of them.
        teacher_share: of the loss that is the teacher's.
        temperature: that softens the outputs of both.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = CLASSIFICATION_PRESETS
    sources: ClassVar[tuple[str, ...]] = ("teacher",)

    crop: Literal["shift", "random_resized"] = "shift"
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (0.75, 1.3333333333333333)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    validation_crop: float = 1.0
    policy: Literal["rand_augment", "auto_augment", "trivial_augment"] | None = None
    operations: int = 2
    magnitude: int = 9
    color_jitter: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    teacher: str | None = None
    teacher_weights: Path | None = None
    teacher_share: float = 0.5
    temperature: float = 2.0

    def __post_init__(self) -> None:
        CommonRecipe.__post_init__(self)
        _check_word("crop", self.crop, ("shift", "random_resized"))
        changes = ("policy", "color_jitter", "erase", "mixup", "cutmix")
        asked = [key for key in changes if getattr(self, key)]
        asked += ["crop"] if self.crop != "shift" else []
        if asked and not self.augment:
            raise UserError(
                f"images are not changed at random with augment: false, and {asked[0]} asks for it",
                key=asked[0],
                hint="leave one of the two out",
            )
        least, most = self.crop_scale
        pair = "two numbers above 0, the smaller first"
        _check("crop_scale", self.crop_scale, 0 < least <= most <= 1, f"{pair}, 1 at most")
        least, most = self.crop_ratio
        _check("crop_ratio", self.crop_ratio, 0 < least <= most < math.inf, pair)
        _check_word("interpolation", self.interpolation, ("bilinear", "bicubic"))
        share = self.validation_crop
        _check("validation_crop", share, 0.1 <= share <= 1, "0.1 to 1")
        if self.policy is not None:
            _check_word("policy", self.policy, POLICIES)
        _check("operations", self.operations, self.operations >= 1, "1 or more")
        _check("magnitude", self.magnitude, 0 <= self.magnitude <= MOST_MAGNITUDE, "0 to 30")
        _check("color_jitter", self.color_jitter, 0 <= self.color_jitter <= 1, "0 to 1")
        _check("erase", self.erase, 0 <= self.erase <= 1, "0 to 1")
        for key in ("mixup", "cutmix"):
            value = getattr(self, key)
            _check(key, value, math.isfinite(value) and value >= 0, "0 or more")
        if (self.teacher is None) != (self.teacher_weights is None):
            raise UserError(
                "a teacher is a network with its weights",
                key="teacher_weights" if self.teacher_weights is None else "teacher",
                allowed="both of `teacher` and `teacher_weights`, or neither",
            )
        share = self.teacher_share
        _check("teacher_share", share, 0 < share <= 1, "above 0, up to 1")
        warm = self.temperature
        _check("temperature", warm, math.isfinite(warm) and warm > 0, "a number above 0")


@dataclass(frozen=True, kw_only=True)
class DetectionRecipe(CommonRecipe):
    """How a detector is trained: as in `CommonRecipe`, without RMSProp, but for these.

    Attributes:
        clip: as in EfficientDet's official code.
        augment: images at a random scale and place, and mirrored where the data set allows it.
        jitter: that scale, from and to, as a multiple of the one at which an image just fits.
            EfficientDet has 0.1 to 2 for 300 epochs; in the few of a search less teaches more.
    """

    optimizers: ClassVar[Mapping[str, OptimizerDefaults]] = DETECTION_OPTIMIZERS
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = DETECTION_PRESETS

    batch_size: int = 16
    optimizer: Literal["adamw", "sgd"] = "adamw"
    label_smoothing: float = 0.0
    clip: float | None = 10.0
    jitter: tuple[float, float] = (0.8, 1.25)

    def __post_init__(self) -> None:
        CommonRecipe.__post_init__(self)
        least, most = self.jitter
        right = 0 < least <= most < math.inf
        _check("jitter", self.jitter, right, "two numbers above 0, the smaller first")

    def notes(self, norm: str) -> tuple[str, ...]:
        """What a user may want to know before training a detector whose neck and heads have this
        norm (`batch`, `group`), in words.
        """
        noisy = not self.frozen_norm or norm == "batch"
        if self.step_batch >= ENOUGH or not noisy:
            return ()
        return (
            f"batch norms of {self.step_batch} images at a time are noisy: take a batch_size of "
            f"{ENOUGH} or more, or, with pretrained weights, `frozen_norm: true` and detectors "
            "with `norm: group`",
        )


def preset(presets: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """The options of a recipe by its name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in presets:
        raise UserError(
            f"{name!r} is no recipe",
            key="recipe",
            allowed=", ".join(presets),
            hint=nearest(name, presets),
        )
    return presets[name]


def _check_word(key: str, value: str, words: Sequence[str]) -> None:
    _check(key, value, value in words, ", ".join(words))


def _check(key: str, value: object, right: bool, allowed: str) -> None:
    if not right:
        raise UserError(f"{value!r} cannot be used", key=key, allowed=allowed)
