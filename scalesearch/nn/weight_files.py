"""Weights read from files and from timm."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
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
            allowed=".safetensors, .pt, .pth, or timm:NAME",
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
        UserError: there is no tensor under any name, or something else under one.
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
                f"{name!r} is no tensor but of type {type(value).__name__}",
                file=source,
                allowed="a mapping from names to tensors, or one under 'state_dict' or 'model'",
            )
    state = dict(content)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def timm_model(name: str) -> nn.Module:
    """timm's pretrained network `name` in evaluation mode, downloaded where it is not yet here.

    Raises:
        UserError: timm is not installed, knows no such network, or cannot get its weights.
    """
    try:
        import timm
    except ImportError as error:
        raise UserError("timm is not installed", hint="pip install timm") from error
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise UserError(f"timm has no network {name!r}", hint=nearest(name, known))
    try:
        model: nn.Module = timm.create_model(name, pretrained=True)
    except Exception as error:  # each library of the download has errors of its own
        reason = str(error).partition("\n")[0]
        raise UserError(f"timm could not load its weights of {name!r}: {reason}") from error
    return model.eval()
