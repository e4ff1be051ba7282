import hashlib
import pickle

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from scalesearch.datasets.cifar10 import Dataset
from scalesearch.errors import UserError

NAMES = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A made-up copy in torchvision's format: five batches of 20 images and a test batch."""
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    draws = np.random.default_rng(0)

    def write(name, content):
        raw = pickle.dumps(content)
        (base / name).write_bytes(raw)
        return [name, hashlib.md5(raw).hexdigest()]

    def batch(name, count=20):
        pixels = draws.integers(0, 256, (count, 3072), dtype=np.uint8)
        pixels[:, 0] = np.arange(count) % 10  # red of the first pixel tells the class
        return write(name, {"data": pixels, "labels": [n % 10 for n in range(count)]})

    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{n}") for n in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch")])
    _, digest = write("batches.meta", {"label_names": NAMES})
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": digest})
    return tmp_path


def test_reads_the_training_batches_as_images_with_their_labels(folder):
    data = Dataset(folder=folder).load(0)
    assert (len(data.train), len(data.validation)) == (80, 20)
    assert data.train.pixels.shape == (80, 32, 32, 3)
    assert np.array_equal(data.train.pixels[:, 0, 0, 0], data.train.labels)
    assert data.train.labels.dtype == np.int64
    assert (list(data.classes), data.channels, data.flip) == (NAMES, 3, True)


def test_the_published_test_images_are_kept_if_asked_for(folder):
    data = Dataset(folder=folder, test="published").load(0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [80, 20, 20]
    with (folder / "cifar-10-batches-py" / "test_batch").open("rb") as file:
        rows = pickle.load(file)["data"]
    assert np.array_equal(data.test.pixels.transpose(0, 3, 1, 2).reshape(20, -1), rows)
    assert data.notes[0].startswith("20 images are kept for a test")
    assert Dataset(folder=folder).load(0).test is None
    share = Dataset(folder=folder, test=0.1).load(0)
    assert [len(part) for part in (share.train, share.validation, share.test)] == [70, 20, 10]


def test_a_limit_takes_of_published_test_images_in_proportion(folder):
    data = Dataset(folder=folder, test="published", limit=60).load(0)
    # 100 and 20 images: 50 and 10 of 60, a fifth of the 50 validates.
    assert [len(part) for part in (data.train, data.validation, data.test)] == [40, 10, 10]
    assert np.bincount(data.test.labels).tolist() == [1] * 10


def test_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match="cannot read CIFAR-10 from") as caught:
        Dataset(folder=tmp_path / "empty").load(0)
    assert caught.value.key == "folder"
    assert "download: true" in str(caught.value)


def test_a_damaged_copy_is_not_read(folder):
    (folder / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"x")
    with pytest.raises(UserError, match="corrupted"):
        Dataset(folder=folder).load(0)
