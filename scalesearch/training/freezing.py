"""What of a detector is not trained: the beginning of its backbone, or its backbone's norms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from scalesearch.arch.detector import Detector
from scalesearch.errors import TrialError, UserError
from scalesearch.nn import weights
from scalesearch.nn.build import build
from scalesearch.training.recipe import DetectionRecipe


def begin(model: nn.Module, recipe: DetectionRecipe) -> None:
    """Takes the recipe's weights, if it names some, as far as they fit.

    Raises:
        UserError: the file cannot be read, or is of another network.
        TrialError: its weights have other shapes than those of this network, all of them or some
            that are not trained.
    """
    if recipe.weights is None:
        return
    state, report = _matched(model.state_dict(), recipe.weights)
    if problem := _unusable(state, model.state_dict(), recipe):
        if not (state or report.mismatched):
            raise UserError(problem, key="weights", hint="; ".join(report.misfits()))
        raise TrialError("; ".join([problem, *report.misfits()]))
    model.load_state_dict(state, strict=False)


def weights_note(net: Detector, recipe: DetectionRecipe) -> str:
    """What a network takes of the recipe's weights, in one sentence; empty if none are named.

    Raises:
        UserError: the file cannot be read, nothing in it fits the network, or what would be frozen
            is not in it.
    """
    if recipe.weights is None:
        return ""
    with torch.device("meta"):  # names and shapes alone
        needed = build(net).state_dict()
    state, report = _matched(needed, recipe.weights)
    if problem := _unusable(state, needed, recipe):
        raise UserError(problem, key="weights", hint="; ".join(report.misfits()))
    return f"{recipe.weights.name}: {report}"


def _unusable(
    state: Mapping[str, Tensor], needed: Mapping[str, Tensor], recipe: DetectionRecipe
) -> str:
    """Why weights to begin with can't be meant, or an empty text."""
    if not any(value.ndim > 1 for value in state.values()):  # vectors fit by accident
        return f"nothing in {recipe.weights} fits the network"
    frozen = [f"backbone.stages.{stage}." for stage in range(recipe.frozen_stages)]
    if recipe.frozen_stages >= 0:
        frozen.append("backbone.stem.")
    drawn = [
        name
        for name, value in needed.items()
        if name.startswith(tuple(frozen)) and name not in state and value.ndim
    ]
    if drawn:
        return (
            f"`freeze: {recipe.freeze}` would keep {len(drawn)} weights as they are drawn, as "
            f"{recipe.weights} has none for them: {drawn[0]} is the first"
        )
    return ""


def _matched(
    needed: Mapping[str, Tensor], path: Path
) -> tuple[dict[str, Tensor], weights.LoadReport]:
    """As `weights.matched`, with the setting's name in a message."""
    try:
        return weights.matched(needed, path)
    except UserError as error:
        raise error.at(under="weights") from None


def check_freeze(net: Detector, recipe: DetectionRecipe) -> None:
    """Raises `UserError` for a stage to freeze that the backbone does not have."""
    there = net.sources[-1] + 1
    if recipe.frozen_stages > there:
        raise UserError(
            f"the backbone has no {recipe.freeze}",
            key="freeze",
            allowed=f"stem, stage1 to stage{there}",
        )


def freeze(model: nn.Module, net: Detector, recipe: DetectionRecipe) -> None:
    """Leaves the weights of what is frozen out of training; `UserError` as of `check_freeze`."""
    check_freeze(net, recipe)
    for module in _frozen(model, recipe):
        module.requires_grad_(False)


def hold_frozen(model: nn.Module, recipe: DetectionRecipe) -> None:
    """Keeps the statistics of what is frozen, once a model was put into training mode."""
    for module in _frozen(model, recipe):
        module.eval()


def _frozen(model: nn.Module, recipe: DetectionRecipe) -> Iterator[nn.Module]:
    if recipe.freeze is None and not recipe.frozen_norm:
        return
    backbone = model.get_submodule("backbone")
    if recipe.frozen_stages >= 0:
        yield backbone.get_submodule("stem")
        yield from list(backbone.get_submodule("stages").children())[: recipe.frozen_stages]
    if recipe.frozen_norm:
        yield from (m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))
