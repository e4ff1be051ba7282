"""The file of a pack: what goes in comes out, and what is wrong with one is said in a sentence."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.errors import UserError
from scalesearch.interfaces import FileAccount, LeftOut
from scalesearch.pack.file import PAGE, open_pack, shared_pack
from scalesearch.pack.images import data_of
from scalesearch.pack.write import write_pack
from scalesearch.view import RandomCrop, View
from tests.packs import SOURCE, squares


@pytest.fixture
def packed(tmp_path):
    """A pack of 9 + 4 squares of 8 pixels."""
    data = squares(9, 4)
    write_pack(data, tmp_path / "a.pack", 8, SOURCE)
    return data, tmp_path / "a.pack"


@settings(max_examples=40)
@given(
    counts=st.lists(st.integers(1, 12), min_size=2, max_size=3),
    side=st.integers(1, 9),
    channels=st.sampled_from([1, 3]),
    names=st.lists(st.text(max_size=4), min_size=3, max_size=3),
    seed=st.integers(0, 99),
)
def test_what_goes_in_comes_out(tmp_path_factory, counts, side, channels, names, seed):
    path = tmp_path_factory.mktemp("drawn") / "a.pack"
    data = squares(*counts, side=side, channels=channels, seed=seed, classes=tuple(names))
    again = data_of(write_pack(data, path, side, SOURCE))
    for name in ("classes", "channels", "mean", "std", "flip", "notes", "files"):
        assert getattr(again, name) == getattr(data, name)
    assert (again.test is None) == (data.test is None)
    for part in ("train", "validation", "test")[: len(counts)]:
        ours, theirs = getattr(again, part), getattr(data, part)
        order = np.random.default_rng(seed).permutation(len(theirs))
        assert len(ours) == len(theirs)
        assert ours.labels.tolist() == theirs.labels.tolist()
        assert torch.equal(ours.batch(order, View(side)), theirs.pixels[order])


def test_the_layout_is_as_documented(packed):
    data, path = packed
    content = path.read_bytes()
    numbers = struct.unpack("<16sIIQQQ16s", content[:64])
    assert numbers[:5] == (b"scalesearch pack", 1, 8 * 8 * 3, 13, 2 * PAGE)
    assert len(content) == numbers[4] + numbers[5]
    first = np.frombuffer(content, np.uint8, 8 * 8 * 3, PAGE).reshape(8, 8, 3)
    assert np.array_equal(first, data.train.pixels[0].permute(1, 2, 0).numpy())
    (start,) = struct.unpack("<Q", content[-8:])
    manifest = json.loads(content[numbers[4] + start : -8])
    assert manifest["parts"] == {"train": 9, "validation": 4}
    assert manifest["source"]["seed"] == 3
    labels = manifest["tables"]["labels"]
    assert labels["dtype"] == "<i8"
    read = np.frombuffer(content, "<i8", 13, numbers[4] + labels["place"])
    assert read.tolist() == [*data.train.labels, *data.validation.labels]


def test_views_are_those_of_the_images_themselves(packed):
    data, path = packed
    ours, indices = data_of(open_pack(path)).train, np.array([7, 0, 3])
    for view in (View(8), View(5), View(12), View(7, centre=0.875), View(6, RandomCrop(), seed=4)):
        assert torch.equal(ours.batch(indices, view), data.train.batch(indices, view))


def test_an_index_of_another_part_is_refused(packed):
    images = data_of(open_pack(packed[1])).train
    for wrong in (-1, 9):
        with pytest.raises(IndexError, match="over 0 to 8"):
            images.batch(np.array([0, wrong]), View(8))


def test_notes_and_the_account_of_files_are_kept(tmp_path):
    account = FileAccount({".jpg": 4}, (LeftOut("hidden", 2, (".a.jpg", ".b.jpg")),))
    data = squares(3, 1, notes=("one image is odd \udcff", "é"), files=account)
    again = data_of(write_pack(data, tmp_path / "a.pack", 4, SOURCE), ("first",))
    assert again.files == account
    assert again.notes == ("first", "one image is odd \udcff", "é")


def test_images_travel_as_a_path(packed):
    data, path = packed
    ours = data_of(open_pack(path))
    assert ours.train.labels[0] == data.train.labels[0]  # what is cached stays here
    travelled = pickle.dumps(ours)
    assert len(travelled) < 1000
    again = pickle.loads(travelled)
    assert torch.equal(again.train.batch(np.arange(9), View(8)), data.train.pixels)


def test_the_file_is_mapped_shared_and_read_only(packed):
    pack = open_pack(packed[1])
    lines = Path("/proc/self/maps").read_text().splitlines()
    (rights,) = {line.split()[1] for line in lines if line.endswith(str(packed[1]))}
    assert rights == "r--s"
    with pytest.raises(ValueError, match="read-only"):
        pack.pixels[0] = 0


def damage(path, place, content):
    with path.open("r+b") as file:
        file.seek(place, 0 if place >= 0 else 2)
        file.write(content)


DAMAGES = {
    "nothing there": (lambda path: path.unlink(), "there is no file {path}"),
    "empty": (lambda path: path.write_bytes(b""), "{path} is not a pack"),
    "text": (lambda path: path.write_text("no pack at all\n" * 999), "{path} is not a pack"),
    "without a header": (lambda path: damage(path, 0, bytes(64)), "{path} is not a pack"),
    "cut short": (
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        "{path} is damaged: it has {less:,} bytes, not {size:,}",
    ),
    "longer": (
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        "{path} is damaged: it has {more:,} bytes, not {size:,}",
    ),
    "of another version": (
        lambda path: damage(path, 16, struct.pack("<I", 2)),
        "{path} is a pack of version 2, and this scalesearch reads version 1",
    ),
    "of other images": (
        lambda path: damage(path, 20, struct.pack("<I", 6 * 6 * 3)),
        "{path} is damaged: its header has 13 images of 108 bytes, its manifest 13 of 8 x 8 x 3",
    ),
    "with a header of nonsense": (
        lambda path: damage(path, 20, bytes(4)),
        "{path} is damaged: its header contradicts itself",
    ),
    "with other tables": (
        lambda path: damage(path, 2 * PAGE, b"\x09"),
        "{path} is damaged: its tables and manifest do not have the digest in its header",
    ),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_one_message(packed, how):
    path, (act, said) = packed[1], DAMAGES[how]
    size = path.stat().st_size
    act(path)
    with pytest.raises(UserError) as raised:
        open_pack(path)
    assert raised.value.problem == said.format(path=path, size=size, less=size - 1, more=size + 1)
    assert raised.value.key == "path"
    assert raised.value.hint


def test_damaged_pixels_are_found_among_those_that_are_looked_at(packed):
    path = packed[1]
    open_pack(path).check_images()
    damage(path, PAGE + 5 * 192, b"other pixels")
    with pytest.raises(UserError, match="damaged: 1 of 13 images are not those that were written"):
        open_pack(path).check_images()


def test_another_pack_in_its_place_is_noticed_by_a_worker(packed, tmp_path):
    stamp = open_pack(packed[1]).stamp
    assert shared_pack(str(packed[1]), stamp).manifest.count == 13
    write_pack(squares(9, 4, seed=1), packed[1], 8, SOURCE)
    shared_pack.cache_clear()
    with pytest.raises(UserError, match="is another pack than the one that was loaded first"):
        shared_pack(str(packed[1]), stamp)
