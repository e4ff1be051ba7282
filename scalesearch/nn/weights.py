"""Weights from elsewhere into a built network, with an exact account of what did not fit."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scalesearch.arch.detector import Architecture
from scalesearch.errors import UserError
from scalesearch.nn.build import build
from scalesearch.nn.weight_files import PEER_SIDE, PEERS, pretrained, read_weights
from scalesearch.nn.weight_names import names_in
from scalesearch.nn.weight_sets import WeightSet, weight_set
from scalesearch.text import shortened

# The layers that predict classes, of another shape where these are replaced.
_CLASS_LAYERS = ("classifier", "class_head.predict.pointwise")
_STEMS = ("stem.conv.weight", "backbone.stem.conv.weight")
_SHOWN, _LONGEST = 5, 240  # names in a message, and their characters
# Batch norm counts its batches but never reads the count while it has a momentum.
_OPTIONAL = ".num_batches_tracked"


class Mismatch(NamedTuple):
    """A weight whose shape differs: in the network, and as given."""

    name: str
    needed: tuple[int, ...]
    given: tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """What became of each weight; `str` of it is one sentence.

    Attributes:
        loaded: names in the network that were set.
        missing: names in the network for which nothing was given.
        unexpected: given names that the network does not have.
        mismatched: weights of another shape.
        names: what the source calls, or would call, the weights of the network.
        notes: what else was chosen or changed, in sentences: which of several sets of weights was
            taken, and that of three channels one was made.
        candidates: prefixes of names below each of which the source has such a network.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    names: Mapping[str, str]
    notes: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()

    def __str__(self) -> str:
        taken = _counted(self.loaded)
        new = _counted((*self.missing, *(mismatch.name for mismatch in self.mismatched)))
        parts = [f"{len(taken)} of {len(taken) + len(new)} weights are taken"]
        if new:
            layers = _new_parts(taken, new)
            parts.append(f"new {'are' if len(layers) > 1 else 'is'} the {_cut(layers)}")
        if left := _counted(self.unexpected):
            parts.append(f"left out of the source ({len(left)}): {_cut(left)}")
        return "; ".join([*parts, *self.notes])

    @property
    def complete(self) -> bool:
        """Whether every weight was given and every given one was used."""
        return not (self.missing or self.unexpected or self.mismatched)

    def check(self) -> None:
        """Raises `UserError` with every weight that did not fit, under both its names."""
        if not self.complete:
            lines = ["the weights do not fit the network", *self.misfits(), *self.notes]
            prefixes = [prefix.rstrip(".") for prefix in self.candidates]
            raise UserError(
                "\n  ".join(lines),
                hint=f"there are networks under {_cut(prefixes)}: choose one with "
                f"load_weights(…, key={prefixes[0]!r})"
                if all(prefixes) and prefixes
                else "",
            )

    def misfits(self) -> list[str]:
        """What did not fit, a line for each way in which weights can fail to."""
        shapes = [
            f"{self.both(m.name)} is {[*m.needed]}, given {[*m.given]}" for m in self.mismatched
        ]
        parts = (
            ("of another shape", shapes),
            ("missing", [self.both(name) for name in self.missing]),
            ("not in the network", self.unexpected),
        )
        return [_listed(title, items) for title, items in parts if items]

    def both(self, name: str) -> str:
        """A name in the network, and in the source if that has another."""
        theirs = self.names.get(name, name)
        return name if theirs == name else f"{name} ({theirs})"


def load_weights(
    model: nn.Module, source: Mapping[str, Any] | Path | str, *, strict: bool = True, key: str = ""
) -> LoadReport:
    """Sets a network's weights in place and reports what became of each.

    The first convolution of a network for grey images takes the sum over the channels of one for
    three: it then computes what that does of the grey image in each channel. Any other number of
    channels is another shape.

    Args:
        model: of `build`.
        source: a state dict, a file of safetensors or of `torch.save` with any ending,
            `timm:NAME`, `torchvision:NAME` or `effdet:NAME`. Layers may have our names or those of
            timm, torchvision, effdet, efficientnet_pytorch and pytorchcv, below any prefix. Of
            weights and their moving average in one checkpoint the average is taken.
        strict: raise, with the network left as it was, unless everything fits. Otherwise what
            fits is loaded and the report names the rest.
        key: the path of keys to the weights in a checkpoint that holds several sets of them; its
            end may be a prefix of their names, such as `encoder_q`.

    Raises:
        UserError: something does not fit or is not finite, the source cannot be read, or the
            network does not compute what the named one does.
    """
    if isinstance(source, nn.Module):
        raise UserError("weights are a mapping, not a module", hint="pass model.state_dict()")
    peer = pretrained(source)
    file = str(source) if peer is None and isinstance(source, str | Path) else ""
    given = _given(source if peer is None else peer.state_dict(), key)
    try:
        state, report = matched(model.state_dict(), given)
        if strict:
            report.check()
    except UserError as error:
        raise error.at(file=file) from None
    if peer is not None and _fits_but_for_classes(report):
        names = report.names.items()
        weights = {name: given.state[theirs] for name, theirs in names if theirs in given.state}
        _check_outputs(model, weights | state, peer, str(source))
    model.load_state_dict(state, strict=False)
    return report


def needed_by(net: Architecture) -> dict[str, Tensor]:
    """The state dict of a network, names and shapes alone: no time, and no draw of a number."""
    try:
        with torch.device("meta"):
            return build(net).state_dict()
    except UserError:  # a factory that reads a value as it builds; its own mistakes show again
        with torch.random.fork_rng(devices=[]):
            return build(net).state_dict()


def matched(needed: Mapping[str, Tensor], given: WeightSet) -> tuple[dict[str, Tensor], LoadReport]:
    """As `fit`, with the notes on the set; `UserError` for weights that are not finite."""
    state, report = fit(needed, given.state)
    _check_values(state, report)
    return state, replace(report, notes=(*given.notes, *report.notes))


def _given(source: Mapping[str, Any] | Path | str, key: str) -> WeightSet:
    if not isinstance(source, str | Path):
        return weight_set(source, key=key)
    if isinstance(source, str) and not ("/" in source or os.path.lexists(source)):
        names = ", ".join(f"{library}:NAME" for library in PEERS)
        raise UserError("there is no such file", file=source, allowed=f"a file, {names}")
    return read_weights(Path(source), key)


def fit(
    needed: Mapping[str, Tensor], given: Mapping[str, Any]
) -> tuple[dict[str, Tensor], LoadReport]:
    """What of the given weights fits a network whose state dict is `needed`, under its names."""
    names, prefixes, candidates = names_in(given, needed)
    state: dict[str, Tensor] = {}
    missing, mismatched, notes = list[str](), list[Mismatch](), list[str]()
    for name, expected in needed.items():
        value = given.get(names.get(name, ""))
        if value is None:
            missing += [] if name.endswith(_OPTIONAL) else [name]
        elif value.shape == expected.shape:
            state[name] = value
        elif name in _STEMS and value.shape == _of_three_channels(expected):
            state[name] = value.sum(1, keepdim=True)
            notes.append("the first convolution is summed over three channels, for grey images")
        elif not name.endswith(_OPTIONAL):
            mismatched.append(Mismatch(name, tuple(expected.shape), tuple(value.shape)))
            if name in _STEMS and value.shape[:1] + value.shape[2:] == _but_channels(expected):
                notes.append(
                    f"the first convolution is for {value.shape[1]} channels, the network's for "
                    f"{expected.shape[1]}: only three are made one"
                )
    claimed = set(names.values())
    left = [name for name in given if name not in claimed]
    unexpected = tuple(name for name in left if not prefixes or name.startswith(prefixes))
    if others := _counted(name for name in left if prefixes and not name.startswith(prefixes)):
        notes.append(_listed("what is saved beside the network is left out", others))
    return state, LoadReport(
        loaded=tuple(state),
        missing=tuple(missing),
        unexpected=unexpected,
        mismatched=tuple(mismatched),
        names=names,
        notes=tuple(notes),
        candidates=candidates,
    )


def _but_channels(first: Tensor) -> torch.Size:
    return first.shape[:1] + first.shape[2:]


def _of_three_channels(first: Tensor) -> tuple[int, ...]:
    """The shape of the first convolution of a network for grey images, [O, 1, K, K], for RGB."""
    outputs, channels, *kernel = first.shape
    return (outputs, 3, *kernel) if channels == 1 else ()


def _check_values(state: Mapping[str, Tensor], report: LoadReport) -> None:
    """Raises `UserError` for weights that are no numbers to compute with."""
    wrong = []
    for name, value in state.items():
        if value.is_meta or value.is_quantized or value.layout != torch.strided:
            wrong.append(f"{report.both(name)} is no plain tensor with values")
        elif not value.is_floating_point():
            counts = name.endswith(_OPTIONAL)
            wrong += [] if counts else [f"{report.both(name)} is of {value.dtype}"]
        elif not (finite := value.float().isfinite()).all():
            broken = int(finite.numel() - finite.sum())
            wrong.append(
                f"{report.both(name)} has NaN or infinity in {broken:,} of {finite.numel():,}"
            )
    if wrong:
        raise UserError(
            f"{len(wrong):,} of {len(state):,} weights are unusable: {_cut(wrong)}",
            hint="take a checkpoint from before the training failed, in floating point",
        )


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
        theirs = next(p.shape[1] for p in peer.parameters() if p.ndim == 4)
        expected = _values(peer(images.expand(-1, theirs, -1, -1)))
        actual = _values(ours(images))
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


def _new_parts(taken: Sequence[str], new: Sequence[str]) -> list[str]:
    """What of a network is not taken: `neck`, `class head (predict.pointwise)`."""
    parts: dict[str, list[str]] = {}
    for name in new:
        parts.setdefault(name.partition(".")[0], []).append(name)
    known = {name.partition(".")[0] for name in taken}
    words = []
    for part, names in parts.items():
        word = part.replace("_", " ")
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
        inside = [layer.partition(".")[2] for layer in layers]
        if part in known:
            word += f" ({inside[0]})" if len(inside) == 1 else f" ({len(inside)} layers)"
        words.append(word)
    return words


def _counted(names: Iterable[str]) -> list[str]:
    """Names without those of counters of batches."""
    return [name for name in names if not name.endswith(_OPTIONAL)]


def _listed(title: str, items: Sequence[str]) -> str:
    return f"{title} ({len(items)}): {_cut(items)}"


def _cut(items: Sequence[str]) -> str:
    """The first few items and how many more there are: a message stays short."""
    shown, room = list[str](), _LONGEST
    for item in items[:_SHOWN]:
        word = shortened(item if item.isprintable() else repr(item), _LONGEST)
        room -= len(word)
        if shown and room < 0:
            break
        shown.append(word)
    more = [f"and {len(items) - len(shown):,} more"] if len(items) > len(shown) else []
    return ", ".join([*shown, *more])
