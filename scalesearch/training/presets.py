"""Recipes by name: the options in which each differs from the defaults, and where they are from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The defaults: what a few epochs of a search learn the most from, on one core or a GPU.
_QUICK: Mapping[str, Any] = {}
# Tan & Le 2019, section 5.2, and the authors' code (tensorflow/tpu, models/official/efficientnet):
# RMSProp of decay and momentum .9 and epsilon .001, 0.256 for 4,096 images, times .97 every 2.4
# epochs after 5 of warm-up in 350, weight decay 1e-5, moving average .9999, labels smoothed by .1,
# AutoAugment, random parts of 8 to 100 % of an image, bicubic; validation cuts 224 out of 256
# pixels. Gradients are not clipped. Where this differs: docs/training.md.
_EFFICIENTNET_IMAGENET: Mapping[str, Any] = {
    "epochs": 350,
    "batch_size": 4096,
    "micro_batch": "auto",
    "optimizer": "rmsprop",
    "weight_decay": 1e-5,
    "warmup": 5 / 350,
    "rate_decay": "step",
    "decay_every": 2.4 / 350,
    "decay_factor": 0.97,
    "label_smoothing": 0.1,
    "clip": None,
    "ema": 0.9999,
    "crop": "random_resized",
    "interpolation": "bicubic",
    "validation_crop": 0.875,
    "policy": "auto_augment",
}
# Kornblith, Shlens & Le 2019 ("Do better ImageNet models transfer better?"): Nesterov momentum .9
# at batch 256 with a cosine, random parts of the image without colour changes; of the rates that
# they searched, 1e-4 to 1e-1, one that is neither.
_FINETUNE: Mapping[str, Any] = {
    "epochs": 30,
    "batch_size": 256,
    "micro_batch": "auto",
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "learning_rate_for": 256,
    "weight_decay": 1e-4,
    "warmup": 0.05,
    "label_smoothing": 0.0,
    "crop": "random_resized",
    "validation_crop": 0.875,
}
# Tan, Pang & Le 2020, section 5.1, and the authors' code (google/automl, efficientdet:
# hparams_config.py): 300 epochs of SGD with momentum .9, 0.08 for 64 images, one epoch of warm-up
# and a cosine, weight decay 4e-5, moving average .9998, images at .1 to 2 times their size,
# gradients clipped at 10. The backbone begins with weights of ImageNet: give them as `weights`.
_EFFICIENTDET_COCO: Mapping[str, Any] = {
    "epochs": 300,
    "batch_size": 64,
    "micro_batch": "auto",
    "optimizer": "sgd",
    "weight_decay": 4e-5,
    "warmup": 1 / 300,
    "clip": 10.0,
    "ema": 0.9998,
    "jitter": (0.1, 2.0),
    "validate_every": 10,
}
# The same for a detector that was trained on other objects: a tenth of the rate for a tenth of the
# epochs, batch norms of the backbone kept, as the batches of one card are small for them.
_FINETUNE_DETECTOR: Mapping[str, Any] = {
    "epochs": 30,
    "batch_size": 16,
    "micro_batch": "auto",
    "optimizer": "sgd",
    "learning_rate": 0.002,
    "learning_rate_for": 16,
    "weight_decay": 4e-5,
    "warmup": 0.05,
    "ema": 0.999,
    "jitter": (0.5, 1.5),
}

CLASSIFICATION_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": _QUICK,
    "finetune": _FINETUNE,
    "efficientnet_imagenet": _EFFICIENTNET_IMAGENET,
}
DETECTION_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": _QUICK,
    "finetune": _FINETUNE_DETECTOR,
    "efficientdet_coco": _EFFICIENTDET_COCO,
}
