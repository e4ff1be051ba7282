"""What `image_folder` reads of files is read the same of bytes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from scalesearch.datasets._checked_files import Source, check_files
from scalesearch.datasets._encoded import check_encoded, encoded_groups
from scalesearch.datasets._image_files import header_of
from scalesearch.datasets._listing import LeftOutFiles, Listing
from scalesearch.datasets._manifest import open_manifest
from scalesearch.datasets._pixels import Reading, read_encoded, read_view
from scalesearch.errors import UserError
from scalesearch.view import RandomCrop, View
from tests.pictures import noise, save


@dataclass(frozen=True)
class Files:
    """Files as a store."""

    paths: list

    def __len__(self):
        return len(self.paths)

    def name(self, index):
        return str(self.paths[index])

    def read(self, index):
        return Path(self.paths[index]).read_bytes()

    def open(self, index):
        path = Path(self.paths[index])
        return path.open("rb"), path.stat().st_size

    def place(self, index):
        return index


def checked(folder, paths):
    """What is found of files of a folder."""
    source = Source(Listing.of(list(map(str, paths))), open_manifest(folder))
    return check_files([source], LeftOutFiles(folder))


SUFFIXES = ["png", "jpg", "webp", "bmp", "gif", "tif", "jp2"]


@pytest.mark.parametrize("view", [View(16), View(24, RandomCrop(), seed=3), View(20, centre=0.875)])
def test_pixels_headers_and_groups_equal_those_of_files(tmp_path, view):
    paths = [str(save(tmp_path / f"{n}.{suffix}", n)) for n, suffix in enumerate(SUFFIXES)]
    large = tmp_path / "large.jpg"
    noise(9, (300, 420)).save(large)  # which is decoded at a part of its size
    paths += [str(large), str(save(tmp_path / "again.png", 0))]
    store, reading = Files(paths), Reading()
    headers = check_encoded(store).headers
    assert headers == [header_of(path) for path in paths]
    assert np.array_equal(encoded_groups(store, headers), checked(tmp_path, paths).groups)
    assert encoded_groups(store, headers).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0]
    for index, path in enumerate(paths):
        ours = read_encoded(store.read(index), path, index, view, reading)
        assert torch.equal(ours, read_view(path, index, view, reading)), path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_breaks_off_is_found_as_in_files(tmp_path, suffix):
    paths = [save(tmp_path / f"{n}.{suffix}", n) for n in range(3)]
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(UserError) as of_files:
        checked(tmp_path, paths)
    with pytest.raises(UserError) as of_bytes:
        check_encoded(Files(paths))
    assert of_bytes.value.problem == of_files.value.problem


def test_damaged_bytes_are_called_by_their_name():
    with pytest.raises(UserError, match=r"cannot decode a\.tar/0\.png: not an image"):
        read_encoded(b"no image", "a.tar/0.png", 0, View(8), Reading())
