"""Published architectures by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.plain import make
from scalesearch.arch.rounding import round_depth, round_width
from scalesearch.arch.stage import Stage
from scalesearch.errors import UserError, nearest

# Multipliers of width and depth, resolution and dropout of the official EfficientNet code
# (the paper's Table 2 holds the results; `docs/scaling.md` says why no single phi gives these).
EFFICIENTNETS = {
    "efficientnet_b0": (1.0, 1.0, 224, 0.2),
    "efficientnet_b1": (1.0, 1.1, 240, 0.2),
    "efficientnet_b2": (1.1, 1.2, 260, 0.3),
    "efficientnet_b3": (1.2, 1.4, 300, 0.3),
    "efficientnet_b4": (1.4, 1.8, 380, 0.4),
    "efficientnet_b5": (1.6, 2.2, 456, 0.4),
    "efficientnet_b6": (1.8, 2.6, 528, 0.5),
    "efficientnet_b7": (2.0, 3.1, 600, 0.5),
}
# EfficientNet-B0, Table 1: width, depth, stride, kernel, expand of each stage.
_B0 = (
    (16, 1, 1, 3, 1),
    (24, 2, 2, 3, 6),
    (40, 2, 2, 5, 6),
    (80, 3, 2, 3, 6),
    (112, 3, 1, 5, 6),
    (192, 4, 2, 5, 6),
    (320, 1, 1, 3, 6),
)
# TensorFlow's batch norm keeps 99 % of its running mean where PyTorch keeps 90 %.
_TENSORFLOW_NORM = {"norm_eps": 1e-3, "norm_momentum": 0.01}


def names() -> tuple[str, ...]:
    """Every published architecture, in the order of its family."""
    return tuple(_FAMILIES)


def published(name: str, **fields: Any) -> Backbone:
    """The published architecture `name`; keywords replace its fields.

    `published("efficientnet_b0", num_classes=10, in_channels=1, resolution=64)`. Choosing
    `padding="same"` also takes TensorFlow's batch-norm constants.

    Raises:
        UserError: an unknown name or field.
    """
    if name not in _FAMILIES:
        known = f"{', '.join(names())}, a file.yaml, or package.module:function"
        detector = name.startswith("efficientdet")
        hint = "detectors are not there yet" if detector else nearest(name, names())
        raise UserError(f"no published architecture is called {name!r}", allowed=known, hint=hint)
    backbone = _FAMILIES[name](name)
    plain = {key: getattr(backbone, key) for key in Backbone.__dataclass_fields__}
    if fields.get("padding") == "same":
        plain |= _TENSORFLOW_NORM
    return make(Backbone, plain | fields, "")


def _efficientnet(name: str) -> Backbone:
    width, depth, resolution, dropout = EFFICIENTNETS[name]
    b0 = Backbone(
        stem=Stem(width=32),
        stages=tuple(
            Stage(width=w, depth=d, stride=s, kernel=k, expand=e, se=0.25) for w, d, s, k, e in _B0
        ),
        head=Head(width=1280),
        drop_path=0.2,
    )
    return replace(
        b0,
        stem=replace(b0.stem, width=round_width(b0.stem.width * width)),
        stages=tuple(
            replace(s, width=round_width(s.width * width), depth=round_depth(s.depth * depth))
            for s in b0.stages
        ),
        head=Head(width=round_width(b0.head.width * width), dropout=dropout),
        resolution=resolution,
    )


_FAMILIES: dict[str, Callable[[str], Backbone]] = dict.fromkeys(EFFICIENTNETS, _efficientnet)
