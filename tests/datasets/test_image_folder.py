import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from scalesearch.datasets._pixels import Reading, read_view
from scalesearch.datasets.image_folder import Dataset
from scalesearch.errors import TrialError, UserError
from scalesearch.view import View
from tests.pictures import read_square

COLOUR, GREY = Reading(), Reading(channels=1)


def picture(width, height, seed=0):
    """A smooth colour picture, so that lossy formats stay near it."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [np.sin(6 * x + seed), np.cos(5 * y), np.sin(4 * (x + y) + 1)]
    return Image.fromarray(((np.stack(waves, -1) + 1) * 127).astype(np.uint8))


def fill(
    root, classes=("cat", "dog"), count=5, suffixes=("png", "jpg", "webp", "bmp", "JPEG"), seed=0
):
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for n in range(count):
            suffix = suffixes[n % len(suffixes)]
            picture(40 + 7 * n, 30 + 11 * label, seed + n).save(root / name / f"{n}.{suffix}")
    return root


def test_every_format_and_size_becomes_a_batch(tmp_path):
    data = Dataset(path=fill(tmp_path)).load(0)
    assert data.classes == ("cat", "dog")
    assert (len(data.train), len(data.validation)) == (8, 2)
    assert np.bincount(data.validation.labels).tolist() == [1, 1]
    batch = data.train.batch(np.array([7, 0, 3]), View(24))
    assert (batch.shape, batch.dtype) == ((3, 3, 24, 24), torch.uint8)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    for path, label in zip(data.train.paths, data.train.labels, strict=True):
        assert f"/{data.classes[label]}/" in path


@pytest.mark.parametrize(("width", "height"), [(64, 48), (31, 77), (20, 20)])
def test_equals_torchvisions_resize_and_centre_crop(tmp_path, width, height):
    picture(width, height).save(tmp_path / "a.png")
    ours = read_view(str(tmp_path / "a.png"), 0, View(16), Reading())
    resized = v2.Resize(16, antialias=True)(v2.functional.pil_to_tensor(picture(width, height)))
    assert torch.equal(ours, v2.CenterCrop(16)(resized))


def test_a_large_jpeg_stays_near_the_exact_resize(tmp_path):
    large = picture(900, 700)
    large.save(tmp_path / "a.jpg", quality=95)
    exact = large.crop((100, 0, 800, 700)).resize((50, 50), Image.Resampling.BILINEAR)
    difference = read_square(str(tmp_path / "a.jpg"), 50, COLOUR).astype(int) - np.asarray(
        exact
    ).astype(int)
    assert np.abs(difference).max() <= 4


def test_grey_images_of_either_kind(tmp_path):
    fill(tmp_path)
    data = Dataset(path=tmp_path, channels=1).load(0)
    assert data.train.batch(np.array([0, 1]), View(8)).shape == (2, 1, 8, 8)
    assert data.mean == pytest.approx(((0.485 + 0.456 + 0.406) / 3,))
    Image.fromarray(np.full((4, 4), 51, dtype=np.uint8)).save(tmp_path / "grey.png")
    assert (read_square(str(tmp_path / "grey.png"), 2, COLOUR) == 51).all()


def test_sixteen_bits_are_scaled_and_photographs_turned_upright(tmp_path):
    Image.fromarray(np.full((4, 4), 51 * 257, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert (read_square(str(tmp_path / "deep.png"), 4, GREY) == 51).all()
    pixels = np.zeros((8, 8), dtype=np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the top of the picture is its left side
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    upright = read_square(str(tmp_path / "turned.png"), 8, GREY)[..., 0]
    assert (upright[:, 4:] == 255).all()
    assert (upright[:, :4] == 0).all()


def test_train_and_val_folders_are_the_split(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "val", count=2, seed=20)
    data = Dataset(path=tmp_path).load(0)
    assert (len(data.train), len(data.validation)) == (10, 4)
    assert all("/val/" in path for path in data.validation.paths)
    fewer = Dataset(path=tmp_path, limit=7).load(0)
    assert (len(fewer.train), len(fewer.validation)) == (5, 2)


def test_train_and_val_must_hold_the_same_classes(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "val", classes=("cat", "dog", "owl"))
    with pytest.raises(UserError, match="do not hold the same classes: owl"):
        Dataset(path=tmp_path).load(0)


def test_unreadable_files_are_counted_and_the_first_named(tmp_path):
    fill(tmp_path, count=7)
    for n in range(6):
        (tmp_path / "dog" / f"{n}.png").write_bytes(b"no image")
    (tmp_path / "dog" / "notes.txt").write_text("not looked at")
    with pytest.raises(UserError) as caught:
        Dataset(path=tmp_path).load(0)
    text = str(caught.value)
    # 0.png and 5.png were images, 1 to 4 are new beside 1.jpg to 4.JPEG.
    assert "6 of 18 files cannot be read as images" in text
    assert str(tmp_path / "dog" / "0.png") in text
    assert "and 1 more" in text


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "tif", "jp2", "ppm", "tga"])
def test_files_that_break_off_are_found_before_any_trial(tmp_path, suffix):
    fill(tmp_path, suffixes=(suffix,))
    for name in ("cat/1", "dog/4"):
        file = tmp_path / f"{name}.{suffix}"
        file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with pytest.raises(UserError) as caught:
        Dataset(path=tmp_path).load(0)
    assert "2 of 10 files cannot be read as images" in str(caught.value)
    for name in ("cat/1", "dog/4"):
        assert f"{name}.{suffix}" in str(caught.value)


def test_a_damaged_middle_names_every_such_file(tmp_path):
    fill(tmp_path, suffixes=("png",))
    data = Dataset(path=tmp_path).load(0)
    for broken in (data.train.paths[3], data.train.paths[6]):
        content = bytearray(Path(broken).read_bytes())
        content[80:120] = bytes(40)
        Path(broken).write_bytes(content)
    data.train.batch(np.array([0, 1]), View(8))
    with pytest.raises(UserError, match=r"cannot decode 2 of 8 files: .*png \(") as caught:
        data.train.batch(np.array([0, 3]), View(8))
    assert data.train.paths[3] in str(caught.value)
    assert data.train.paths[6] in str(caught.value)


def test_a_disk_that_fails_is_no_fault_of_the_file(tmp_path):
    data = Dataset(path=fill(tmp_path)).load(0)
    Path(data.train.paths[0]).unlink()
    with pytest.raises(TrialError, match=r"cannot decode .*: no such file"):
        data.train.batch(np.array([0]), View(8))


def test_folders_without_classes_are_named(tmp_path):
    for name, classes, text in (
        ("none", (), "holds 0 sub-folders"),
        ("one", ("cat",), "holds 1 sub-folders"),
        ("empty", ("cat", "dog"), "no image in .*owl"),
    ):
        root = tmp_path / name
        root.mkdir()
        fill(root, classes)
        if name == "empty":
            (root / "owl").mkdir()
        with pytest.raises(UserError, match=text) as caught:
            Dataset(path=root).load(0)
        assert caught.value.key == "path"
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        Dataset(path=tmp_path / "nowhere").load(0)


def test_options_out_of_range_are_named(tmp_path):
    for key, value in (("channels", 4), ("validation", 1.5), ("limit", 1)):
        with pytest.raises(UserError) as caught:
            Dataset(path=tmp_path, **{key: value})
        assert caught.value.key == key


def test_images_travel_to_workers(tmp_path):
    data = Dataset(path=fill(tmp_path), limit=6, validation=0.34).load(0)
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(
        again.train.batch(np.arange(4), View(9)), data.train.batch(np.arange(4), View(9))
    )
