"""Weights read from files, and pretrained networks of timm and torchvision."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from scalesearch.errors import UserError, nearest

_PICKLED = (".pt", ".pth")
_WRAPPERS = ("state_dict", "model")  # keys under which checkpoints hold the weights
_PREFIXES = ("module.", "_orig_mod.")  # of DistributedDataParallel and of torch.compile


def read_weights(path: Path) -> dict[str, Any]:
    """The state dict in a .safetensors, .pt or .pth file, on the CPU; no code in it is run.

    Raises:
        UserError: no such file, another kind of file, or one that cannot be read.
    """
    if path.suffix not in (".safetensors", *_PICKLED):
        raise UserError(
            "weights are not read from this kind of file",
            file=str(path),
            allowed=".safetensors, .pt, .pth, timm:NAME, torchvision:NAME, or effdet:NAME",
        )
    if not path.is_file():
        raise UserError("there is no such file", file=str(path))
    try:
        if path.suffix in _PICKLED:
            content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            content = load_file(path)
    except pickle.UnpicklingError as error:
        raise UserError(
            "holds more than tensors, or is damaged",
            file=str(path),
            hint="save `model.state_dict()`, not the model",
        ) from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"cannot be read: {reason}", file=str(path)) from error
    return unwrapped(content, str(path))


def unwrapped(content: object, source: str = "") -> dict[str, Any]:
    """The state dict in a checkpoint: out of `state_dict` or `model`, without wrappers' prefixes.

    Raises:
        UserError: there is no tensor, or a value that is not a tensor.
    """
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise UserError("holds no weights", file=source, allowed="a mapping from names to tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise UserError(
                f"{name!r} is not a tensor but of type {type(value).__name__}",
                file=source,
                allowed="a mapping from names to tensors, or one under 'state_dict' or 'model'",
            )
    state = dict(content)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def pretrained(source: object) -> nn.Module | None:
    """The pretrained network that `timm:NAME`, `torchvision:NAME` or `effdet:NAME` names.

    It is in evaluation mode; its weights are downloaded where they are not yet here. None: the
    source is something else.

    Raises:
        UserError: the library is not installed, has no such network, or cannot get its weights.
    """
    library, _, name = source.partition(":") if isinstance(source, str) else ("", "", "")
    if library not in PEERS:
        return None
    try:
        return PEERS[library](name).eval()
    except UserError:
        raise
    except Exception as error:  # each library of the download has errors of its own
        if isinstance(error, ModuleNotFoundError) and error.name == library:
            hint = f"pip install {library}"
            raise UserError(f"{library} is not installed", hint=hint) from error
        reason = str(error).partition("\n")[0]
        raise UserError(f"{library} could not load its weights of {name!r}: {reason}") from error


def timm_model(name: str) -> nn.Module:
    """timm's network `name`, which may end in a tag: `resnet50.a1_in1k`."""
    import timm

    _check_known(name.partition(".")[0], timm.list_models(), "timm", "network")
    model: nn.Module = timm.create_model(name, pretrained=True)
    return model


def torchvision_model(name: str) -> nn.Module:
    """torchvision's classifier `name` with its default weights, or with those after a dot.

    `resnet50.IMAGENET1K_V1` names weights.
    """
    from torchvision import models

    network, _, weights = name.partition(".")
    _check_known(network, models.list_models(module=models), "torchvision", "network")
    kinds = ["DEFAULT", *(member.name for member in models.get_model_weights(network))]
    _check_known(weights or "DEFAULT", kinds, "torchvision", f"{network} with")
    return models.get_model(network, weights=weights or "DEFAULT")


def effdet_model(name: str) -> nn.Module:
    """effdet's detector `name`, such as `tf_efficientdet_d0`, for images of `PEER_SIDE`."""
    import effdet
    from effdet.config.model_config import efficientdet_model_param_dict as known

    _check_known(name, list(known), "effdet", "detector")
    size = (PEER_SIDE, PEER_SIDE)
    model: nn.Module = effdet.create_model(name, pretrained=True, image_size=size)
    return model


PEER_SIDE = 128  # of the images on which a pretrained network and ours are compared
PEERS: dict[str, Callable[[str], nn.Module]] = {
    "effdet": effdet_model,
    "timm": timm_model,
    "torchvision": torchvision_model,
}


def _check_known(word: str, known: list[str], library: str, what: str) -> None:
    if word not in known:
        allowed = ", ".join(known) if len(known) < 10 else ""
        raise UserError(
            f"{library} has no {what} {word!r}", allowed=allowed, hint=nearest(word, known)
        )
