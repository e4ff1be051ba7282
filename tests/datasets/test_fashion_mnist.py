import gzip
import struct
import urllib.error
from itertools import product

import numpy as np
import pytest

from scalesearch.datasets import fashion_mnist
from scalesearch.datasets.fashion_mnist import CLASSES, SYSTEM_FOLDER, Dataset, read_idx
from scalesearch.errors import UserError


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(folder, count=40, gz=False, part="train"):
    draws = np.random.default_rng(["train", "t10k"].index(part))
    pixels = draws.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
        raw = idx(array)
        file = folder / f"{part}-{name}-ubyte{'.gz' if gz else ''}"
        file.write_bytes(gzip.compress(raw) if gz else raw)
    return pixels, labels


@pytest.fixture(autouse=True)
def no_system_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "nowhere")


def test_reads_idx_files_zipped_or_not_in_both_layouts(tmp_path):
    for number, (gz, below) in enumerate(product((True, False), ("", "FashionMNIST/raw"))):
        folder = tmp_path / str(number)
        pixels, labels = write(folder / below, gz=gz)
        data = Dataset(folder=folder, validation=0.25).load(0)
        both = np.concatenate([data.train.pixels, data.validation.pixels])[..., 0]
        assert sorted(map(bytes, both)) == sorted(map(bytes, pixels))
        assert np.bincount(data.validation.labels).tolist() == [1] * 10
        assert (data.classes, data.channels, data.flip) == (CLASSES, 1, True)
        label_of = dict(zip(map(bytes, pixels), labels, strict=True))
        assert label_of[bytes(data.train.pixels[0, ..., 0])] == data.train.labels[0]


def test_the_system_package_is_found_without_a_folder(tmp_path, monkeypatch):
    write(tmp_path, gz=True)
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path)
    assert len(Dataset(limit=20, validation=0.5).load(0).train) == 20 - 10


def test_the_published_test_images_are_kept_if_asked_for(tmp_path):
    write(tmp_path)
    with pytest.raises(UserError, match="the test files of Fashion-MNIST are not in"):
        Dataset(folder=tmp_path, test="published").load(0)
    pixels, labels = write(tmp_path, count=20, part="t10k", gz=True)
    data = Dataset(folder=tmp_path, test="published").load(0)
    assert len(data.train) + len(data.validation) == 40
    assert np.array_equal(data.test.pixels[..., 0], pixels)
    assert np.array_equal(data.test.labels, labels)
    assert data.notes[0].startswith("20 images are kept for a test")
    assert Dataset(folder=tmp_path).load(0).test is None


def test_names_both_ways_when_the_files_are_nowhere(tmp_path):
    with pytest.raises(UserError) as caught:
        Dataset(folder=tmp_path).load(0)
    text = str(caught.value)
    assert "dataset-fashion-mnist" in text
    assert "download: true" in text
    assert str(tmp_path) in text


def test_a_download_needs_a_folder():
    with pytest.raises(UserError, match="a download needs a folder"):
        Dataset(download=True)


def test_downloads_through_torchvision(tmp_path, monkeypatch):
    import torchvision

    def fetch(folder, download):
        assert download
        write(folder / "FashionMNIST" / "raw")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetch)
    assert len(Dataset(folder=tmp_path, download=True).load(0).train) == 30


def test_a_failed_download_is_explained(tmp_path, monkeypatch):
    import torchvision

    def fetch(folder, download):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetch)
    with pytest.raises(UserError, match=r"could not be downloaded: .*no network"):
        Dataset(folder=tmp_path, download=True).load(0)


def test_damaged_files_are_named(tmp_path):
    raw = idx(np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
    for name, content, text in (
        ("a", raw[:-1], "is cut short"),
        ("b", raw[:6], "is cut short"),
        ("c", b"\x00\x00\x0d" + raw[3:], "is not an IDX file of bytes"),
        ("d", b"", "is not an IDX file of bytes"),
        ("e.gz", gzip.compress(raw)[:-9], "cannot read"),
        ("f.gz", raw, "cannot read"),
    ):
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(UserError, match=text) as caught:
            read_idx(file)
        assert str(file) in str(caught.value)


def test_labels_of_other_images_are_an_error(tmp_path):
    write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(39, dtype=np.uint8)))
    with pytest.raises(UserError, match="are not images and their labels"):
        Dataset(folder=tmp_path).load(0)


def test_the_debian_package_itself():
    if not SYSTEM_FOLDER.is_dir():
        pytest.skip("the system package dataset-fashion-mnist is not installed")
    labels = read_idx(SYSTEM_FOLDER / "train-labels-idx1-ubyte.gz")
    # The paper: 60,000 training images, 6,000 a class; its README shows an ankle boot first.
    assert np.bincount(labels).tolist() == [6000] * 10
    assert CLASSES[labels[0]] == "Ankle boot"
