"""The boxes of annotations: turned upright, clipped, and looked at for another convention."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from scalesearch.errors import UserError

_MIN_SIDE = 1e-3  # pixels: a box with a shorter side has no area
_OVER = 1.0  # pixels that a box may reach over its image: rounding
# Boxes in another form than they are taken for: so many reach over their images, as a share of all
# and at least. In the form that is meant hardly any does, or in none where most do.
_MANY, _FEW, _HARDLY, _MOST = 0.2, 2, 0.02, 0.5
# Shares of an image, of which some are rounded, and as which so many boxes can be read at least.
_LARGEST_SHARE, _ALL_BUT_SLIPS = 1.05, 0.95
# Boxes that fill 0 to 100 of images with sides of twice that and more are perhaps in percent.
_PERCENT, _FILLED, _ENOUGH = 100.0, 90.0, 20
# Corners of Pascal VOC below 1: beyond slips, a program has counted pixels from 0.
_FROM_ZERO = 0.005

Box = Sequence[float]
Size = tuple[int, int]  # height and width
BoxForm = Literal[
    "xywh",
    "xyxy",
    "yxyx",
    "cxcywh",
    "xywh_shares",
    "xyxy_shares",
    "yxyx_shares",
    "cxcywh_shares",
]
_WORDS = {
    "xywh": "a corner, width and height",
    "xyxy": "two corners (x0, y0, x1, y1)",
    "yxyx": "two corners (y0, x0, y1, x1)",
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
    match form.removesuffix(_SHARES):
        case "xywh":
            corners = [a, b, a + c, b + d]
        case "cxcywh":
            corners = [a - c / 2, b - d / 2, a + c / 2, b + d / 2]
        case "yxyx":
            corners = [b, a, d, c]
        case _:
            corners = [a, b, c, d]
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


def voc_form(boxes: Sequence[Box]) -> str:
    """How corners of Pascal VOC are counted: from 1, or from 0 if more than slips lie below 1."""
    below = sum(min(box[0], box[1]) < 1 for box in boxes)
    return "xyxy" if below > _FROM_ZERO * len(boxes) else VOC


class BoxCheck:
    """Clips the boxes of a data set, and counts what is odd about them.

    Attributes:
        form: how the boxes are written.
        key: of the option that says so; empty where the format has none.
    """

    def __init__(self, form: str, key: str) -> None:
        self._form, self._key = form, key
        self._total = self._as_shares = self._over = self._clipped = 0
        self._largest, self._shortest = 0.0, math.inf
        self._left_out: Counter[str] = Counter()
        shares = _SHARES if form.endswith(_SHARES) else ""
        known = "xyxy" if form == VOC else form
        # Of each other form, the boxes that do not lie within their image if they are such.
        self._unfit = Counter({f + shares: 0 for f in _WORDS if f + shares != known})

    def clipped(self, box: Box, size: Size) -> list[float] | None:
        """x0, y0, x1, y1 within an image of height and width `size`; None if nothing is left."""
        corners = corners_of(box, self._form, size)
        self._total += 1
        reaches_over = _reaches_over(corners, size)
        self._over += reaches_over
        for form in self._unfit:
            self._unfit[form] += not _is_inside(corners_of(box, form, size), size)
        x0, y0, x1, y1 = corners
        if x1 - x0 < _MIN_SIDE or y1 - y0 < _MIN_SIDE:
            self._left_out["without area"] += 1
            return None
        height, width = size
        self._largest = max(self._largest, *corners)
        self._shortest = min(self._shortest, *size)
        self._as_shares += min(size) > 2 and all(abs(value) <= _LARGEST_SHARE for value in box)
        inside = [max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))]
        if inside[2] - inside[0] < _MIN_SIDE or inside[3] - inside[1] < _MIN_SIDE:
            self._left_out["outside of their image"] += 1
            return None
        self._clipped += reaches_over
        return inside

    def check(self) -> None:
        """Raises `UserError` if the boxes can't be what they are taken for."""
        sized = self._total - self._left_out["without area"]
        if sized and self._as_shares >= _ALL_BUT_SLIPS * sized and not self._in_shares:
            within = f"{_count(self._as_shares, sized)} boxes lie within 0 to 1"
            raise self._error(
                f"{within}: are they shares of the image?", [form + _SHARES for form in _WORDS]
            )
        if self._over <= max(_FEW, _MANY * self._total):
            return
        over = f"{_count(self._over, self._total)} boxes reach over their image"
        if others := self._others:
            words = " or ".join(_words(form) for form in others)
            every = "all" if not any(self._unfit[form] for form in others) else "nearly all"
            raise self._error(f"{over}, and as {words} {every} lie within: are they such?", others)
        if self._in_shares:
            raise self._error(f"{over}: are they in pixels, not in shares of it?", list(_WORDS))
        if self._over > _MOST * self._total:
            raise self._error(f"{over}: are these the images that they were drawn in?", [])

    def notes(self) -> list[str]:
        """What was done about odd boxes, in sentences."""
        notes = [
            f"{count:,} of {self._total:,} boxes are left out, as they are {reason}"
            for reason, count in sorted(self._left_out.items())
        ]
        in_percent = _FILLED < self._largest <= _PERCENT and self._shortest >= 2 * _PERCENT
        if in_percent and self._total >= _ENOUGH:
            notes.append(
                f"all {self._total:,} boxes lie within 0 to 100 of their images, whose sides "
                f"are {self._shortest:,} and more: are they in percent?"
            )
        if self._clipped:
            words = " or ".join(_words(form) for form in self._others)
            guess = f"; as {words} they lie within" if words else ""
            notes.append(
                f"{self._clipped:,} of {self._total:,} boxes reach over their image and are "
                f"clipped at its border{guess}"
            )
        return notes

    @property
    def _others(self) -> list[str]:
        """The forms as which all boxes but slips lie within their images."""
        slips = max(1, _HARDLY * self._total) if self._total > 2 * _FEW else 0
        return [form for form, unfit in self._unfit.items() if unfit <= slips]

    @property
    def _in_shares(self) -> bool:
        return self._form.endswith(_SHARES)

    def _error(self, problem: str, forms: Sequence[str]) -> UserError:
        options = " or ".join(f"`{self._key}: {form}`" for form in forms)
        known = f"if so, write {options}" if options else "if so, clip them to their images first"
        return UserError(
            problem,
            key=self._key or "annotations",
            allowed=_words(self._form),
            hint=known if self._key or not forms else "mend the annotations",
        )


def _count(some: int, every: int) -> str:
    return f"all {every:,}" if some == every else f"{some:,} of {every:,}"


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
