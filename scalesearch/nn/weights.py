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
from scalesearch.nn.weight_files import read_weights, timm_model, unwrapped
from scalesearch.nn.weight_names import our_names

_TIMM = "timm:"
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
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]

    @property
    def complete(self) -> bool:
        """Whether every weight was given and every given one was used."""
        return not (self.missing or self.unexpected or self.mismatched)

    def check(self) -> None:
        """Raises `UserError` with every weight that did not fit."""
        if self.complete:
            return
        shapes = [f"{m.name} is {[*m.needed]}, given {[*m.given]}" for m in self.mismatched]
        parts = (
            ("of another shape", shapes),
            ("missing", self.missing),
            ("not in the network", self.unexpected),
        )
        lines = [_listed(title, items) for title, items in parts if items]
        raise UserError("\n  ".join(["the weights do not fit the network", *lines]))


def load_weights(
    model: nn.Module, source: Mapping[str, Any] | Path | str, *, strict: bool = True
) -> LoadReport:
    """Sets a network's weights in place and says what became of each.

    Args:
        model: of `build`.
        source: a state dict, a .safetensors, .pt or .pth file, or `timm:NAME`. Weights of timm's
            and torchvision's EfficientNets are known by their names.
        strict: refuse, with the network left as it was, unless everything fits. Otherwise what
            fits is loaded and the report tells the rest.

    Raises:
        UserError: something does not fit, or the source cannot be read.
    """
    peer = None
    if isinstance(source, str) and source.startswith(_TIMM):
        peer = timm_model(source.removeprefix(_TIMM))
    state, report = fit(model.state_dict(), _state(source if peer is None else peer.state_dict()))
    if strict:
        report.check()
    if peer is not None and report.complete:
        _check_outputs(model, state, peer, str(source))
    model.load_state_dict(state, strict=False)
    return report


def fit(
    needed: Mapping[str, Tensor], given: Mapping[str, Any]
) -> tuple[dict[str, Tensor], LoadReport]:
    """What of the given weights fits a network whose state dict is `needed`, under its names."""
    ours = our_names(given)
    state: dict[str, Tensor] = {}
    unexpected, mismatched = [], []
    for name, value in given.items():
        target = ours[name]
        if target not in needed:
            unexpected.append(name)
        elif value.shape != needed[target].shape:
            mismatched.append(Mismatch(target, tuple(needed[target].shape), tuple(value.shape)))
        else:
            state[target] = value
    seen = {*state, *(m.name for m in mismatched)}
    absent = (name for name in needed if name not in seen)
    missing = tuple(name for name in absent if not name.endswith(_OPTIONAL))
    return state, LoadReport(tuple(state), missing, tuple(unexpected), tuple(mismatched))


def _state(source: object) -> dict[str, Any]:
    if isinstance(source, str | Path):
        return read_weights(Path(source))
    if isinstance(source, nn.Module):
        raise UserError("weights are a mapping, not a module", hint="pass model.state_dict()")
    return unwrapped(source)


def _check_outputs(
    model: nn.Module, state: Mapping[str, Tensor], peer: nn.Module, source: str
) -> None:
    """Refuses weights that fit a network which then computes something else than timm's."""
    ours = copy.deepcopy(model).cpu().float().eval()
    ours.load_state_dict(state, strict=False)
    channels = next(p.shape[1] for p in ours.parameters() if p.ndim == 4)
    images = torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, got = peer(images), ours(images)
    if not torch.allclose(got, wanted, rtol=0, atol=1e-3 * float(wanted.abs().max())):
        raise UserError(
            f"the weights of {source!r} fit, but the network computes something else with them",
            hint="compare norm_eps, padding and activation: networks named tf_… need "
            'padding="same" and norm_eps=0.001',
        )


def _listed(title: str, items: list[str] | tuple[str, ...]) -> str:
    more = [f"and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return f"{title} ({len(items)}): " + ", ".join([*items[:_SHOWN], *more])
