"""Digits on canvases: the same files for the same options, true COCO, nothing hidden."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from scalesearch.datasets import mnist5k, mnist_canvas
from scalesearch.datasets._array_images import ArrayImages
from scalesearch.datasets.mnist_canvas import Dataset
from scalesearch.errors import UserError

OPTIONS = {"train": 40, "validation": 12, "side": 96, "digits": 4, "smallest": 16, "largest": 48}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("canvas")
    return path, Dataset(**OPTIONS, path=path).load(0)


def hashes(path):
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def test_there_are_as_many_canvases_as_asked_for(written):
    _, data = written
    assert (len(data.train), len(data.validation)) == (40, 12)
    assert data.classes == tuple("0123456789")
    assert data.category_ids == tuple(range(1, 11))
    assert (data.channels, data.flip) == (1, False)
    assert data.train.image(0).shape == (1, 96, 96)
    assert data.notes[1:] == ()
    counts = [len(data.train.targets(i).labels) for i in range(40)]
    assert min(counts) >= 1
    assert max(counts) <= 4
    assert len(set(counts)) > 2


def test_mean_and_deviation_are_those_of_the_pixels(written):
    _, data = written
    pixels = np.stack([data.train.image(i).numpy() for i in range(40)]) / 255
    assert data.mean == pytest.approx([pixels.mean()])
    assert data.std == pytest.approx([pixels.std()])


def test_every_box_holds_its_ink_and_no_two_overlap(written):
    _, data = written
    for part in (data.train, data.validation):
        for index in range(len(part)):
            ink, targets = part.image(index)[0].numpy(), part.targets(index)
            left = ink.copy()
            for x0, y0, x1, y1 in targets.boxes.astype(int):
                inside = ink[y0:y1, x0:x1] > 32
                # Tight: there is ink in the outermost rows and columns.
                assert inside[0].any()
                assert inside[-1].any()
                assert inside[:, 0].any()
                assert inside[:, -1].any()
                left[y0:y1, x0:x1] = 0
            assert not left.any(), "there is ink outside of all boxes"
            for a, b in combinations(targets.boxes, 2):
                over = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
                assert (over <= 0).any()


def test_a_box_is_where_its_digit_was_put(written):
    """The nearest of all digits to what is in a box is one of the box's label."""
    _, data = written
    digits = mnist5k.read()
    known = np.stack([grey(digit) for digit in digits.pixels[:, :, :, 0]])
    for index in range(3):
        targets, ink = data.train.targets(index), data.train.image(index)[0].numpy()
        for (x0, y0, x1, y1), label in zip(targets.boxes.astype(int), targets.labels, strict=True):
            distances = np.abs(known - grey(ink[y0:y1, x0:x1])).mean((1, 2))
            assert digits.labels[np.argmin(distances)] == label


def grey(image):
    """The ink of a digit as 20 x 20 grey levels."""
    rows, columns = (np.flatnonzero((image > 32).any(axis)) for axis in (1, 0))
    ink = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(Image.fromarray(ink).resize((20, 20))).astype(int)


def test_sizes_spread_over_the_whole_range(written):
    _, data = written
    heights = [h for i in range(40) for h in np.diff(data.train.targets(i).boxes[:, 1::2])[:, 0]]
    # A digit's ink is about 20 of its 28 pixels high.
    assert min(heights) < 14
    assert max(heights) > 30
    assert all(h <= 48 for h in heights)


def test_the_files_are_true_coco(written):
    path, data = written
    (folder,) = path.iterdir()
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "validation.json"))
    assert len(coco.imgs) == 12
    assert len(coco.anns) == sum(len(data.validation.targets(i).labels) for i in range(12))
    image = Image.open(folder / "validation" / coco.imgs[1]["file_name"])
    assert (image.size, image.mode) == ((96, 96), "L")
    assert [one["area"] for one in coco.loadAnns([1])] == [
        one["bbox"][2] * one["bbox"][3] for one in coco.loadAnns([1])
    ]


def test_the_same_options_give_the_same_files(written, tmp_path):
    path, data = written
    again = Dataset(**OPTIONS, path=tmp_path).load(7)
    assert hashes(tmp_path) == hashes(path)
    # The seed of a study changes nothing: its layout does.
    assert again.train.ids == data.train.ids
    other = Dataset(**OPTIONS, layout=1, path=tmp_path).load(0)
    assert len(list(tmp_path.iterdir())) == 2
    assert not np.array_equal(other.train.targets(0).boxes, data.train.targets(0).boxes)


def test_files_that_are_there_are_not_written_again(written, monkeypatch):
    path, data = written
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    monkeypatch.setattr(mnist5k, "read", lambda: pytest.fail("the digits were read again"))
    again = Dataset(**OPTIONS, path=path).load(0)
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before
    assert again.mean == data.mean


@pytest.mark.parametrize("test", [0, 60])
def test_parts_share_no_digit(monkeypatch, tmp_path, test):
    """Digits that each have their own grey level tell on the canvas where they are from."""
    pixels = np.zeros((200, 28, 28, 1), np.uint8)
    pixels[:, 4:24, 8:20, 0] = np.arange(50, 250, dtype=np.uint8)[:, None, None]
    known = ArrayImages(pixels, np.arange(200) % 10)
    monkeypatch.setattr(mnist_canvas.mnist5k, "read", lambda: known)
    data = Dataset(**{**OPTIONS, "train": 150, "validation": 60}, test=test, path=tmp_path).load(0)
    seen = []
    assert (data.test is None) == (test == 0)
    for part in (data.train, data.validation, *([data.test] if test else [])):
        assert len(part) in (150, 60)
        levels = set()
        for index in range(len(part)):
            ink, targets = part.image(index)[0].numpy(), part.targets(index)
            for (x0, y0, x1, y1), label in zip(
                targets.boxes.astype(int), targets.labels, strict=True
            ):
                level = int(ink[y0:y1, x0:x1].max())
                assert (level - 50) % 10 == label
                levels.add(level)
        seen.append(levels)
    assert sum(map(len, seen)) == len(set().union(*seen))
    assert len(seen[0]) > 100


def test_processes_that_write_at_once_read_the_same(tmp_path):
    code = (
        "import sys, json; from pathlib import Path;"
        "from scalesearch.datasets.mnist_canvas import Dataset;"
        "data = Dataset(**json.loads(sys.argv[1]), path=Path(sys.argv[2])).load(0);"
        "print(sum(float(data.train.targets(i).boxes.sum()) for i in range(len(data.train))))"
    )
    command = [sys.executable, "-c", code, json.dumps({**OPTIONS, "train": 15}), str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = [process.communicate()[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert len(set(sums)) == 1
    assert [entry.name.startswith(".") for entry in tmp_path.iterdir()] == [False]


FEW = {**OPTIONS, "train": 4, "validation": 4}


def test_what_was_left_incomplete_is_written_again(monkeypatch, tmp_path):
    """By a process that was killed, a full disk, or somebody who removed files."""

    def full(*args):
        raise OSError(28, "No space left on device")

    Dataset(**FEW, path=tmp_path / "whole").load(0)
    path = tmp_path / "other"
    with monkeypatch.context() as change:
        change.setattr(mnist_canvas.Image.Image, "save", full)
        with pytest.raises(UserError, match=r"cannot write to .*: \[Errno 28\] No space left"):
            Dataset(**FEW, path=path).load(0)
    for removed in ((), ("validation.json", "train/000001.png")):
        (folder,) = path.iterdir()
        for name in removed:
            (folder / name).unlink()
        Dataset(**FEW, path=path).load(0)
        assert hashes(path) == hashes(tmp_path / "whole")


def test_a_folder_that_cannot_be_written_to(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UserError) as raised:
        Dataset(**FEW, path=file / "below").load(0)
    problem = f"path: cannot write to {file / 'below'}: [Errno 20] Not a directory: "
    assert str(raised.value).startswith(problem)
    assert raised.value.hint == "give a folder that can be written to, or set SCALESEARCH_CACHE"


def test_lies_in_the_users_cache_by_default(monkeypatch, tmp_path):
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SCALESEARCH_CACHE", str(tmp_path / "own"))
    Dataset(**FEW).load(0)
    assert len([*(tmp_path / "own" / "mnist_canvas").iterdir()]) == 1
    monkeypatch.delenv("SCALESEARCH_CACHE")
    # What XDG_CACHE_HOME holds, and the folder that is used: one that is not absolute is ignored.
    for given, cache in (
        (str(tmp_path / "cache"), tmp_path / "cache"),
        ("", tmp_path / ".cache"),
        ("relative/folder", tmp_path / ".cache"),
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        Dataset(**FEW).load(0)
        (folder,) = (cache / "scalesearch" / "mnist_canvas").iterdir()
        assert sorted(file.name for file in folder.iterdir()) == [
            *("lock", "train", "train.json", "validation", "validation.json")
        ]
        shutil.rmtree(folder)


def test_options_that_cannot_be_drawn():
    for options, text in (
        ({"train": 0}, "train: 0 cannot be used\n  allowed: a whole number >= 1"),
        ({"digits": 2.5}, "digits: 2.5 cannot be used\n  allowed: a whole number >= 1"),
        ({"smallest": 7}, "smallest: 7 cannot be used\n  allowed: a whole number >= 8"),
        ({"layout": -1}, "layout: -1 cannot be used\n  allowed: a whole number >= 0"),
        (
            {"largest": 129},
            "largest: 129 cannot be used\n  allowed: from smallest (20) to side (128)",
        ),
        (
            {"smallest": 65},
            "largest: 64 cannot be used\n  allowed: from smallest (65) to side (128)",
        ),
    ):
        with pytest.raises(UserError) as raised:
            Dataset(**options)
        assert str(raised.value) == text
