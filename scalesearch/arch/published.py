"""Published architectures by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from scalesearch.arch import efficientdet, efficientnet, mobilenet, resnet
from scalesearch.arch.backbone import PADDINGS
from scalesearch.arch.detector import Architecture, Described, Detector
from scalesearch.arch.plain import replaced
from scalesearch.errors import UserError, nearest

_FAMILIES: dict[str, Callable[[str], Described]] = {
    **efficientnet.FAMILIES,
    **mobilenet.FAMILIES,
    **resnet.FAMILIES,
    **efficientdet.FAMILIES,
}


def names() -> tuple[str, ...]:
    """Every published architecture, in the order of its family; `wrn_D_K` has more."""
    return tuple(_FAMILIES)


def families() -> dict[str, tuple[str, ...]]:
    """The same names by family, which is called as the function that makes it."""
    by_family: dict[str, tuple[str, ...]] = {}
    for name, make_one in _FAMILIES.items():
        by_family[make_one.__name__] = (*by_family.get(make_one.__name__, ()), name)
    return by_family


def published(name: str, /, **fields: Any) -> Architecture:
    """The published architecture `name`; keywords replace its fields.

    `published("efficientnet_b0", num_classes=10, in_channels=1, resolution=64)`; fields of stem
    and head as mappings: `published("resnet18", stem={"kernel": 3, "stride": 1, "pool": 1})`; of a
    detector likewise those of backbone, neck, heads and anchors. An EfficientNet takes the
    batch-norm constants of the library whose `padding` is chosen; an EfficientDet with
    `padding="symmetric"` is that of the Python package effdet, without redundant biases.

    Raises:
        UserError: an unknown name or field.
    """
    net = _maker(name)(name)
    padding = fields.get("padding")
    if padding in PADDINGS and name.startswith("efficientnet") and padding != net.padding:
        fields = {**_norm(padding), **fields}
    elif padding in PADDINGS and isinstance(net, Detector) and padding != net.padding:
        net = replace(net, backbone=replace(net.backbone, **_norm(padding)), norm_bias=False)
    return replaced(net, fields)


def _norm(padding: str) -> dict[str, Any]:
    """The batch-norm constants of the library that pads so."""
    return efficientnet.TENSORFLOW_NORM if padding == "same" else efficientnet.TORCH_NORM


def _maker(name: str) -> Callable[[str], Described]:
    if name in _FAMILIES:
        return _FAMILIES[name]
    if name.startswith("wrn_"):
        return resnet.wide_resnet
    near = nearest(name.lower().replace("-", "_"), names())
    raise UserError(
        f"no published architecture is called {name!r}",
        allowed="efficientnet_b0 … b7, efficientnet_lite0 … lite4, efficientnet_v2_s, m, l, "
        "mobilenet_v1, mobilenet_v2, resnet18 … 152, wrn_D_K, efficientdet_d0 … d7x, "
        "efficientdet_lite0 … lite4 (all: `scalesearch list`), a file.yaml, or "
        "package.module:function",
        hint=near,
    )
