"""Weights read from files, and pretrained networks of timm and torchvision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from scalesearch.errors import UserError, nearest
from scalesearch.nn.checkpoint_files import read_checkpoint
from scalesearch.nn.weight_sets import WeightSet, weight_set


def read_weights(path: Path, key: str = "") -> WeightSet:
    """The weights in a file, whatever its ending, on the CPU; no code in it is run.

    `key` is the path of keys to one of several sets of weights in it.

    Raises:
        UserError: no such file, another kind of file, or one that cannot be read.
    """
    library, _, name = path.name.partition(":")
    if name and library in PEERS and not path.exists():
        raise UserError(
            f"{path.name!r} is read by load_weights and by `scalesearch export`, not from here",
            hint="save its weights into a file: torch.save(MODEL.state_dict(), FILE)",
        )
    return weight_set(read_checkpoint(path), str(path), key)


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
