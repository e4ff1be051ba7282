"""The boxes of annotations: turned upright, clipped, and looked at for another convention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from scalesearch.errors import UserError

_MIN_SIDE = 1e-3  # pixels: a box with a shorter side has no area
_OVER = 1.0  # pixels that a box may reach over its image: rounding
# Boxes in another form than they are taken for: so many reach over their images, as a share of all
# and at least.
_MANY, _FEW = 0.2, 2

Box = Sequence[float]
Size = tuple[int, int]  # height and width
BoxForm = Literal["xywh", "xyxy", "cxcywh", "xywh_shares", "xyxy_shares", "cxcywh_shares"]
_WORDS = {
    "xywh": "a corner, width and height",
    "xyxy": "two corners (x0, y0, x1, y1)",
    "cxcywh": "a centre, width and height",
}
# Pascal VOC's: pixels are counted from 1, the last one is included.
VOC = "voc"
_SHARES = "_shares"


def corners_of(box: Box, form: str, size: Size) -> list[float]:
    """x0, y0, x1, y1 in pixels of a box in any form, in an image of height and width `size`."""
    a, b, c, d = box
    if form == VOC:
        return [a - 1, b - 1, c, d]
    if form.startswith("cxcywh"):
        corners = [a - c / 2, b - d / 2, a + c / 2, b + d / 2]
    else:
        corners = [a, b, a + c, b + d] if form.startswith("xywh") else [a, b, c, d]
    if not form.endswith(_SHARES):
        return corners
    height, width = size
    return [corners[0] * width, corners[1] * height, corners[2] * width, corners[3] * height]


def turned(corners: Box, orientation: int, size: Size) -> list[float]:
    """Corners in an image of height and width `size` after it is turned as EXIF says (1 to 8)."""
    height, width = size
    x0, y0, x1, y1 = corners
    if orientation in (2, 3, 7, 8):
        x0, x1 = width - x1, width - x0
    if orientation in (3, 4, 6, 7):
        y0, y1 = height - y1, height - y0
    return [y0, x0, y1, x1] if orientation in (5, 6, 7, 8) else [x0, y0, x1, y1]


class BoxCheck:
    """Clips the boxes of a data set, and counts what is odd about them.

    Attributes:
        form: how the boxes are written.
        key: of the option that says so; empty where the format has none.
    """

    def __init__(self, form: str, key: str) -> None:
        self._form, self._key = form, key
        self._total = self._within_one = self._over = self._clipped = 0
        self._left_out: Counter[str] = Counter()
        shares = _SHARES if form.endswith(_SHARES) else ""
        # Forms as which every box so far lies within its image.
        self._others = [f + shares for f in _WORDS if f + shares != form]

    def clipped(self, box: Box, size: Size) -> list[float] | None:
        """x0, y0, x1, y1 within an image of height and width `size`; None if nothing is left."""
        corners = corners_of(box, self._form, size)
        self._total += 1
        self._within_one += all(0 <= value <= 1 for value in box)
        reaches_over = _reaches_over(corners, size)
        self._over += reaches_over
        self._others = [f for f in self._others if _is_inside(corners_of(box, f, size), size)]
        x0, y0, x1, y1 = corners
        if x1 - x0 < _MIN_SIDE or y1 - y0 < _MIN_SIDE:
            self._left_out["without area"] += 1
            return None
        height, width = size
        inside = [max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))]
        if inside[2] - inside[0] < _MIN_SIDE or inside[3] - inside[1] < _MIN_SIDE:
            self._left_out["outside of their image"] += 1
            return None
        self._clipped += reaches_over
        return inside

    def check(self) -> None:
        """Raises `UserError` if the boxes can't be what they are taken for."""
        if self._total and self._within_one == self._total and not self._in_shares:
            raise self._error(
                f"all {self._total:,} boxes lie within 0 to 1: are they shares of the image?",
                [form + _SHARES for form in _WORDS],
            )
        if self._over <= max(_FEW, _MANY * self._total):
            return
        over = f"{self._over:,} of {self._total:,} boxes reach over their image"
        if self._others:
            words = " or ".join(_words(form) for form in self._others)
            raise self._error(
                f"{over}, and as {words} all lie within: are they such?", self._others
            )
        if self._in_shares:
            raise self._error(f"{over}: are they in pixels, not in shares of it?", list(_WORDS))

    def notes(self) -> list[str]:
        """What was done about odd boxes, in sentences."""
        notes = [
            f"{count:,} of {self._total:,} boxes are left out, as they are {reason}"
            for reason, count in sorted(self._left_out.items())
        ]
        if self._clipped:
            words = " or ".join(_words(form) for form in self._others)
            guess = f"; as {words} all lie within" if words else ""
            notes.append(
                f"{self._clipped:,} of {self._total:,} boxes reach over their image and are "
                f"clipped at its border{guess}"
            )
        return notes

    @property
    def _in_shares(self) -> bool:
        return self._form.endswith(_SHARES)

    def _error(self, problem: str, forms: Sequence[str]) -> UserError:
        options = " or ".join(f"`{self._key}: {form}`" for form in forms)
        return UserError(
            problem,
            key=self._key or "annotations",
            allowed=_words(self._form),
            hint=f"if so, write {options}" if self._key else "mend the annotations",
        )


def _words(form: str) -> str:
    unit = "shares of the image" if form.endswith(_SHARES) else "pixels"
    words = _WORDS["xyxy" if form == VOC else form.removesuffix(_SHARES)]
    return f"{words} in {unit}"


def _reaches_over(corners: Box, size: Size) -> bool:
    height, width = size
    x0, y0, x1, y1 = corners
    return x0 < -_OVER or y0 < -_OVER or x1 > width + _OVER or y1 > height + _OVER


def _is_inside(corners: Box, size: Size) -> bool:
    return corners[0] < corners[2] and corners[1] < corners[3] and not _reaches_over(corners, size)
