"""Packs that studies share: packed once, again where anything is different, by one process."""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from scalesearch.datasets import hugging_face, webdataset
from scalesearch.datasets.image_folder import Dataset
from scalesearch.datasets.mnist5k import Dataset as Mnist5k
from scalesearch.errors import UserError
from scalesearch.files.large import one_at_a_time
from scalesearch.pack.cache import Cache, lies_in_memory
from scalesearch.pack.images import PackedBoxes, PackedImages, data_of
from scalesearch.pack.listing import listing
from scalesearch.pack.write import write_pack
from scalesearch.view import View
from tests.packs import SOURCE, boxes, objects, squares
from tests.pictures import classes, noise


@pytest.fixture
def cache(tmp_path):
    return Cache(folder=tmp_path / "cache", side=8)


@pytest.fixture
def packed(cache):
    """Packs a data set, and gives it with what was noted."""

    def packed(data, source=SOURCE, cache=cache):
        notes = []
        return cache.packed(data, source, notes.append, lambda done, total: None), notes

    return packed


def test_the_second_time_nothing_is_packed(packed, cache):
    data = squares(9, 4, notes=("a note",))
    once, notes = packed(data)
    (file,) = cache.folder.glob("*.pack")
    assert notes[0].startswith(f"cache: packing 13 images at 8 pixels into {file}, about 3.2 KiB")
    assert notes[1].startswith(f"cache: 13 images are read at 8 pixels from {file}, ")
    assert ", packed in " in notes[1]
    written = file.stat().st_mtime_ns
    again, notes = packed(data)
    assert file.stat().st_mtime_ns == written
    assert len(notes) == 1
    assert ", packed 20" in notes[0]
    for one in (once, again):
        assert isinstance(one.train, PackedImages)
        assert torch.equal(one.train.batch(np.arange(9), View(8)), data.train.pixels)
        assert one.notes[0] == "a note"
        assert "read from a pack at 8 pixels" in one.notes[1]
        assert one.test is None


def test_whatever_is_different_has_a_pack_of_its_own(cache):
    data = squares(9, 4)
    relabelled = squares(9, 4)
    relabelled.validation.labels = (relabelled.validation.labels + 1) % 3
    files = [
        cache.file(data, SOURCE),
        cache.file(squares(9, 4, seed=1), SOURCE),
        cache.file(relabelled, SOURCE),
        cache.file(squares(9, 4, 2), SOURCE),
        cache.file(squares(9, 4, classes=("a", "b", "d")), SOURCE),
        cache.file(data, replace(SOURCE, seed=4)),
        cache.file(data, replace(SOURCE, options={"path": "there"})),
        cache.file(data, replace(SOURCE, scalesearch="9.9")),
        replace(cache, side=9).file(data, SOURCE),
    ]
    assert len(set(files)) == len(files)
    assert cache.file(squares(9, 4), SOURCE) == files[0]


def test_a_changed_file_is_noticed(tmp_path, cache):
    root = classes(tmp_path / "images")
    shutil.copytree(root, tmp_path / "copy")
    data = Dataset(path=root).load(0)
    before = cache.file(data, SOURCE), listing(data)
    assert cache.file(Dataset(path=root).load(0), SOURCE) == before[0]
    assert listing(Dataset(path=tmp_path / "copy").load(0)) == before[1]
    file = Path(data.train.paths[0])
    os.utime(file, ns=(1, 1))
    assert cache.file(data, SOURCE) != before[0]
    assert listing(data) == before[1]  # names and sizes are what they were
    noise(99, (30, 30)).save(file)
    assert listing(data) != before[1]
    file.unlink()
    with pytest.raises(UserError, match="cannot be read: No such file"):
        listing(data)


def encoded(seed):
    file = io.BytesIO()
    noise(seed, (8, 8)).save(file, "BMP")  # of one size, whatever it shows
    return file.getvalue()


def write_shard(path, seeds):
    with tarfile.open(path, "w") as tar:
        for number, seed in enumerate(seeds):
            for name, content in (("bmp", encoded(seed)), ("cls", str(number % 2).encode())):
                info = tarfile.TarInfo(f"{number:03}.{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return webdataset.Dataset(path=path)


def write_parquet(path, seeds):
    images = pa.array([encoded(seed) for seed in seeds], pa.binary())
    labels = [number % 2 for number in range(len(seeds))]
    pq.write_table(pa.table({"image": images, "label": labels}), path, compression="none")
    return hugging_face.Dataset(path=path, unpacked=path.parent / "unpacked")


@pytest.mark.parametrize(
    ("write", "name"), [(write_shard, "a.tar"), (write_parquet, "a.parquet")], ids=["tar", "arrow"]
)
def test_a_changed_image_in_an_archive_is_noticed(tmp_path, cache, write, name):
    path, seeds = tmp_path / name, list(range(100))
    data = write(path, seeds).load(0)
    before = cache.file(data, SOURCE), listing(data)
    assert data.train.containers == (str(path),)
    assert before[1]
    assert cache.file(write(path, seeds).load(0), SOURCE) != before[0]  # by its time
    seeds[50] = 100  # hardly one of the few that are looked at where there are no files
    data = write(path, seeds).load(0)
    assert cache.file(data, SOURCE) != before[0]
    assert listing(data) == before[1]  # names and sizes are what they were


def test_files_of_what_lies_in_memory_may_be_gone(tmp_path):
    data = boxes([((16, 12), objects([1, 2, 5, 8]))], [((8, 8), objects([0, 0, 2, 2]))])
    for part in (data.train, data.validation):
        part.paths = [tmp_path / "gone.png"]
    (tmp_path / "gone.png").write_bytes(b"x")
    pack = write_pack(data, tmp_path / "a.pack", 8, SOURCE)
    assert pack.manifest.source.listing
    (tmp_path / "gone.png").unlink()
    packed = data_of(pack)
    assert packed.train.paths == (str(tmp_path / "gone.png"),)
    assert listing(packed) == ""
    write_pack(packed, tmp_path / "b.pack", 4, SOURCE)


def test_objects_are_part_of_what_is_packed(packed, cache):
    def data(*corners):
        return boxes([((16, 12), objects(corners))], [((8, 8), objects([0, 0, 2, 2]))])

    one, _ = packed(data(1, 2, 5, 8))
    assert isinstance(one.validation, PackedBoxes)
    assert "boxes, areas (by which objects are small, medium or large)" in one.notes[1]
    packed(data(1, 2, 5, 9))
    assert len([*cache.folder.glob("*.pack")]) == 2


def test_a_damaged_pack_is_packed_again(packed, cache):
    data = squares(9, 4)
    packed(data)
    (file,) = cache.folder.glob("*.pack")
    file.write_bytes(file.read_bytes()[:-5])
    again, notes = packed(data)
    assert notes[0].endswith("; it is packed again")
    assert "is damaged" in notes[0]
    assert torch.equal(again.train.batch(np.arange(9), View(8)), data.train.pixels)


def test_what_lies_in_memory_is_not_packed(packed, cache):
    data = Mnist5k(limit=100).load(0)
    assert lies_in_memory(data)
    same, notes = packed(data, replace(SOURCE, dataset="mnist5k"))
    assert same is data
    assert notes == ["cache: not used: the images of mnist5k lie in memory already"]
    assert not cache.folder.exists()
    _, notes = packed(packed(squares(2, 2))[0])
    assert notes == ["cache: not used: the images of tests.packs:Drawn lie in memory already"]


BOTH = """
import sys
from pathlib import Path
from scalesearch.pack.cache import Cache
from tests.packs import SOURCE, squares

cache = Cache(folder=Path(sys.argv[1]), side=8)
data = squares(9, 4)
print("ready", flush=True)
sys.stdin.readline()
cache.packed(data, SOURCE, print, lambda done, total: None)
"""


@pytest.mark.slow
def test_of_two_processes_one_packs_and_the_other_waits(tmp_path):
    command = [sys.executable, "-c", BOTH, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    root = Path(__file__).parents[2]
    both = [subprocess.Popen(command, cwd=root, **pipes) for _ in range(2)]
    for one in both:
        assert one.stdout.readline() == "ready\n"
    for one in both:
        one.stdin.write("go\n")
        one.stdin.flush()
    said = [one.communicate(timeout=60)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sum("cache: packing 13 images" in text for text in said) == 1
    assert all("cache: 13 images are read at 8 pixels from" in text for text in said)
    assert len([*tmp_path.glob("*.pack")]) == 1
    assert [*tmp_path.glob(".*.part")] == []


def test_a_process_that_waits_says_so(packed, cache):
    data, file, said = squares(9, 4), cache.file(squares(9, 4), SOURCE), []

    def pack():
        cache.packed(data, SOURCE, said.append, lambda done, total: None)

    waiting = threading.Thread(target=pack)
    with one_at_a_time(file.with_suffix(".lock")):
        waiting.start()
        deadline = time.monotonic() + 30
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
    waiting.join()
    assert said[0] == f"cache: waiting for the process that packs {file}"
    assert said[1].startswith("cache: packing 13 images")


def test_what_killed_processes_left_is_removed_whatever_they_packed(packed, cache):
    cache.folder.mkdir()
    left = [cache.folder / name for name in (".a-8-0.pack.1.part", ".b-8-0.pack.2.part")]
    kept = [cache.folder / name for name in (".run.yaml.1.part", "c.pack.3.part")]
    for file in (*left, *kept):
        file.write_bytes(b"begun")
    with left[1].open("rb") as written:
        fcntl.flock(written.fileno(), fcntl.LOCK_EX)
        packed(squares(9, 4))
    assert [file.exists() for file in (*left, *kept)] == [False, True, True, True]


def test_what_a_data_set_of_ones_own_raises_names_it(packed, monkeypatch):
    data = squares(9, 4)

    def fail(indices, view):
        raise KeyError("lost")

    monkeypatch.setattr(data.train, "batch", fail)
    with pytest.raises(UserError, match=r"'tests.packs:Drawn' failed in `batch`: KeyError: 'lost'"):
        packed(data)


def test_a_cache_folder_that_cannot_be_made_is_one_message(packed, cache, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written: ") as raised:
        packed(squares(2, 2), cache=replace(cache, folder=tmp_path / "file" / "packs"))
    assert str(tmp_path / "file") in raised.value.file
