"""Published architectures by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scalesearch.arch import efficientnet, mobilenet, resnet
from scalesearch.arch.backbone import Backbone
from scalesearch.arch.plain import replaced
from scalesearch.errors import UserError, nearest

_FAMILIES: dict[str, Callable[[str], Backbone]] = {
    **efficientnet.FAMILIES,
    **mobilenet.FAMILIES,
    **resnet.FAMILIES,
}


def names() -> tuple[str, ...]:
    """Every published architecture, in the order of its family; `wrn_D_K` has more."""
    return tuple(_FAMILIES)


def families() -> dict[str, tuple[str, ...]]:
    """The same names by family, which is called as the function that makes it."""
    found: dict[str, tuple[str, ...]] = {}
    for name, make_one in _FAMILIES.items():
        found[make_one.__name__] = (*found.get(make_one.__name__, ()), name)
    return found


def published(name: str, /, **fields: Any) -> Backbone:
    """The published architecture `name`; keywords replace its fields.

    `published("efficientnet_b0", num_classes=10, in_channels=1, resolution=64)`; fields of stem
    and head as mappings: `published("resnet18", stem={"kernel": 3, "stride": 1, "pool": 1})`. An
    EfficientNet takes the batch-norm constants of the library whose `padding` is chosen.

    Raises:
        UserError: an unknown name or field.
    """
    backbone = _maker(name)(name)
    padding = fields.get("padding", backbone.padding)
    if name.startswith("efficientnet") and padding != backbone.padding:
        same = padding == "same"
        fields = {**(efficientnet.TENSORFLOW_NORM if same else efficientnet.TORCH_NORM), **fields}
    return replaced(backbone, fields)


def _maker(name: str) -> Callable[[str], Backbone]:
    if name in _FAMILIES:
        return _FAMILIES[name]
    if name.startswith("wrn_"):
        return resnet.wide_resnet
    near = nearest(name.lower().replace("-", "_"), names())
    raise UserError(
        f"no published architecture is called {name!r}",
        allowed="efficientnet_b0 … b7, efficientnet_lite0 … lite4, efficientnet_v2_s, m, l, "
        "mobilenet_v1, mobilenet_v2, resnet18 … 152, wrn_D_K (all: `scalesearch list`), a "
        "file.yaml, or package.module:function",
        hint="detectors are not there yet" if name.startswith("efficientdet") else near,
    )
