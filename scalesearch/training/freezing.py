"""What a network begins with, and what of it is not trained: stages of its backbone, or norms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.errors import TrialError, UserError
from scalesearch.nn.weight_files import read_weights
from scalesearch.nn.weight_sets import WeightSet
from scalesearch.nn.weights import LoadReport, matched, needed_by
from scalesearch.training.recipe import CommonRecipe

_TRIED = 30  # networks of a phase for which weights are looked at before it


def begin(model: nn.Module, recipe: CommonRecipe) -> None:
    """Takes the recipe's weights, if it names some, as far as they fit.

    Raises:
        UserError: the file cannot be read, or is of another network.
        TrialError: its weights have other shapes than those of this network, all of them or some
            that are not trained.
    """
    if recipe.weights is None:
        return
    given, needed = _read(recipe.weights), model.state_dict()
    state, report = _matched(needed, given, recipe.weights)
    if problem := _unusable(state, needed, recipe):
        if not (state or report.mismatched):
            raise UserError(problem, key="weights", hint="; ".join(report.misfits()))
        raise TrialError("; ".join([problem, *report.misfits()]))
    model.load_state_dict(state, strict=False)


def weights_notes(nets: Sequence[Architecture], recipe: CommonRecipe) -> tuple[str, ...]:
    """What the first of these networks takes of the recipe's weights, and how many can't be used.

    Raises:
        UserError: the file cannot be read, or none of the networks can begin with it: nothing in
            it fits, or what would be frozen is not in it.
    """
    if recipe.weights is None:
        return ()
    given = _read(recipe.weights)
    notes, problems, hint = list[str](), list[str](), ""
    tried = nets[:: max(1, len(nets) // _TRIED)]
    for net in tried:
        needed = needed_by(net)
        state, report = _matched(needed, given, recipe.weights)
        if problem := _unusable(state, needed, recipe):
            problems.append(problem)
            hint = hint or "; ".join(report.misfits())
        elif not notes:
            notes.append(f"{recipe.weights.name}: {report}")
    if not notes:
        raise UserError(problems[0], key="weights", hint=hint)
    if problems:
        notes.append(
            f"{len(problems)} of {len(tried)} networks of this phase cannot begin with "
            f"{recipe.weights.name}, and their trials fail: {problems[0]}; "
            "`evaluator: {weights: null}` below the phase trains it without"
        )
    return tuple(notes)


def _unusable(
    state: Mapping[str, Tensor], needed: Mapping[str, Tensor], recipe: CommonRecipe
) -> str:
    """Why a network cannot begin with the recipe's weights, or an empty text."""
    if not any(value.ndim > 1 for value in state.values()):  # vectors fit by accident
        return f"nothing in {recipe.weights} fits the network"
    backbone = "backbone." if any(name.startswith("backbone.") for name in needed) else ""
    stages = [f"{backbone}stages.{stage}." for stage in range(recipe.frozen_stages)]
    frozen = (f"{backbone}stem.", *stages) if recipe.frozen_stages >= 0 else ()
    drawn = [
        name
        for name in needed.keys() - state.keys()
        if name.startswith(frozen)
        or (recipe.frozen_norm and name.startswith(backbone) and ".norm." in name)
    ]
    drawn = [name for name in drawn if needed[name].ndim]  # not counters of batches
    if drawn:
        return (
            f"{len(drawn)} weights that are not in {recipe.weights} would be frozen as they are "
            f"drawn, such as {min(drawn)}"
        )
    return ""


def _read(path: Path) -> WeightSet:
    try:
        return read_weights(path)
    except UserError as error:
        raise error.at(under="weights") from None


def _matched(
    needed: Mapping[str, Tensor], given: WeightSet, path: Path
) -> tuple[dict[str, Tensor], LoadReport]:
    try:
        return matched(needed, given)
    except UserError as error:
        raise error.at(file=str(path), under="weights") from None


def check_freeze(net: Architecture, recipe: CommonRecipe) -> None:
    """Raises `UserError` for a stage to freeze that the backbone does not have."""
    if recipe.freeze is None:
        return
    if isinstance(net, Detector):
        there = net.sources[-1] + 1
    elif isinstance(net, Backbone):
        there = len(net.stages)
    else:
        raise UserError(
            "a network that a factory builds has no stages that are known",
            key="freeze",
            allowed="null; `frozen_norm: true` keeps its batch norms",
        )
    if recipe.frozen_stages > there:
        raise UserError(
            f"the backbone has no {recipe.freeze}",
            key="freeze",
            allowed=f"stem, stage1 to stage{there}",
        )


def freeze(model: nn.Module, net: Architecture, recipe: CommonRecipe) -> None:
    """Leaves the weights of what is frozen out of training; `UserError` as of `check_freeze`."""
    check_freeze(net, recipe)
    for module in _frozen(model, recipe):
        module.requires_grad_(False)


def hold_frozen(model: nn.Module, recipe: CommonRecipe) -> None:
    """Keeps the statistics of what is frozen, once a model was put into training mode."""
    for module in _frozen(model, recipe):
        module.eval()


def _frozen(model: nn.Module, recipe: CommonRecipe) -> Iterator[nn.Module]:
    if recipe.freeze is None and not recipe.frozen_norm:
        return
    backbone = getattr(model, "backbone", model)
    if recipe.frozen_stages >= 0:
        yield backbone.get_submodule("stem")
        yield from list(backbone.get_submodule("stages").children())[: recipe.frozen_stages]
    if recipe.frozen_norm:
        yield from (m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))
