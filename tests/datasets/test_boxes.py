"""Boxes in every form, and in images that EXIF turns."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from scalesearch.datasets._boxes import BoxCheck, turned
from scalesearch.datasets.coco import Dataset
from scalesearch.errors import UserError
from tests.pictures import noise

HEIGHT, WIDTH = 72, 96


def corners(draws):
    """x0, y0, x1, y1 of a box anywhere in an image, of whole pixels."""
    x0, x1 = sorted(draws.choice(WIDTH, 2, replace=False))
    y0, y1 = sorted(draws.choice(HEIGHT, 2, replace=False))
    return [int(v) for v in (x0, y0, x1 + 1, y1 + 1)]


def written(x0, y0, x1, y1, form):
    """The same box in another form."""
    kind, _, shares = form.partition("_")
    box = {
        "xywh": [x0, y0, x1 - x0, y1 - y0],
        "xyxy": [x0, y0, x1, y1],
        "yxyx": [y0, x0, y1, x1],
        "cxcywh": [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0],
    }[kind]
    sides = [HEIGHT, WIDTH] if kind == "yxyx" else [WIDTH, HEIGHT]
    return [v / s for v, s in zip(box, sides * 2, strict=True)] if shares else box


def write(folder, form, count=20, odd=()):
    (folder / "images").mkdir(exist_ok=True)
    draws = np.random.default_rng(zlib.crc32(b"boxes"))
    boxes = [corners(draws) for _ in range(count)]
    entries = [written(*box, form) for box in boxes]
    entries[: len(odd)] = odd
    content = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT}
            for n in range(count)
        ],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": box} for n, box in enumerate(entries)
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }
    for number in range(count):
        noise(number, (HEIGHT, WIDTH)).save(folder / "images" / f"{number}.png")
    (folder / "boxes.json").write_text(json.dumps(content))
    return {"images": folder / "images", "annotations": folder / "boxes.json"}, boxes


FORMS = ["xywh", "xyxy", "yxyx", "cxcywh"]
FORMS += [f"{form}_shares" for form in FORMS]


@pytest.mark.parametrize("form", FORMS)
def test_boxes_in_every_form_are_the_same(tmp_path, form):
    options, boxes = write(tmp_path, form)
    data = Dataset(**options, boxes=form, validation=0.3).load(0)
    for part in (data.train, data.validation):
        for index, number in enumerate(part.ids):
            assert part.targets(index).boxes[0] == pytest.approx(boxes[number], abs=1e-3)


@pytest.mark.parametrize("form", FORMS[1:])
def test_boxes_in_another_form_are_refused_with_the_option(tmp_path, form):
    options, _ = write(tmp_path, form)
    with pytest.raises(UserError) as caught:
        Dataset(**options).load(0)
    error = caught.value
    assert error.key == "boxes"
    assert f"`boxes: {form}`" in error.hint
    if form.endswith("_shares"):
        assert "all 20 boxes lie within 0 to 1: are they shares of the image?" in error.problem
    else:
        assert "of 20 boxes reach over their image" in error.problem
        assert ("centre" if form == "cxcywh" else "corners") in error.problem


@pytest.mark.parametrize(
    ("form", "slip"),
    [
        ("xyxy", [10, 10, WIDTH + 2.5, 40]),  # over the border
        ("xyxy", [10, 10, 10, 40]),  # without area
        ("yxyx", [10, 10, HEIGHT + 3, 40]),
        ("cxcywh", [10, 10, 24, 10]),
        ("xywh_shares", [0.5, 0.5, 0.51, 0.5]),
        ("xyxy_shares", [0.1, 0.1, 1.01, 0.5]),
        ("cxcywh_shares", [0.1, 0.1, 0.3, 0.1]),
    ],
)
def test_a_slip_does_not_hide_another_form(tmp_path, form, slip):
    options, _ = write(tmp_path, form, odd=[slip])
    with pytest.raises(UserError) as caught:
        Dataset(**options).load(0)
    assert f"`boxes: {form}`" in caught.value.hint


def test_boxes_of_larger_images_are_refused(tmp_path):
    """Most reach over, and no form explains it."""
    options, _ = write(tmp_path, "xywh")
    content = json.loads(options["annotations"].read_text())
    for entry in content["annotations"]:
        entry["bbox"] = [4 * value for value in entry["bbox"]]
    options["annotations"].write_text(json.dumps(content))
    with pytest.raises(UserError, match="are these the images that they were drawn in") as caught:
        Dataset(**options).load(0)
    assert caught.value.hint == "if so, clip them to their images first"


def test_pixels_where_shares_are_said(tmp_path):
    options, _ = write(tmp_path, "xywh")
    with pytest.raises(UserError, match="are they in pixels, not in shares of it") as caught:
        Dataset(**options, boxes="xywh_shares").load(0)
    assert "`boxes: xywh`" in caught.value.hint


def test_a_few_boxes_over_the_border_are_clipped_and_counted(tmp_path):
    options, _ = write(tmp_path, "xywh", odd=[[80, 50, 40, 40], [-9, 0, 30, 30]])
    notes = Dataset(**options).load(0).notes
    assert "2 of 20 boxes reach over their image and are clipped at its border" in notes


def test_sloppy_boxes_that_are_no_corners_are_clipped(tmp_path):
    """A third reaches over, but read as corners some would be turned inside out."""
    odd = [[50 + n, 40, 60, 30] for n in range(7)]
    options, _ = write(tmp_path, "xywh", odd=odd)
    notes = Dataset(**options).load(0).notes
    assert "7 of 20 boxes reach over their image and are clipped at its border" in notes


def test_boxes_in_percent_are_likely_and_noted():
    """A note and no error: small objects may well lie in one corner of large images."""
    check = BoxCheck("xywh", "boxes")
    for number in range(30):
        check.clipped([3 * number, 2 * number, 10, 30], (480, 640))
    check.check()
    (note,) = check.notes()
    assert note.endswith("whose sides are 480 and more: are they in percent?")


SIDE, SHARE = st.integers(4, 2000), st.floats(0, 1)


@given(st.lists(st.tuples(SIDE, SIDE, SHARE, SHARE, SHARE, SHARE), min_size=1))
def test_good_boxes_are_never_refused(images):
    """Boxes of two pixels at least, within their images."""
    check = BoxCheck("xywh", "boxes")
    for height, width, a, b, c, d in images:
        x0, y0 = a * (width - 2), b * (height - 2)
        box = [x0, y0, 2 + c * (width - 2 - x0), 2 + d * (height - 2 - y0)]
        check.clipped(box, (height, width))
    check.clipped([3, 3, 5, 5], (10, 10))
    check.check()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_the_image(orientation):
    """Against Pillow: the box around the white pixels before and after."""
    pixels = np.zeros((20, 30), np.uint8)
    pixels[4:9, 12:27] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(pixels)
    image.info["exif"] = exif.tobytes()
    x0, y0, x1, y1 = ImageOps.exif_transpose(image).getbbox()
    assert turned([12, 4, 27, 9], orientation, (20, 30)) == [x0, y0, x1, y1]


def turned_set(folder, sizes, orientations, box=(12, 4, 15, 5)):
    """Images of 30 x 20 pixels as stored, each with a white box at [12, 4, 15, 5] there."""
    (folder / "images").mkdir()
    images, boxes = [], []
    for number, (orientation, size) in enumerate(zip(orientations, sizes, strict=True)):
        pixels = np.asarray(noise(number, (20, 30), "L")) // 4
        pixels[4:9, 12:27] = 255
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png", exif=exif)
        images.append({"id": number, "file_name": f"{number}.png", **size})
        boxes.append({"id": number, "image_id": number, "category_id": 1, "bbox": box})
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}]}
    (folder / "a.json").write_text(json.dumps(content))
    return {"images": folder / "images", "annotations": folder / "a.json", "channels": 1}


def test_boxes_of_stored_images_are_turned_upright(tmp_path):
    """A program that ignores EXIF writes the width and height of the stored image."""
    orientations = list(range(1, 9))
    options = turned_set(tmp_path, [{"width": 30, "height": 20}] * 8, orientations)
    data = Dataset(**options, validation=0.4).load(0)
    for part in (data.train, data.validation):
        for index in range(len(part)):
            x0, y0, x1, y1 = part.targets(index).boxes[0].astype(int)
            image = part.image(index)[0]
            assert (image[y0:y1, x0:x1] == 255).all()
            assert (image == 255).sum() == (y1 - y0) * (x1 - x0) == 75
    assert any("7 of 8 images have boxes of the image before it is turned" in n for n in data.notes)


def test_boxes_of_upright_images_stay(tmp_path):
    sizes = [{"width": 20, "height": 30}] * 3
    options = turned_set(tmp_path, sizes, [6, 8, 5], box=(12, 4, 7, 25))
    data = Dataset(**options, validation=0.34).load(0)
    assert data.train.targets(0).boxes[0].tolist() == [12, 4, 19, 29]
    assert not any("before it is turned" in note for note in data.notes)
