"""Values in other conventions: more than 8 bits, transparency, grey, oblong pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from scalesearch.datasets._pixels import Reading, read_upright
from scalesearch.datasets.image_folder import Dataset
from scalesearch.errors import UserError
from scalesearch.view import View
from tests.pictures import classes, deep_png, noise, read_square


def deep_folder(root, low, high, kind=np.uint16, suffix=".png", count=4):
    """Two classes of grey pictures between two values; in one of them the middle is brighter."""
    draws = np.random.default_rng(0)
    for name, brighter in (("plain", 0), ("spot", 0.4)):
        (root / name).mkdir()
        for number in range(count):
            values = low + (high - low) * draws.uniform(0, 0.5, (32, 32))
            values[12:20, 12:20] += brighter * (high - low)
            Image.fromarray(values.astype(kind)).save(root / name / f"{number}{suffix}")
    return root


def means(data):
    """The mean of the middle in each class."""
    pixels = data.train.batch(np.arange(len(data.train)), View(32)).numpy()[:, :, 12:20, 12:20]
    return [pixels[data.train.labels == label].mean() for label in (0, 1)]


@pytest.mark.parametrize(
    ("low", "high", "kind", "suffix"),
    [
        (0, 4095, np.uint16, ".png"),  # 12 bits, as cameras and X-rays have
        (1800, 1900, np.uint16, ".png"),
        (7000, 9000, np.uint16, ".tif"),  # 14 bits of a thermal camera
        (30_000, 30_400, np.uint16, ".png"),
        (0, 1, np.float32, ".tif"),  # shares
        (-1000, 3000, np.int32, ".tif"),  # Hounsfield units
        (100_000, 900_000, np.int32, ".tif"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_any_range_is_told_apart_and_said(tmp_path, low, high, kind, suffix, channels):
    root = deep_folder(tmp_path, low, high, kind, suffix)
    data = Dataset(path=root, channels=channels).load(0)
    plain, spot = means(data)
    assert spot - plain > 60
    note = next(note for note in data.notes if "16 bits" in note)
    assert "8 images have more than 8 bits a pixel" in note
    assert "option `levels`" in note


def test_a_whole_range_is_taken_as_it_is(tmp_path):
    root = deep_folder(tmp_path, 0, 65535)
    data = Dataset(path=root, channels=1).load(0)
    assert data.train.reading.levels == (0, 65535)
    path = data.train.paths[0]
    upper = np.asarray(Image.open(path)).astype(np.uint16) >> 8
    assert (read_square(path, 32, data.train.reading)[..., 0] == upper).all()


def test_given_levels_decide(tmp_path):
    root = deep_folder(tmp_path, 1000, 2000)
    data = Dataset(path=root, channels=1, levels=(0, 2550)).load(0)
    path = data.train.paths[0]
    values = np.asarray(Image.open(path)).astype(float)
    assert np.abs(read_square(path, 32, data.train.reading)[..., 0] - values / 10).max() <= 0.5
    for levels in ((5, 5), (9, 1)):
        with pytest.raises(UserError, match=r"levels: \[.*\] cannot be used"):
            Dataset(path=root, levels=levels)


def test_a_hot_pixel_does_not_hide_the_rest(tmp_path):
    root = deep_folder(tmp_path, 1800, 1900)
    for number in range(4):
        file = root / "plain" / f"{number}.png"
        values = np.asarray(Image.open(file)).copy()
        values[0, 0] = 65535
        Image.fromarray(values).save(file)
    plain, spot = means(Dataset(path=root, channels=1).load(0))
    assert spot - plain > 60


def test_no_number_is_black(tmp_path):
    values = np.full((8, 8), 0.5, np.float32)
    values[0, 0], values[1, 1], values[2, 2] = np.nan, np.inf, 1.0
    values[3, 3] = 0
    Image.fromarray(values).save(tmp_path / "a.tif")
    pixels = np.asarray(read_upright(str(tmp_path / "a.tif"), Reading(1, levels=(0, 1))))
    assert (pixels[0, 0], pixels[1, 1], pixels[2, 2], pixels[3, 3]) == (0, 255, 255, 0)
    assert pixels[5, 5] == 128


def test_colour_of_16_bits(tmp_path):
    """Pillow reads the upper half of each number: of 12 bits that is 16 levels."""
    classes(tmp_path, suffix=".jpg")
    wide = np.random.default_rng(0).integers(0, 65536, (16, 16, 3), np.uint16)
    (tmp_path / "cat" / "deep.png").write_bytes(deep_png(wide))
    data = Dataset(path=tmp_path).load(0)
    assert any("1 images with 16 bits a colour channel the upper 8" in n for n in data.notes)
    pixels = np.asarray(read_upright(str(tmp_path / "cat" / "deep.png"), Reading()))
    assert (pixels == wide >> 8).all()
    (tmp_path / "cat" / "deep.png").write_bytes(deep_png(wide >> 4))
    with pytest.raises(UserError, match="1 images have 16 bits a colour channel and use 16 of 256"):
        Dataset(path=tmp_path).load(0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_transparent_is_white_whatever_lies_there(tmp_path, mode, channels):
    colours = np.asarray(noise(0, (8, 8), "RGBA")).copy()
    colours[..., 3] = 0
    colours[2:6, 2:6] = (10, 10, 10, 255)
    image = Image.fromarray(colours)
    if mode == "P":
        image = Image.fromarray(np.where(colours[..., 3] == 0, 7, 1).astype(np.uint8), "P")
        image.putpalette([200, 30, 90, 10, 10, 10] + [200, 30, 90] * 6)
        image.save(tmp_path / "a.png", transparency=7)
    else:
        image = image.convert("LA" if mode == "PA" else mode)
        image.save(tmp_path / "a.png")
    pixels = np.asarray(read_upright(str(tmp_path / "a.png"), Reading(channels)))
    assert (pixels[:2] == 255).all()
    assert (pixels[2:6, 2:6] == 10).all()


def test_half_transparent_colours_are_mixed_with_white(tmp_path):
    Image.new("RGBA", (4, 4), (0, 100, 200, 51)).save(tmp_path / "a.png")
    pixels = np.asarray(read_upright(str(tmp_path / "a.png"), Reading()))
    # A fifth of the colour, four fifths of white.
    assert np.abs(pixels.astype(int) - (204, 224, 244)).max() <= 1


def test_what_was_read_as_what_is_said(tmp_path):
    classes(tmp_path, count=5)
    noise(1, mode="L").save(tmp_path / "cat" / "0.png")
    noise(2, mode="RGBA").save(tmp_path / "cat" / "1.png")
    noise(3, mode="CMYK").save(tmp_path / "cat" / "2.jpg")
    noise(4).save(
        tmp_path / "cat" / "3.gif", save_all=True, append_images=[noise(5)], duration=[10, 20]
    )
    exif = Image.Exif()
    exif[0x0112] = 3
    noise(6).save(tmp_path / "cat" / "4.jpg", exif=exif)
    notes = Dataset(path=tmp_path).load(0).notes
    for text in (
        "1 of 13 images are grey and read as colour",
        "1 of 13 images may be transparent: they are laid on white",
        "1 of 13 images hold several pictures: the first is read",
        "1 of 13 images are in CMYK",
        "1 of 13 images are turned upright",
    ):
        assert any(text in note for note in notes), text
    assert any(
        "12 of 13 images are in colour" in n
        for n in Dataset(path=tmp_path, channels=1).load(0).notes
    )
    assert any("oblong" in note for note in notes) is False


@pytest.mark.parametrize("size", [(20, 200), (200, 20)])
def test_oblong_pictures_are_cut_padded_or_stretched(tmp_path, size):
    """Black, but for a white end, which a square cut out of the middle does not show."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[-20:, -20:] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    path, shares = str(tmp_path / "a.png"), {}
    for fit in ("crop", "pad", "stretch"):
        square = read_square(path, 40, Reading(fit=fit))
        assert square.shape == (40, 40, 3)
        shares[fit] = square.mean() / 255
    # White is a tenth of the picture, and with bars a hundredth.
    assert shares["crop"] == 0
    assert shares["stretch"] == pytest.approx(0.1, abs=0.02)
    assert shares["pad"] == pytest.approx(0.01, abs=0.005)


def test_oblong_pictures_are_noted_unless_they_fit(tmp_path):
    classes(tmp_path)
    noise(9, (10, 100)).save(tmp_path / "cat" / "long.png")
    noise(8, (10, 19)).save(tmp_path / "cat" / "wide.png")
    for fit, noted in (("crop", True), ("pad", False), ("stretch", False)):
        notes = Dataset(path=tmp_path, fit=fit).load(0).notes
        assert any("1 of 10 images are oblong" in n and "10%" in n for n in notes) == noted


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["LAB", "YCbCr", "CMYK"])
def test_colours_in_other_spaces(tmp_path, mode, channels):
    """Those that TIFF holds; Pillow's conversion by way of RGB is the reference."""
    image = noise(0, (8, 9))
    other = image.convert(mode) if mode != "LAB" else _lab(image)
    other.save(tmp_path / "0.tif")
    with Image.open(tmp_path / "0.tif") as stored:
        wanted = stored.convert("RGB") if channels == 3 or mode == "LAB" else stored
        expected = np.asarray(wanted.convert({1: "L", 3: "RGB"}[channels]))
    read = read_upright(str(tmp_path / "0.tif"), Reading(channels=channels))
    assert np.array_equal(np.asarray(read), expected)


def _lab(image):
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
