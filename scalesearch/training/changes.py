"""What is changed in single images before they train: colours, shapes, and what is erased."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scalesearch.training.policies import jittered, policy
from scalesearch.training.recipe import Recipe
from scalesearch.view import Draws, IndexDraws

# Area and shape of what is erased, as torchvision's RandomErasing takes them (Zhong et al. 2020
# have 2 to 40 % of the area).
_ERASED_AREA, _ERASED_RATIO = (0.02, 0.33), (0.3, 3.3)
_ATTEMPTS = 10


@dataclass(frozen=True)
class Changes:
    """Changes of single images, drawn for each from a seed and its index.

    Attributes:
        recipe: says which.
        mean: of each channel on the scale 0 to 1: the colour of what is erased.
        seed: of the epoch.
    """

    recipe: Recipe
    mean: Sequence[float]
    seed: int

    @property
    def any(self) -> bool:
        """Whether there are any."""
        recipe = self.recipe
        coloured = recipe.policy is not None or recipe.color_jitter > 0
        return recipe.augment and (coloured or recipe.erase > 0)

    def __call__(self, pixels: Tensor, indices: np.ndarray) -> Tensor:
        """The images uint8 [B, C, R, R] of these indices, changed in place."""
        if self.any:
            for image, index in zip(pixels, indices.tolist(), strict=True):
                self._change(image, IndexDraws(self.seed, index))
        return pixels

    def _change(self, image: Tensor, draws: Draws) -> None:
        recipe = self.recipe
        if recipe.policy is not None or recipe.color_jitter > 0:
            picture = _picture(image)
            if recipe.policy is not None:
                change = policy(recipe.policy, recipe.operations, recipe.magnitude)
                picture = change(picture, draws)
            if recipe.color_jitter > 0:
                picture = jittered(picture, recipe.color_jitter, draws)
            array = np.array(picture).reshape(*image.shape[1:], image.shape[0])
            image.copy_(torch.from_numpy(array).permute(2, 0, 1))
        if recipe.erase > 0 and draws.uniform(0, 1) < recipe.erase:
            box = erased(image.shape[1], image.shape[2], draws)
            if box is not None:
                top, left, height, width = box
                colour = torch.tensor([round(255 * value) for value in self.mean])
                part = image[:, top : top + height, left : left + width]
                part.copy_(colour.to(image.dtype)[:, None, None].expand_as(part))


def erased(height: int, width: int, draws: Draws) -> tuple[int, int, int, int] | None:
    """Top, left, height and width of what is erased; draws in the order of torchvision's.

    None where ten draws did not fit into the image.
    """
    ratios = math.log(_ERASED_RATIO[0]), math.log(_ERASED_RATIO[1])
    for _ in range(_ATTEMPTS):
        area = height * width * draws.uniform(*_ERASED_AREA)
        ratio = math.exp(draws.uniform(*ratios))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if h < height and w < width:
            top = draws.integer(height - h + 1)
            return top, draws.integer(width - w + 1), h, w
    return None


def _picture(image: Tensor) -> Image.Image:
    """An image uint8 [C, R, R], C 1 or 3, as Pillow's."""
    array = image.permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(array if array.shape[2] == 3 else array[..., 0]))
