"""What is packed is what Pillow and torchvision make of the images, and a pack is whole or not."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional

from scalesearch.datasets.image_folder import Dataset
from scalesearch.errors import TrialError, UserError
from scalesearch.interfaces import Targets
from scalesearch.pack.file import open_pack
from scalesearch.pack.images import data_of
from scalesearch.pack.write import needed_bytes, packed_size, scaled_targets, write_pack
from scalesearch.training.average_precision import average_precision
from scalesearch.view import View
from tests.packs import SOURCE, boxes, objects, squares
from tests.pictures import classes, noise


def test_images_of_the_packs_size_are_pillows(tmp_path):
    for label in "ab":
        for number in range(4):
            file = tmp_path / "images" / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            noise(number + 10 * (label == "b"), (16, 16)).save(file)
    data = Dataset(path=tmp_path / "images", validation=0.25).load(0)
    packed = data_of(write_pack(data, tmp_path / "a.pack", 16, SOURCE))
    for part in ("train", "validation"):
        paths = getattr(data, part).paths
        seen = getattr(packed, part).batch(np.arange(len(paths)), View(16))
        theirs = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
        assert np.array_equal(seen.permute(0, 2, 3, 1).numpy(), np.stack(theirs))
    assert packed.files == data.files


def test_other_images_are_cut_and_resized_as_torchvision_does(tmp_path):
    data = Dataset(path=classes(tmp_path / "images")).load(0)  # 20 x 24 pixels
    packed = data_of(write_pack(data, tmp_path / "a.pack", 12, SOURCE)).train
    seen = packed.batch(np.arange(len(packed)), View(12))
    for ours, path in zip(seen, data.train.paths, strict=True):
        whole = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
        resized = functional.resize(whole, [12], antialias=True)
        theirs = functional.center_crop(resized, [12])
        assert int((ours.int() - theirs.int()).abs().max()) <= 1


def test_the_longer_side_is_the_packs_and_nothing_is_enlarged():
    assert packed_size((480, 640), 320) == (240, 320)
    assert packed_size((640, 427), 512) == (512, 342)  # 427 * 512 / 640 = 341.6
    assert packed_size((3, 2000), 100) == (1, 100)
    assert packed_size((30, 40), 40) == (30, 40)
    assert packed_size((10, 12), 512) == (10, 12)


def test_boxes_and_areas_are_scaled_with_their_image():
    before = Targets(
        boxes=np.array([[8, 4, 40, 24]], np.float32),
        labels=np.array([1]),
        crowd=np.array([True]),
        areas=np.array([300.0]),  # of an outline, less than the box's 640
    )
    after = scaled_targets(before, (40, 80), (10, 40))  # a quarter down, a half across
    assert after.boxes.tolist() == [[4, 1, 20, 6]]
    assert after.areas.tolist() == [37.5]
    assert (after.labels.tolist(), after.crowd.tolist()) == ([1], [True])


def detection():
    """One image in the pack's size, one larger, one smaller and without an object."""
    return boxes(
        [((16, 12), objects([1, 2, 5, 8], label=1)), ((40, 64), objects([8, 4, 40, 24]))],
        [((9, 7), objects()), ((32, 32), objects([0, 0, 32, 32], [4, 4, 8, 8], crowd=True))],
        notes=("a note",),
    )


def test_images_with_objects_keep_their_shape(tmp_path):
    data = detection()
    packed = data_of(write_pack(data, tmp_path / "a.pack", 16, SOURCE))
    assert (packed.classes, packed.category_ids) == (("cat", "dog"), (17, 18))
    sizes = {"train": [(16, 12), (10, 16)], "validation": [(9, 7), (16, 16)]}
    for part, expected in sizes.items():
        ours, theirs = getattr(packed, part), getattr(data, part)
        assert tuple(ours.ids) == theirs.ids
        for index, size in enumerate(expected):
            assert ours.size(index) == size
            assert ours.original_size(index) == theirs.size(index)
            resized = functional.resize(theirs.image(index), list(size), antialias=True)
            assert torch.equal(ours.image(index), resized)
    assert packed.train.targets(0).boxes.tolist() == [[1, 2, 5, 8]]
    assert packed.train.targets(1).boxes.tolist() == [[2, 1, 10, 6]]
    assert packed.train.targets(1).areas.tolist() == [32 * 20 / 16]
    assert packed.validation.targets(0).boxes.shape == (0, 4)
    assert packed.validation.targets(1).crowd.tolist() == [True, True]
    assert packed.validation.targets(1).boxes.tolist() == [[0, 0, 16, 16], [2, 2, 4, 4]]


@settings(max_examples=20)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=2, max_size=6),
    side=st.integers(4, 45),
    data=st.data(),
)
def test_boxes_stay_where_they_are_in_their_image(tmp_path_factory, sizes, side, data):
    path = tmp_path_factory.mktemp("drawn") / "a.pack"
    share = st.floats(0, 1, width=32)
    every = [
        (size, objects(*([x * size[1], y * size[0], size[1], size[0]] for x, y in corners)))
        for size in sizes
        for corners in [data.draw(st.lists(st.tuples(share, share), max_size=3))]
    ]
    drawn = boxes(every[:1], every[1:])
    packed = data_of(write_pack(drawn, path, side, SOURCE))
    for ours, theirs in ((packed.train, drawn.train), (packed.validation, drawn.validation)):
        for index in range(len(theirs)):
            before, after = np.array(theirs.size(index)), np.array(ours.size(index))
            assert (after <= before).all()
            assert after.max() == min(side, before.max())
            assert ours.image(index).shape == (3, *after)
            one, other = (
                images.targets(index).boxes / np.tile(size[::-1], 2)
                for images, size in ((ours, after), (theirs, before))
            )
            assert np.allclose(one, other, atol=1e-6)
            if (after == before).all():
                assert torch.equal(ours.image(index), theirs.image(index))


def test_scores_against_a_pack_are_those_against_the_resized_images(tmp_path):
    from scalesearch.nn.postprocess import Detections

    data = boxes([((16, 12), objects([1, 2, 5, 8]))], [((64, 64), objects([8, 8, 40, 24]))])
    packed = data_of(write_pack(data, tmp_path / "a.pack", 32, SOURCE))
    # A detection that has 3/4 of the object: its intersection over union is .75, above .5 to .75.
    found = torch.tensor([[4.0, 4.0, 16.0, 12.0]])
    detections = {0: Detections(found, torch.tensor([0.9]), torch.tensor([0]))}
    scores = average_precision(packed.validation, detections, packed.classes)
    assert scores["ap"] == pytest.approx(0.6)
    assert scores["ap50"] == scores["ap75"] == pytest.approx(1.0)


def test_holes_need_no_space(tmp_path):
    side = 512
    data = boxes([((9, 7), objects())] * 8, [((9, 7), objects())] * 2)
    write_pack(data, tmp_path / "a.pack", side, SOURCE)
    status = (tmp_path / "a.pack").stat()
    assert status.st_size > 10 * side * side * 3
    assert status.st_blocks * 512 < 10 * 8192 + 16384
    assert needed_bytes(data, side) < 10 * 8192


def test_the_size_that_is_needed_is_about_that_of_the_file(tmp_path):
    data = squares(200, 50, side=16)
    write_pack(data, tmp_path / "a.pack", 16, SOURCE)
    assert (tmp_path / "a.pack").stat().st_size == pytest.approx(needed_bytes(data, 16), rel=0.1)


def test_progress_counts_every_image(tmp_path):
    seen = []
    write_pack(squares(5, 3), tmp_path / "a.pack", 8, SOURCE, lambda *both: seen.append(both))
    assert seen == [(5, 8), (8, 8)]


def test_images_of_another_shape_than_said_are_refused(tmp_path):
    data = squares(4, 2)
    data.train.pixels = data.train.pixels[:, :1]
    with pytest.raises(UserError, match=r"gives images of torch.uint8 \[4, 1, 8, 8\]") as raised:
        write_pack(data, tmp_path / "a.pack", 8, SOURCE)
    assert raised.value.allowed == "uint8 [4, 3, 8, 8]"
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_cannot_be_read_leaves_nothing(tmp_path, monkeypatch):
    data = squares(4, 2)

    def fail(indices, view):
        raise TrialError("cannot decode a.png: no such file")

    monkeypatch.setattr(data.validation, "batch", fail)
    with pytest.raises(UserError, match=r"cannot decode a\.png: no such file"):
        write_pack(data, tmp_path / "a.pack", 8, SOURCE)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_message(tmp_path, monkeypatch):
    before = write_pack(squares(4, 2), tmp_path / "a.pack", 8, SOURCE).stamp
    usage = type("Usage", (), {"free": 1000})
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda folder: usage)
        with pytest.raises(UserError, match=r"1\.5 KiB are needed and 1000 B are free"):
            write_pack(squares(4, 2), tmp_path / "a.pack", 8, SOURCE)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(UserError, match="the disk is full, or a quota is used up") as raised:
        write_pack(squares(4, 2), tmp_path / "a.pack", 8, SOURCE)
    assert raised.value.file == str(tmp_path / "a.pack")
    assert "free some space" in raised.value.hint
    assert open_pack(tmp_path / "a.pack").stamp == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.pack"]


def test_a_place_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written: "):
        write_pack(squares(4, 2), tmp_path / "file" / "a.pack", 8, SOURCE)


SLOW = """
import sys, time
from pathlib import Path
from scalesearch.pack.write import write_pack
from tests.packs import SOURCE, squares

data = squares(4, 2)

def slow(indices, view):
    print("reading", flush=True)
    time.sleep(60)

data.validation.batch = slow
write_pack(data, Path(sys.argv[1]), 8, SOURCE)
"""


@pytest.mark.slow
def test_a_killed_packing_leaves_no_pack(tmp_path):
    path = tmp_path / "a.pack"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", SLOW, str(path)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"reading\n"
        (part,) = tmp_path.iterdir()
        assert part.stat().st_size > 4096  # the images of the first part
        # What is being written stays when another process packs to the same name.
        write_pack(squares(1, 1), path, 8, SOURCE)
        assert part.exists()
        path.unlink()
        os.kill(child.pid, signal.SIGKILL)
    assert part.exists()
    assert not path.exists()
    write_pack(squares(4, 2), path, 8, SOURCE)
    assert [one.name for one in tmp_path.iterdir()] == ["a.pack"]


def test_an_interrupted_packing_leaves_nothing(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pack(squares(4, 2), tmp_path / "a.pack", 8, SOURCE, interrupt)
    assert list(tmp_path.iterdir()) == []
