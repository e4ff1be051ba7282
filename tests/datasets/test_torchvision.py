"""Against torchvision's own items; data sets are made up in the layouts that it reads."""

import gzip
import hashlib
import pickle
import struct

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image
from torchvision.datasets import CIFAR100

from scalesearch.datasets.torchvision import _SOURCES, Dataset
from scalesearch.errors import UserError
from scalesearch.view import View
from tests.pictures import save


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """CIFAR-100 of 3 classes with 20 training and 9 test images."""
    base = tmp_path / "cifar-100-python"
    base.mkdir()
    draws = np.random.default_rng(0)

    def write(name, content):
        raw = pickle.dumps(content)
        (base / name).write_bytes(raw)
        return hashlib.md5(raw).hexdigest()

    def part(name, count):
        pixels = draws.integers(0, 256, (count, 3072), dtype=np.uint8)
        return [name, write(name, {"data": pixels, "fine_labels": [n % 3 for n in range(count)]})]

    names = ["apple", "bee", "cup"]
    monkeypatch.setattr(CIFAR100, "train_list", [part("train", 20)])
    monkeypatch.setattr(CIFAR100, "test_list", [part("test", 9)])
    digest = write("meta", {"fine_label_names": names})
    monkeypatch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": digest})
    return tmp_path


def items_of(images):
    """Each image as bytes, with its label."""
    pixels = images.pixels if images.pixels.shape[-1] > 1 else images.pixels[..., 0]
    return sorted((p.tobytes(), n) for p, n in zip(pixels, images.labels.tolist(), strict=True))


def published(data_set):
    return sorted((np.asarray(image).tobytes(), label) for image, label in data_set)


def test_images_in_memory_are_torchvisions_items(cifar):
    data = Dataset(dataset="CIFAR100", root=cifar, validation="published").load(0)
    assert items_of(data.train) == published(CIFAR100(cifar, train=True))
    assert items_of(data.validation) == published(CIFAR100(cifar, train=False))
    assert (data.classes, data.channels, data.flip) == (("apple", "bee", "cup"), 3, True)
    shared = Dataset(dataset="CIFAR100", root=cifar, validation=0.3, flip=False).load(0)
    assert (len(shared.train), len(shared.validation), shared.flip) == (14, 6, False)
    assert set(items_of(shared.validation)) <= set(published(CIFAR100(cifar, train=True)))
    kept = Dataset(dataset="CIFAR100", root=cifar, validation=0.3, test="published").load(0)
    assert items_of(kept.test) == published(CIFAR100(cifar, train=False))
    assert items_of(kept.validation) == items_of(shared.validation)
    assert any("9 images are kept for a test" in note for note in kept.notes)
    with pytest.raises(UserError, match="no published validation images beside the test images"):
        Dataset(dataset="CIFAR100", root=cifar, validation="published", test=0.1).load(0)
    few = Dataset(dataset="CIFAR100", root=cifar, validation="published", limit=12).load(0)
    assert (len(few.train), len(few.validation)) == (9, 3)


def test_grey_images_in_memory(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    draws = np.random.default_rng(0)
    for name, count in (("train", 20), ("t10k", 6)):
        pixels = draws.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 2).astype(np.uint8)
        images = struct.pack(">IIII", 2051, *pixels.shape) + pixels.tobytes()
        (raw / f"{name}-images-idx3-ubyte").write_bytes(images)
        (raw / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        content = struct.pack(">II", 2049, count) + labels.tobytes()
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(content)
    data = Dataset(dataset="MNIST", root=tmp_path, validation="published").load(0)
    assert items_of(data.validation) == published(torchvision.datasets.MNIST(tmp_path, train=False))
    assert (data.classes, data.channels, data.flip) == (("0 - zero", "1 - one"), 1, False)
    assert data.notes[0].startswith("8 classes have no image and are left out")
    with pytest.raises(UserError, match="the images of MNIST have 1 channels"):
        Dataset(dataset="MNIST", root=tmp_path, channels=3).load(0)


def test_training_images_in_memory_that_test_or_validate_are_left_out(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
    labels = (np.arange(60) % 10).astype(np.uint8)
    for name, count in (("train", 60), ("t10k", 20)):
        head = struct.pack(">IIII", 2051, count, 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + pixels[:count].tobytes())
        head = struct.pack(">II", 2049, count)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(head + labels[:count].tobytes())
    for part, options in (
        ("test", {"test": "published", "validation": 0.25}),
        ("validation", {"validation": "published"}),
    ):
        data = Dataset(dataset="MNIST", root=tmp_path, **options).load(0)
        kept = {p for p, _ in items_of(getattr(data, part))}
        assert len(kept) == 20
        assert not kept & {p for p, _ in items_of(data.train)}
        does = "test" if part == "test" else "validate"
        assert data.notes[0] == f"left out are 20 of the training images that {does}, too"
        assert any("20 images are copies of others" in note for note in data.notes)


def test_selection_on_test_images_is_said(cifar):
    note = (
        "networks are selected on the published test images: `test: published` keeps them for the "
        "end, and a share of the training images validates (`validation: 0.1`)"
    )
    for options, said in (
        ({"validation": "published"}, True),
        ({"test": "published"}, False),
        ({}, False),
    ):
        assert (note in Dataset(dataset="CIFAR100", root=cifar, **options).load(0).notes) is said


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"fit": "pad"}, "fit: the images of CIFAR10 are square and of 8 bits"),
        ({"levels": (0, 10)}, "levels: the images of CIFAR10 are square and of 8 bits"),
        (
            {"dataset": "STL10", "options": {"split": "unlabeled"}},
            "options.split: the published parts of STL10 are chosen by `validation` and `test`",
        ),
    ],
)
def test_options_that_would_change_nothing(tmp_path, options, told):
    with pytest.raises(UserError) as caught:
        Dataset(**{"dataset": "CIFAR10", "root": tmp_path} | options)
    assert str(caught.value).startswith(told)


def test_options_that_change_something_are_taken(tmp_path):
    Dataset(dataset="EMNIST", root=tmp_path, options={"split": "letters"})
    Dataset(dataset="Food101", root=tmp_path, fit="pad", levels=(0, 4095))


def photographs(root, name):
    """A data set of files in the layout of torchvision's class."""
    if name == "EuroSAT":
        for n in range(12):
            save(root / "eurosat" / "2750" / ["Forest", "River"][n % 2] / f"{n}.png", n)
        return
    for split, seeds in (("train", range(12)), ("val", range(20, 24))):
        for n in seeds:
            wnid = ["n01440764", "n02102040"][n % 2]
            save(root / "imagenette2" / split / wnid / f"{n}.JPEG", n)


def test_so_many_unreadable_files_are_left_out(tmp_path):
    photographs(tmp_path, "Imagenette")
    broken = next((tmp_path / "imagenette2" / "train").rglob("3.JPEG"))
    broken.write_bytes(b"")
    options = {"dataset": "Imagenette", "root": tmp_path, "validation": "published"}
    data = Dataset(**options, skip_unreadable=1).load(0)
    assert (len(data.train), len(data.validation)) == (11, 4)
    for path, label in zip(data.train.paths, data.train.labels, strict=True):
        assert int(path.rpartition("/")[2].removesuffix(".JPEG")) % 2 == label
    assert f"1 unreadable files are left out: {broken} (empty)" in data.notes
    with pytest.raises(UserError, match=r"1 of 16 files cannot be read as images"):
        Dataset(**options).load(0)
    with pytest.raises(UserError, match=r"skip_unreadable: the images of MNIST are no files"):
        Dataset(dataset="MNIST", root=tmp_path, skip_unreadable=1)


@pytest.mark.parametrize("name", ["EuroSAT", "Imagenette"])
def test_files_are_torchvisions_items(tmp_path, name):
    photographs(tmp_path, name)
    whole = Dataset(dataset=name, root=tmp_path, validation=0.34).load(0)
    part = getattr(torchvision.datasets, name)(tmp_path)
    wanted = sorted((np.asarray(image).tobytes(), label) for image, label in part)
    every = [
        (path, label)
        for images in (whole.train, whole.validation)
        for path, label in zip(images.paths, images.labels.tolist(), strict=True)
    ]
    assert (
        sorted((np.asarray(Image.open(path)).tobytes(), label) for path, label in every) == wanted
    )
    assert whole.train.batch(np.array([0]), View(8)).shape == (1, 3, 8, 8)
    assert whole.files.seen == 12
    if name == "Imagenette":
        assert whole.classes == ("tench, Tinca tinca", "English springer, English springer spaniel")
        own = Dataset(dataset=name, root=tmp_path, validation="published").load(0)
        assert (len(own.train), len(own.validation)) == (12, 4)
        assert not any("selected on the published" in note for note in own.notes)
        both = Dataset(dataset=name, root=tmp_path, validation="published", test=0.3).load(0)
        assert (len(both.train), len(both.validation), len(both.test)) == (8, 4, 4)
    else:
        with pytest.raises(UserError, match="torchvision has no validation images of EuroSAT"):
            Dataset(dataset=name, root=tmp_path, validation="published").load(0)


def test_every_data_set_of_the_list_is_torchvisions_and_takes_our_arguments(tmp_path):
    """None is there: each says so in one message, and not that an argument is unknown."""
    wrong = []
    for name in _SOURCES:
        options = {"split": "letters"} if name == "EMNIST" else {}
        for validation in (0.2, "published"):
            with pytest.raises(UserError) as caught:
                Dataset(dataset=name, root=tmp_path, options=options, validation=validation).load(0)
            if "unexpected" in str(caught.value) or "Unknown value" in str(caught.value):
                wrong.append((name, str(caught.value)))
    assert wrong == []


MISTAKES = [
    ({"dataset": "CIFAR1000"}, "is none of torchvision's .*\n.*\n.*did you mean 'CIFAR100'"),
    ({"dataset": "os"}, "'os' is none of torchvision's"),
    ({"dataset": "VOCDetection"}, "is none of torchvision's"),
    ({"options": {"transform": "x"}}, "transform: 'x' cannot be used"),
    ({"options": {"split": ["a"]}}, r"split: \['a'\] cannot be used"),
    ({"options": {"splot": "a"}}, "cannot read CIFAR100 .* 'splot'"),
    ({"validation": 1.5}, "1.5 cannot be used"),
    ({}, "cannot read CIFAR100 from .*\n.*download: true"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_mistakes(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        Dataset(**{"dataset": "CIFAR100", "root": tmp_path, **options}).load(0)
