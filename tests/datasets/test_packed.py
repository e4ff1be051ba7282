"""The data set that is a pack."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scalesearch.contracts import check_data
from scalesearch.datasets.packed import Dataset
from scalesearch.errors import UserError
from scalesearch.interfaces import BoxData
from scalesearch.pack.write import write_pack
from scalesearch.view import View
from tests.packs import SOURCE, boxes, objects, squares


def test_it_is_the_data_set_that_was_packed(tmp_path):
    data = squares(9, 4, 2, notes=("a note",))
    write_pack(data, tmp_path / "a.pack", 8, SOURCE)
    again = Dataset(path=tmp_path / "a.pack").load(7)  # the split is the packed one
    for part in ("train", "validation", "test"):
        ours, theirs = getattr(again, part), getattr(data, part)
        assert torch.equal(ours.batch(np.arange(len(theirs)), View(8)), theirs.pixels)
    assert again.notes[0].startswith("packed 20")
    assert 'from tests.packs:Drawn (path "here", seed 3)' in again.notes[0]
    assert again.notes[-1] == "a note"


def test_a_limit_keeps_each_class_in_its_proportion(tmp_path):
    data = squares(60, 30)
    data.train.labels[:] = np.repeat([0, 1], [45, 15])
    write_pack(data, tmp_path / "a.pack", 8, SOURCE)
    few = Dataset(path=tmp_path / "a.pack", limit=20).load(0)
    assert np.bincount(few.train.labels).tolist() == [15, 5]
    assert len(few.validation) == 20
    assert few.notes[0] == "50 of 90 packed images are beyond the limit"
    every = data.train.pixels.numpy()
    for pixels in few.train.batch(np.array([3, 19, 0]), View(8)).numpy():
        assert (every == pixels).all((1, 2, 3)).any()
    same = Dataset(path=tmp_path / "a.pack", limit=20).load(0).train
    other = Dataset(path=tmp_path / "a.pack", limit=20).load(1).train
    assert same.places.tolist() == few.train.places.tolist() != other.places.tolist()


def test_objects_and_their_limit(tmp_path):
    part = [((16, 12), objects([1, 2, 5, 8], label=n % 2)) for n in range(9)]
    write_pack(boxes(part, part), tmp_path / "a.pack", 8, SOURCE)
    data = Dataset(path=tmp_path / "a.pack", limit=4).load(0)
    assert isinstance(data, BoxData)
    assert (len(data.train), len(data.validation), len(data.train.ids)) == (4, 4, 4)
    for index, number in enumerate(data.train.ids):
        assert data.train.targets(index).labels.tolist() == [(number - 10) % 2]
        assert tuple(data.train.image(index).shape) == (3, *data.train.size(index))
    with pytest.raises(UserError, match="'packed' holds images for detection, and the task is cla"):
        check_data("packed", data, "classification")


def test_damaged_pixels_are_found_when_it_is_loaded(tmp_path):
    path = tmp_path / "a.pack"
    write_pack(squares(9, 4), path, 8, SOURCE)
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged: 1 of 13 images") as raised:
        Dataset(path=path).load(0)
    assert raised.value.key == "path"


def test_a_limit_that_leaves_too_little_is_refused(tmp_path):
    with pytest.raises(UserError) as raised:
        Dataset(path=tmp_path, limit=1)
    assert raised.value.key == "limit"
