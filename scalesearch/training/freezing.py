"""What of a detector is not trained: the beginning of its backbone, or its backbone's norms."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from scalesearch.arch.detector import Detector
from scalesearch.errors import UserError
from scalesearch.training.recipe import DetectionRecipe


def begin(model: nn.Module, recipe: DetectionRecipe) -> None:
    """Takes the recipe's weights, if it names some, as far as they fit.

    Raises:
        UserError: the file cannot be read, or nothing in it fits.
    """
    if recipe.weights is None:
        return
    from scalesearch.nn.weights import load_weights

    report = load_weights(model, recipe.weights, strict=False)
    if not report.loaded:
        hint = "; ".join(report.misfits())
        raise UserError(f"nothing in {recipe.weights} fits the network", key="weights", hint=hint)


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
