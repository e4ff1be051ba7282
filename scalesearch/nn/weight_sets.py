"""The weights in a checkpoint: out of the containers and wrappers that trainers put them into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from scalesearch.errors import UserError, nearest
from scalesearch.text import shortened

# Keys under which trainers keep the weights of the network.
_CONTAINERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "network", "net", "module"),
    *("net_state_dict", "network_state_dict", "model_weights", "weights", "params", "parameters"),
)
# Words in keys and prefixes of a moving average of weights.
_AVERAGES = {"ema", "swa", "averaged", "average"}
# What wrappers put before, or into, names of layers; no network of ours has a layer named so.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_NETWORKS = ("backbone", "encoder", "classifier", "student", "teacher", "detector")
_COUNTERS = ("n_averaged", "num_updates", "decay")  # of classes that average weights
_PROFILES = ("total_ops", "total_params")  # thop's, which leaves them in every layer
_OVERLAP = 0.5  # of the names of a moving average, those of the weights it is of
# Mappings of tensors that belong to the training.
_OF_TRAINING = ("optim", "scheduler", "scaler", "callback", "loop", "hyper", "param_groups", "rng")
_DEEPEST = 5
_SHOWN = 5


@dataclass(frozen=True)
class WeightSet:
    """One set of weights of a checkpoint.

    Attributes:
        state: names to tensors, without what wrappers put into names.
        notes: which of several sets this is, in sentences.
    """

    state: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def weight_set(content: object, source: str = "", key: str = "") -> WeightSet:
    """The weights in what a checkpoint holds.

    Of weights and their moving average the average is taken, as by timm, and a note says so.

    Args:
        content: a mapping from names to tensors, or one of such mappings.
        source: the file, for messages.
        key: the path of keys to the weights, such as `model.state_dict`, where there are several.

    Raises:
        UserError: there are no weights, or several sets of which none is the network's for sure.
    """
    sets = dict(_sets(content, (), set())) if isinstance(content, Mapping) else {}
    sets = {path: part for found, given in sets.items() for path, part in _parts(found, given)}
    if not sets:
        raise _nothing(content, source)
    sets |= _below(sets, key)
    path, notes = _chosen(sets, source, key)
    state = _without_wrappers(sets[path])
    if notes and any(_is_average(word) for word in path):
        raw = [other for other in sets if not any(_is_average(word) for word in other)]
        if len(raw) == 1:
            state, count = _completed(state, _without_wrappers(sets[raw[0]]))
            more = f"{count} tensors that it lacks are from {_words(raw[0])}"
            notes = (*notes, more) if count else notes
    return WeightSet(state, notes)


def _completed(average: Mapping[str, Any], raw: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    """A moving average with what its layers lack, and how much that is.

    Some keep an average of what is trained alone, without the statistics of norms.
    """
    ours, theirs = average, raw
    if not ours.keys() < theirs.keys():  # one of them below a prefix
        ours, theirs = _below_prefix(average), _below_prefix(raw)
    layers = {name.rpartition(".")[0] for name in ours}
    rest = {n for n in theirs.keys() - ours.keys() if "." in n and n.rpartition(".")[0] in layers}
    if not rest or not ours.keys() < theirs.keys():
        return average, 0
    return {**{name: theirs[name] for name in rest}, **ours}, len(rest)


def is_wrapper(prefix: str) -> bool:
    """Whether a prefix of names, empty or with a dot at its end, is one that trainers put there."""
    known = (*_CONTAINERS, *_WRAPPERS, *_NETWORKS)
    return all(word in known or _is_average(word) for word in prefix.split(".")[:-1])


def _sets(
    content: Mapping[Any, Any], path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every mapping from names to tensors, by the keys that lead to it."""
    if id(content) in seen or len(path) > _DEEPEST:  # a pickle may hold itself
        return
    seen.add(id(content))
    below = False
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, Mapping) and not _is_of_training(key):
            for found in _sets(value, (*path, key), seen):
                below = True
                yield found
    state = {k: v for k, v in content.items() if _is_weight(k, v)}
    # Beside other sets a single tensor is one of the training, such as the weights of classes.
    if any(value.ndim and ("." in name or not below) for name, value in state.items()):
        yield path, state


def _is_weight(key: object, value: object) -> bool:
    """Whether it is a named tensor, and not a counter of a class that averages or profiles."""
    if not isinstance(key, str) or not isinstance(value, torch.Tensor):
        return False
    last = key.rpartition(".")[2]
    return last not in _PROFILES and (value.ndim > 0 or last not in _COUNTERS)


def _is_of_training(key: str) -> bool:
    return any(word in key.lower() for word in _OF_TRAINING)


def _parts(
    path: tuple[str, ...], state: dict[str, Any]
) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """A set of weights, or two where prefixes of names tell raw ones from averaged ones."""
    averaged = {name: prefix for name in state if (prefix := _average_prefix(name))}
    if not averaged or len(averaged) == len(state):
        return [(path, state)]
    first = next(iter(averaged.values()))
    raw = {name: value for name, value in state.items() if name not in averaged}
    average = {name: state[name] for name in averaged}
    return [(path, raw), ((*path, first), average)]


def _average_prefix(name: str) -> str:
    """`model_ema` of `model_ema.module.stem.conv.weight`; an empty word if there is none."""
    for word in name.split(".")[:-1]:
        if _is_average(word):
            return word
        if word not in _CONTAINERS and word not in _WRAPPERS:
            break
    return ""


def _is_average(word: str) -> bool:
    return not _AVERAGES.isdisjoint(word.lower().replace("-", "_").split("_"))


def _below(sets: Mapping[tuple[str, ...], Mapping[str, Any]], key: str) -> dict[Any, Any]:
    """The weights whose path and names begin with a key that is no path itself, if there are."""
    if not key or any(".".join(path) == key for path in sets):
        return {}
    for path, given in sets.items():
        prefix = key.removeprefix(".".join([*path, ""])) + "."
        for state in (given, _without_wrappers(given)):
            part = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
            if part:
                return {tuple(key.split(".")): part}
    return {}


def _below_prefix(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Names without the words that those of all layers begin with."""
    layers = [name.split(".")[:-1] for name in state if "." in name]
    common = 0
    for words in zip(*layers, strict=False):
        if len(set(words)) > 1:
            break
        common += 1
    return {name.split(".", common)[-1]: value for name, value in state.items()}


def _averages(sets: Mapping[tuple[str, ...], Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The paths of moving averages: what has the name of one and averages no weights is none."""
    named = [path for path in sets if any(_is_average(word) for word in path)]
    names = {path: set(_below_prefix(_without_wrappers(state))) for path, state in sets.items()}
    raw = [names[path] for path in sets if path not in named]
    return [
        path
        for path in named
        if not raw or max(len(names[path] & other) for other in raw) >= _OVERLAP * len(names[path])
    ]


def _chosen(
    sets: Mapping[tuple[str, ...], Any], source: str, key: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The path of the set to take, and what to say of the others."""
    paths = list(sets)
    if key:
        wanted = next((path for path in paths if ".".join(path) == key), None)
        if wanted is None:
            words = [".".join(path) for path in paths if path]
            raise UserError(
                f"holds no weights under {shortened(key)!r}",
                file=source,
                allowed=_listed(words) or "no key: it is one mapping from names to tensors",
                hint=nearest(key, words),
            )
        return wanted, ()
    if len(paths) == 1:
        return paths[0], ()
    averaged = _averages(sets)
    usual = [path for path in paths if path not in averaged and _is_usual(path)]
    best = averaged or usual
    others = [path for path in paths if path not in best]
    if len(best) != 1:
        raise UserError(
            f"holds {len(paths)} sets of weights: {_listed([_words(path) for path in paths])}",
            file=source,
            hint="choose with load_weights(…, key=…), or save one of them alone",
        )
    what = "the moving average" if averaged else "the set"
    left = _listed([_words(path) for path in others])
    return best[0], (f"{what} of weights under {_words(best[0])} is taken, not {left}",)


def _is_usual(path: tuple[str, ...]) -> bool:
    return all(word in _CONTAINERS for word in path)


def _words(path: tuple[str, ...]) -> str:
    return repr(shortened(".".join(path), 80)) if path else "the other names"


def _without_wrappers(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Names without `module`, `_orig_mod` and the like, unless two of them would be the same."""
    bare = {_bare(name): value for name, value in state.items()}
    return bare if len(bare) == len(state) else state


def _bare(name: str) -> str:
    *layers, last = name.split(".")
    return ".".join([*(word for word in layers if word not in _WRAPPERS), last])


def _nothing(content: object, source: str) -> UserError:
    allowed = "a mapping from names to tensors, or one under 'state_dict' or 'model'"
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        return UserError(
            f"holds no weights but a value of type {kind}", file=source, allowed=allowed
        )
    if any(isinstance(value, Mapping) for value in content.values()):
        keys = _listed([shortened(repr(key), 40) for key in content])
        return UserError(f"holds no weights under its keys {keys}", file=source, allowed=allowed)
    for name, value in content.items():
        if not isinstance(value, torch.Tensor):
            return UserError(
                f"{shortened(repr(name))} is not a tensor but of type {type(value).__name__}",
                file=source,
                allowed=allowed,
            )
    return UserError("holds no weights", file=source, allowed=allowed)


def _listed(words: list[str]) -> str:
    more = [f"{len(words) - _SHOWN} more"] if len(words) > _SHOWN else []
    return ", ".join([*words[:_SHOWN], *more])
