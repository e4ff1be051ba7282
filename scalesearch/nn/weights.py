"""Weights from elsewhere into a built network, with an exact account of what did not fit."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scalesearch.errors import UserError
from scalesearch.nn.detector import DetectorNet
from scalesearch.nn.weight_files import EFFDET_SIDE, PEERS, read_weights, unwrapped
from scalesearch.nn.weight_names import names_in

# What is of another shape where classes are replaced.
_CLASSIFIER = ("classifier.weight", "classifier.bias")
_CLASS_HEAD = ("class_head.predict.pointwise.weight", "class_head.predict.pointwise.bias")
_SHOWN = 20
# Batch norm counts its batches but never reads the count while it has a momentum.
_OPTIONAL = ".num_batches_tracked"


class Mismatch(NamedTuple):
    """A weight whose shape differs: in the network, and as given."""

    name: str
    needed: tuple[int, ...]
    given: tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """What became of each weight.

    Attributes:
        loaded: names in the network that were set.
        missing: names in the network for which nothing was given.
        unexpected: given names that the network does not have.
        mismatched: weights of another shape.
        names: what the source calls, or would call, the weights of the network.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    names: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether every weight was given and every given one was used."""
        return not (self.missing or self.unexpected or self.mismatched)

    def check(self) -> None:
        """Raises `UserError` with every weight that did not fit, under both its names."""
        if self.complete:
            return
        shapes = [
            f"{self._both(m.name)} is {[*m.needed]}, given {[*m.given]}" for m in self.mismatched
        ]
        parts = (
            ("of another shape", shapes),
            ("missing", [self._both(name) for name in self.missing]),
            ("not in the network", self.unexpected),
        )
        lines = [_listed(title, items) for title, items in parts if items]
        raise UserError("\n  ".join(["the weights do not fit the network", *lines]))

    def _both(self, name: str) -> str:
        theirs = self.names.get(name, name)
        return name if theirs == name else f"{name} ({theirs})"


def load_weights(
    model: nn.Module, source: Mapping[str, Any] | Path | str, *, strict: bool = True
) -> LoadReport:
    """Sets a network's weights in place and says what became of each.

    Args:
        model: of `build`.
        source: a state dict, a .safetensors, .pt or .pth file, `timm:NAME`, `torchvision:NAME` or
            `effdet:NAME`.
            The families that we describe are known by the names that timm, torchvision,
            efficientnet_pytorch and pytorchcv give their layers.
        strict: refuse, with the network left as it was, unless everything fits. Otherwise what
            fits is loaded and the report tells the rest.

    Raises:
        UserError: something does not fit, the source cannot be read, or the network does not
            compute what the named one does.
    """
    peer = _peer(source)
    given = _state(source if peer is None else peer.state_dict())
    state, report = fit(model.state_dict(), given)
    if strict:
        report.check()
    if peer is not None and _fits_but_for_classes(report):
        found = {name: given[theirs] for name, theirs in report.names.items() if theirs in given}
        _check_outputs(model, found, peer, str(source))
    model.load_state_dict(state, strict=False)
    return report


def fit(
    needed: Mapping[str, Tensor], given: Mapping[str, Any]
) -> tuple[dict[str, Tensor], LoadReport]:
    """What of the given weights fits a network whose state dict is `needed`, under its names."""
    names = names_in(given, needed)
    state: dict[str, Tensor] = {}
    missing, mismatched = [], []
    for name, wanted in needed.items():
        value = given.get(names.get(name, ""))
        if value is None:
            missing += [] if name.endswith(_OPTIONAL) else [name]
        elif value.shape != wanted.shape:
            mismatched.append(Mismatch(name, tuple(wanted.shape), tuple(value.shape)))
        else:
            state[name] = value
    claimed = set(names.values())
    unexpected = tuple(name for name in given if name not in claimed)
    return state, LoadReport(tuple(state), tuple(missing), unexpected, tuple(mismatched), names)


def _peer(source: object) -> nn.Module | None:
    library, _, name = source.partition(":") if isinstance(source, str) else ("", "", "")
    return PEERS[library](name) if library in PEERS else None


def _state(source: object) -> dict[str, Any]:
    if isinstance(source, str | Path):
        return read_weights(Path(source))
    if isinstance(source, nn.Module):
        raise UserError("weights are a mapping, not a module", hint="pass model.state_dict()")
    return unwrapped(source)


def _fits_but_for_classes(report: LoadReport) -> bool:
    """Whether at most the classifier is of another shape, as where classes are replaced."""
    others = {m.name for m in report.mismatched} - {*_CLASSIFIER, *_CLASS_HEAD}
    return not (report.missing or report.unexpected or others)


def _check_outputs(
    model: nn.Module, found: Mapping[str, Tensor], peer: nn.Module, source: str
) -> None:
    """Refuses weights that fit a network which then computes something else than its namesake."""
    ours = copy.deepcopy(model).cpu().float().eval()
    _give_classes(ours, found)
    ours.load_state_dict(found, strict=False)
    channels = next(p.shape[1] for p in ours.parameters() if p.ndim == 4)
    side = EFFDET_SIDE if _is_detector(found) else 64
    images = torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, got = _values(peer(images)), _values(ours(images))
    if not torch.allclose(got, wanted, rtol=0, atol=1e-3 * float(wanted.abs().max())):
        eps = next(m.eps for m in peer.modules() if isinstance(m, nn.BatchNorm2d))
        raise UserError(
            f"the weights of {source!r} fit, but the network computes something else with them",
            hint=f"it has norm_eps={eps:g}; compare activation and padding too: networks named "
            'tf_… need padding="same"',
        )


def _is_detector(found: Mapping[str, Tensor]) -> bool:
    return _CLASS_HEAD[0] in found


def _give_classes(ours: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Gives a network the classes of its namesake, where its own are others."""
    if "classifier.weight" in found:
        classes, features = found["classifier.weight"].shape
        ours.classifier = nn.Linear(features, classes)
    elif isinstance(ours, DetectorNet):
        (outputs, width, *_), head = found[_CLASS_HEAD[0]].shape, ours.class_head
        before = head.predict.pointwise.out_channels
        head.values = head.values * outputs // before
        head.predict.pointwise = nn.Conv2d(width, outputs, 1)


def _values(outputs: Any) -> Tensor:
    """All that a network puts out for each of N images, [N, …]: of effdet maps of each level."""
    if isinstance(outputs, Tensor):
        return outputs
    found = []
    for part in outputs:
        maps = [part] if isinstance(part, Tensor) else [x.permute(0, 2, 3, 1) for x in part]
        found += [x.flatten(1) for x in maps]
    return torch.cat(found, 1)


def _listed(title: str, items: list[str] | tuple[str, ...]) -> str:
    more = [f"and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return f"{title} ({len(items)}): " + ", ".join([*items[:_SHOWN], *more])
