"""JPEG files by the fastest decoder, against Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from skimage import data as pictures

from scalesearch.datasets import _decode
from scalesearch.datasets._decode import decode_jpeg
from scalesearch.datasets._pixels import Reading, read_encoded
from scalesearch.errors import UserError
from scalesearch.view import RandomCrop, View


def jpeg(mode="RGB", size=(210, 150), orientation=1, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    picture = Image.fromarray(pictures.astronaut()).resize(size).convert(mode)
    picture.save(file, "JPEG", exif=exif, **options)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_equals_pillow_upright(mode, channels, orientation):
    raw = jpeg(mode, orientation=orientation)
    with Image.open(io.BytesIO(raw)) as image:
        own = "RGB" if channels == 3 else "L"
        image.draft(own, image.size)
        ours = decode_jpeg(image, raw, channels, orientation)
        theirs = np.asarray(ImageOps.exif_transpose(image).convert(own))
    assert ours is not None
    assert (ours.reshape(theirs.shape) == theirs).all()
    assert ours.flags.writeable
    assert ours.flags.c_contiguous


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"quality": 30}])
@pytest.mark.parametrize(("least", "size"), [((100, 70), (105, 75)), ((50, 30), (53, 38))])
def test_equals_pillow_at_a_reduced_size(least, size, options):
    raw = jpeg(**options)
    with Image.open(io.BytesIO(raw)) as image:
        image.draft("RGB", least)
        assert image.size == size
        assert (decode_jpeg(image, raw, 3, 1) == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("view", [View(24), View(24, RandomCrop(), seed=3), View(32, centre=0.875)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_view_is_the_same_without_the_fast_library(monkeypatch, view, orientation):
    raw = jpeg(orientation=orientation)
    fast = read_encoded(raw, "a.jpg", 5, view, Reading())
    monkeypatch.setattr(_decode, "_simplejpeg", lambda: None)
    assert (read_encoded(raw, "a.jpg", 5, view, Reading()) == fast).all()


def test_damaged_data_are_said_as_pillow_says_them():
    raw = jpeg()
    with pytest.raises(UserError, match=r"cannot decode cat/a\.jpg: image file is truncated"):
        read_encoded(raw[: len(raw) // 2], "cat/a.jpg", 0, View(8), Reading())


def test_other_colours_are_left_to_pillow():
    raw = jpeg("CMYK")
    with Image.open(io.BytesIO(raw)) as image:
        assert decode_jpeg(image, raw, 3, 1) is None
    assert read_encoded(raw, "a.jpg", 0, View(8), Reading()).shape == (3, 8, 8)
