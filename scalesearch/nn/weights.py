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
from scalesearch.nn.weight_files import PEER_SIDE, pretrained, read_weights, unwrapped
from scalesearch.nn.weight_names import names_in

# The layers that predict classes, of another shape where these are replaced.
_CLASS_LAYERS = ("classifier", "class_head.predict.pointwise")
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
        if not self.complete:
            raise UserError("\n  ".join(["the weights do not fit the network", *self.misfits()]))

    def misfits(self) -> list[str]:
        """What did not fit, a line for each way in which weights can fail to."""
        shapes = [
            f"{self._both(m.name)} is {[*m.needed]}, given {[*m.given]}" for m in self.mismatched
        ]
        parts = (
            ("of another shape", shapes),
            ("missing", [self._both(name) for name in self.missing]),
            ("not in the network", self.unexpected),
        )
        return [_listed(title, items) for title, items in parts if items]

    def _both(self, name: str) -> str:
        theirs = self.names.get(name, name)
        return name if theirs == name else f"{name} ({theirs})"


def load_weights(
    model: nn.Module, source: Mapping[str, Any] | Path | str, *, strict: bool = True
) -> LoadReport:
    """Sets a network's weights in place and reports what became of each.

    Args:
        model: of `build`.
        source: a state dict, a .safetensors, .pt or .pth file, `timm:NAME`, `torchvision:NAME` or
            `effdet:NAME`. Layers may have our names or those of timm, torchvision, effdet,
            efficientnet_pytorch and pytorchcv.
        strict: raise, with the network left as it was, unless everything fits. Otherwise what
            fits is loaded and the report names the rest.

    Raises:
        UserError: something does not fit, the source cannot be read, or the network does not
            compute what the named one does.
    """
    peer = pretrained(source)
    if peer is not None:
        given: dict[str, Any] = peer.state_dict()
    elif isinstance(source, str | Path):
        given = read_weights(Path(source))
    elif isinstance(source, nn.Module):
        raise UserError("weights are a mapping, not a module", hint="pass model.state_dict()")
    else:
        given = unwrapped(source)
    state, report = fit(model.state_dict(), given)
    if strict:
        report.check()
    if peer is not None and _fits_but_for_classes(report):
        names = report.names.items()
        weights = {name: given[theirs] for name, theirs in names if theirs in given}
        _check_outputs(model, weights, peer, str(source))
    model.load_state_dict(state, strict=False)
    return report


def fit(
    needed: Mapping[str, Tensor], given: Mapping[str, Any]
) -> tuple[dict[str, Tensor], LoadReport]:
    """What of the given weights fits a network whose state dict is `needed`, under its names."""
    names = names_in(given, needed)
    state: dict[str, Tensor] = {}
    missing, mismatched = [], []
    for name, expected in needed.items():
        value = given.get(names.get(name, ""))
        if value is None:
            missing += [] if name.endswith(_OPTIONAL) else [name]
        elif value.shape != expected.shape:
            mismatched.append(Mismatch(name, tuple(expected.shape), tuple(value.shape)))
        else:
            state[name] = value
    claimed = set(names.values())
    unexpected = tuple(name for name in given if name not in claimed)
    return state, LoadReport(tuple(state), tuple(missing), unexpected, tuple(mismatched), names)


def _fits_but_for_classes(report: LoadReport) -> bool:
    """Whether at most the layers that predict classes are of another shape."""
    layers = {mismatch.name.rpartition(".")[0] for mismatch in report.mismatched}
    return not (report.missing or report.unexpected or layers - {*_CLASS_LAYERS})


def _check_outputs(
    model: nn.Module, weights: Mapping[str, Tensor], peer: nn.Module, source: str
) -> None:
    """Rejects weights that fit a network which then computes something else than its namesake."""
    ours = copy.deepcopy(model).cpu().float().eval()
    _set_classes(ours, weights)
    ours.load_state_dict(weights, strict=False)
    channels = next(p.shape[1] for p in ours.parameters() if p.ndim == 4)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, channels, PEER_SIDE, PEER_SIDE, generator=generator)
    with torch.no_grad():
        expected, actual = _values(peer(images)), _values(ours(images))
    if not torch.allclose(actual, expected, rtol=0, atol=1e-3 * float(expected.abs().max())):
        eps = next(m.eps for m in peer.modules() if isinstance(m, nn.BatchNorm2d))
        raise UserError(
            f"the weights of {source!r} fit, but the network computes something else with them",
            hint=f"it has norm_eps={eps:g}; compare activation and padding too: networks named "
            'tf_… need padding="same"',
        )


def _set_classes(ours: Any, weights: Mapping[str, Tensor]) -> None:
    """Gives a network the classes of its namesake, where its own are others."""
    for name in _CLASS_LAYERS:
        if f"{name}.weight" in weights:
            outputs, inputs, *kernel = weights[f"{name}.weight"].shape
            layer = nn.Conv2d(inputs, outputs, 1) if kernel else nn.Linear(inputs, outputs)
            ours.set_submodule(name, layer)
            if kernel:
                ours.class_head.values = 1  # `_values` compares all of an image's in one row


def _values(outputs: Any) -> Tensor:
    """All outputs of a network for each of N images, [N, …]; effdet's are maps of each level."""
    if isinstance(outputs, Tensor):
        return outputs
    rows = []
    for part in outputs:
        maps = [part] if isinstance(part, Tensor) else [x.permute(0, 2, 3, 1) for x in part]
        rows += [x.flatten(1) for x in maps]
    return torch.cat(rows, 1)


def _listed(title: str, items: list[str] | tuple[str, ...]) -> str:
    more = [f"and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return f"{title} ({len(items)}): " + ", ".join([*items[:_SHOWN], *more])
