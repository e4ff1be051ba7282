"""A second start opens only what is new or changed, and finds what a first start finds."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scalesearch.datasets import _manifest, coco, image_folder, image_list, voc
from scalesearch.datasets._manifest import listing_hash
from scalesearch.errors import UserError
from tests.opened import opened_in
from tests.pictures import classes, noise, save

LONG_AGO = 1_600_000_000_000_000_000


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache of each test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SCALESEARCH_CACHE", str(folder))
    return folder


def age(root, by=LONG_AGO):
    """Gives all files a time of change that is past, each another one."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    for number, file in enumerate(files):
        os.utime(file, ns=(by, by + number * 1_000_003))
    return root


def rewrite(file, content, keep_time=False):
    """Another content, an hour later than all others or at the same time."""
    before = file.stat().st_mtime_ns
    file.write_bytes(content)
    now = before if keep_time else LONG_AGO + 3_600_000_000_007
    os.utime(file, ns=(now, now))


def everything(data):
    """What training sees of a data set, and what is said of it but for its manifest."""
    notes = [note for note in data.notes if not note.startswith("manifest")]
    parts = [
        (list(part.paths), getattr(part, "labels", None)) for part in (data.train, data.validation)
    ]
    return [(paths, None if labels is None else labels.tolist()) for paths, labels in parts], notes


def said(data):
    """What the manifest says."""
    return [re.sub(r" since .*", "", note) for note in data.notes if note.startswith("manifest")]


def manifests(cache):
    return sorted((cache / "manifests").glob("*"))


def boxes(root, names, count=None):
    """Options of a COCO data set of these images in a folder, a box in each."""
    images = [
        {"id": number, "file_name": name, "height": 20, "width": 24}
        for number, name in enumerate(names)
    ]
    annotations = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 8, 8]} for n in range(len(names))
    ]
    content = {
        "images": images[:count],
        "annotations": annotations[:count],
        "categories": [{"id": 1, "name": "thing"}],
    }
    file = root.parent / f"{root.name}-{count}.json"
    file.write_text(json.dumps(content))
    return {"images": root, "annotations": file, "validation": 0.5}


def odd_folder(root):
    """Classes with copies, plain copies, links, tiny pictures, odd names and files of no image."""
    classes(root, count=5)
    save(root / "cat" / "deep" / "er.png", 50)
    shutil.copy(root / "cat" / "0.png", root / "dog" / "copy.png")
    shutil.copy(root / "cat" / "1.png", root / "cat" / "again.png")
    for number in range(3):  # of less than 255 bytes, as links are where they are text
        Image.new("L", (20, 20), 7).save(root / "dog" / f"plain{number}.png")
    (root / "dog" / "linked.png").symlink_to(root / "dog" / "plain0.png")
    (root / "dog" / "notes.txt").write_text("a/b")
    (root / "cat" / "gone.png").symlink_to("nowhere.png")
    save(root / "cat" / os.fsdecode(b"\xe4.png"), 99)
    save(root / "cat" / "turned.jpg", 12, exif=_turned())
    return age(root)


def _turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_a_second_start_opens_no_image(tmp_path):
    root = odd_folder(tmp_path / "data")
    with opened_in(root) as opened:
        first = image_folder.Dataset(path=root).load(0)
    assert len(set(opened)) == len(first.train) + len(first.validation)
    with opened_in(root) as opened:
        second = image_folder.Dataset(path=root).load(0)
    assert opened == []
    assert everything(second) == everything(first)
    assert said(first) == said(second) == []
    assert any("3 files are copies" in note for note in first.notes), first.notes


def test_a_data_set_of_boxes_opens_no_image_the_second_time(tmp_path):
    root = age(classes(tmp_path / "data"))
    shutil.copy2(root / "cat" / "0.png", root / "dog" / "copy.png")
    options = boxes(root, ["cat/0.png", "cat/1.png", "dog/0.png", "dog/copy.png", "cat/0.png"])
    first = coco.Dataset(**options).load(0)
    with opened_in(root) as opened:
        second = coco.Dataset(**options).load(0)
    assert opened == []
    assert everything(second) == everything(first)


def test_a_folder_under_another_path_is_the_same_folder(tmp_path, monkeypatch):
    root = odd_folder(tmp_path / "data")
    image_folder.Dataset(path=root).load(0)
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(root)
    for path in (tmp_path / "link", Path(), Path("../data"), Path("/") / root):
        with opened_in(root) as opened:
            data = image_folder.Dataset(path=path).load(0)
        assert (opened, said(data)) == ([], []), path


def test_what_changed_is_opened_and_counted(tmp_path):
    root = age(classes(tmp_path / "data", suffix=".bmp"))
    image_folder.Dataset(path=root).load(0)
    rewrite(root / "cat" / "0.bmp", (root / "dog" / "1.bmp").read_bytes())  # of the same size
    noise(3, (9, 9), "L").save(root / "cat" / "1.bmp")  # of another size, at the same time
    rewrite(root / "cat" / "1.bmp", (root / "cat" / "1.bmp").read_bytes(), keep_time=True)
    save(root / "cat" / "new.bmp", 77)
    (root / "dog" / "2.bmp").rename(root / "dog" / "renamed.bmp")
    (root / "dog" / "3.bmp").unlink()
    with opened_in(root) as opened:
        data = image_folder.Dataset(path=root).load(0)
    # The two that are equal now are compared as a whole.
    assert set(opened) == {
        *("cat/0.bmp", "cat/1.bmp", "cat/new.bmp", "dog/renamed.bmp", "dog/1.bmp"),
    }
    assert said(data) == ["manifest: 8 files known, 2 changed, 2 new, 2 gone"]
    assert "1 of 8 images are grey and read as colour" in data.notes
    assert any("1 files are copies" in note for note in data.notes)
    age(root / "cat", LONG_AGO + 10**15)
    image_folder.Dataset(path=root).load(0)
    with opened_in(root) as opened:
        again = image_folder.Dataset(path=root).load(0)
    assert (opened, said(again)) == ([], [])
    assert everything(again) == everything(data)


def test_a_file_as_young_as_its_manifest_is_opened_again(tmp_path):
    """A change within the same tick of the clock leaves size and time as they are."""
    root = age(classes(tmp_path / "data", suffix=".bmp"))
    file, soon = root / "cat" / "0.bmp", time.time_ns() + 60 * 10**9
    os.utime(file, ns=(soon, soon))
    image_folder.Dataset(path=root).load(0)
    rewrite(file, (root / "dog" / "1.bmp").read_bytes(), keep_time=True)
    with opened_in(root) as opened:
        data = image_folder.Dataset(path=root).load(0)
    assert set(opened) == {"cat/0.bmp", "dog/1.bmp"}
    assert any("1 files are copies" in note for note in data.notes)
    assert said(data) == []


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "rename", "change", "copy", "break", "plain", "link"]),
        st.sampled_from(["cat", "dog"]),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25)
@given(rounds=st.lists(CHANGES, min_size=1, max_size=3), skip=st.integers(0, 3))
def test_a_manifest_never_changes_what_is_found(rounds, skip, tmp_path_factory):
    """With it and without it, after any changes: the same images, split, account and error."""
    root = classes(tmp_path_factory.mktemp("data"), count=3, suffix=".bmp")
    cache, stamp = tmp_path_factory.mktemp("cache"), LONG_AGO
    for changes in [[], *rounds]:
        for change in changes:
            stamp += 1_000_000_000_019
            apply(root, *change, stamp)
        results = []
        for folder in (cache, tmp_path_factory.mktemp("empty")):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SCALESEARCH_CACHE", str(folder))
                results.append(outcome(root, skip))
        assert results[0] == results[1]


def apply(root, kind, label, number, other, stamp):
    file, target = root / label / f"{number}.bmp", root / "dog" / f"{other}.bmp"
    if kind in ("remove", "rename", "copy") and not file.exists():
        return
    if kind == "remove":
        file.unlink()
        return
    if kind in ("rename", "copy"):
        if file != target:
            target.unlink(missing_ok=True)
            (shutil.copy2 if kind == "copy" else shutil.move)(file, target)
        return
    file.unlink(missing_ok=True)
    if kind in ("add", "change"):
        noise(stamp % 1000).save(file)
    elif kind == "plain":
        Image.new("RGB", (24, 20), (number, 0, 0)).save(file)
    elif kind == "break":
        file.write_bytes(b"no image")
    elif kind == "link":
        file.symlink_to(target)
        return
    os.utime(file, ns=(stamp, stamp))


def outcome(root, skip):
    try:
        return everything(image_folder.Dataset(path=root, skip_unreadable=skip).load(1))
    except UserError as error:
        return str(error)


@settings(max_examples=30)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_damaged_manifest_is_none(place, flip, tmp_path_factory):
    root = tmp_path_factory.getbasetemp() / "damaged"
    if not root.exists():
        odd_folder(root)
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("SCALESEARCH_CACHE", str(cache))
        first = image_folder.Dataset(path=root).load(0)
        (file,) = manifests(cache)
        content = bytearray(file.read_bytes())
        if flip:
            content[int(place * len(content))] ^= flip
        else:
            del content[int(place * len(content)) :]
        file.write_bytes(content)
        with opened_in(root) as opened:
            again = image_folder.Dataset(path=root).load(0)
    assert opened
    assert everything(again) == everything(first)
    assert said(again) == []


@pytest.mark.parametrize("version", [{"format": 2}, {"pillow": "0.1"}, {"scalesearch": "9"}])
def test_a_manifest_of_another_version_is_none(tmp_path, monkeypatch, version):
    root = age(classes(tmp_path / "data"))
    with monkeypatch.context() as patch:
        patch.setattr(_manifest, "_VERSION", _manifest._VERSION | version)
        image_folder.Dataset(path=root).load(0)
    with opened_in(root) as opened:
        image_folder.Dataset(path=root).load(0)
    assert len(set(opened)) == 8
    assert _manifest._VERSION["pillow"] == PIL.__version__


def test_a_cache_that_cannot_be_written_is_noted(tmp_path, monkeypatch):
    root = age(classes(tmp_path / "data"))
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SCALESEARCH_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        data = image_folder.Dataset(path=root).load(0)
        assert said(data) == [
            "manifest: every file is opened again at the next start: "
            "cannot be written: Not a directory"
        ]
        assert len(data.train) == 6


def test_two_data_sets_of_one_folder_share_what_they_know(tmp_path, cache):
    root = age(classes(tmp_path / "data", count=6))
    names = [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(6)]
    few, all_of_them = (coco.Dataset(**boxes(root, names, count)) for count in (4, None))
    classified = image_folder.Dataset(path=root, limit=8, channels=1)
    for data, count in ((few, 4), (all_of_them, 8), (classified, 0), (few, 0), (all_of_them, 0)):
        with opened_in(root) as opened:
            loaded = data.load(0)
        assert len(set(opened)) == count
    assert said(loaded) == []
    assert len(manifests(cache)) == 1
    (root / "cat" / "5.png").unlink()  # which one of them does not ask for
    assert said(few.load(0)) == ["manifest: 12 files known, 1 gone"]
    assert said(few.load(0)) == []


def test_a_part_of_a_split_may_be_another_data_set(tmp_path, cache):
    for part, seed in (("train", 0), ("val", 5000)):
        classes(tmp_path / "data" / part, seed=seed)
    root = age(tmp_path / "data")
    image_folder.Dataset(path=root).load(0)
    image_folder.Dataset(path=root / "train").load(0)
    assert len(manifests(cache)) == 2
    with opened_in(root) as opened:
        image_folder.Dataset(path=root).load(0)
        image_folder.Dataset(path=root / "train").load(0)
    assert opened == []


def test_several_starts_at_once(tmp_path, cache):
    root = odd_folder(tmp_path / "data")
    ready = threading.Barrier(4)

    def start(_):
        ready.wait()
        return everything(image_folder.Dataset(path=root).load(0))

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(start, range(8)))
    assert all(one == results[0] for one in results)
    assert [file.suffix for file in (cache / "manifests").iterdir()] == [".manifest"]
    with opened_in(root) as opened:
        image_folder.Dataset(path=root).load(0)
    assert opened == []


def test_the_hash_of_a_listing_tells_names_sizes_and_times():
    stats = np.array([[1, 2], [3, 4]])
    hashes = {
        listing_hash(["a", "b"], stats),
        listing_hash(["a", "c"], stats),
        listing_hash(["a", "b"], np.array([[1, 2], [4, 4]])),
        listing_hash(["a", "b"], np.array([[1, 3], [3, 4]])),
        listing_hash(["a"], stats[:1]),
    }
    assert len(hashes) == 5
    assert listing_hash(["a", "b"], stats.copy()) in hashes


def test_interrupted_by_an_error_what_was_found_is_kept(tmp_path):
    root = age(classes(tmp_path / "data", count=6))
    rewrite(root / "cat" / "3.png", b"no image")
    with pytest.raises(UserError, match="1 of 12 files cannot be read"):
        image_folder.Dataset(path=root).load(0)
    (root / "cat" / "3.png").unlink()
    with opened_in(root) as opened:
        data = image_folder.Dataset(path=root).load(0)
    assert opened == []
    assert said(data) == ["manifest: 12 files known, 1 gone"]


def broken(root, names):
    for number, name in enumerate(names):
        (root / name).write_bytes(b"" if number == 0 else b"no image")
    return age(root)


@pytest.mark.parametrize("skip", [2, 3])
def test_so_many_unreadable_files_are_left_out(tmp_path, skip):
    root = broken(classes(tmp_path / "data", count=6), ["cat/1.png", "dog/4.png"])
    for _ in range(2):
        data = image_folder.Dataset(path=root, skip_unreadable=skip).load(0)
        assert len(data.train) + len(data.validation) == 10
        assert not {str(root / "cat/1.png"), str(root / "dog/4.png")} & {
            *data.train.paths,
            *data.validation.paths,
        }
        for path, label in zip(data.train.paths, data.train.labels, strict=True):
            assert Path(path).parent.name == data.classes[label]
        (left,) = data.files.left_out
        assert (left.reason, left.count) == ("unreadable", 2)
        assert left.names == ("cat/1.png", "dog/4.png")
        assert data.files.seen == 12
        assert (
            f"2 unreadable files are left out: {root / 'cat/1.png'} (empty), "
            f"{root / 'dog/4.png'} (not an image)"
        ) in data.notes
        assert said(data) == []


def test_more_unreadable_files_are_an_error_that_says_how_many_are_allowed(tmp_path):
    root = broken(classes(tmp_path / "data", count=6), ["cat/1.png", "cat/2.png", "dog/4.png"])
    with pytest.raises(UserError) as caught:
        image_folder.Dataset(path=root, skip_unreadable=2).load(0)
    assert str(caught.value) == (
        f"path: 3 of 12 files cannot be read as images: {root / 'cat/1.png'} (empty), "
        f"{root / 'cat/2.png'} (not an image), {root / 'dog/4.png'} (not an image)\n"
        "  allowed: 2 of them, by `skip_unreadable`\n"
        "  mend or remove them, or leave out as many by `skip_unreadable`"
    )
    with pytest.raises(UserError, match="mend or remove them, or leave out") as caught:
        image_folder.Dataset(path=root).load(0)
    assert "allowed" not in str(caught.value)
    with pytest.raises(UserError, match=r"skip_unreadable: -1 cannot be used\n  allowed: 0 or"):
        image_folder.Dataset(path=root, skip_unreadable=-1)


def test_a_class_or_a_part_of_it_without_a_readable_file_is_an_error(tmp_path):
    root = classes(tmp_path / "whole", count=2)
    broken(root, ["cat/0.png", "cat/1.png"])
    with pytest.raises(UserError, match="path: no image of cat can be read\n"):
        image_folder.Dataset(path=root, skip_unreadable=9).load(0)
    root = tmp_path / "parts"
    for part, seed in (("train", 0), ("val", 5000)):
        classes(root / part, count=2, seed=seed)
    broken(root, ["train/cat/0.png", "train/cat/1.png", "train/dog/0.png", "train/dog/1.png"])
    with pytest.raises(UserError, match="no train image of cat, dog can be read"):
        image_folder.Dataset(path=root, skip_unreadable=9).load(0)


def test_unreadable_files_of_a_split_are_left_out_of_their_part(tmp_path):
    for part, seed in (("train", 0), ("val", 5000)):
        classes(tmp_path / part, seed=seed)
    broken(tmp_path, ["train/cat/0.png", "val/dog/1.png"])
    data = image_folder.Dataset(path=tmp_path, skip_unreadable=2).load(0)
    for name, part in (("train", data.train), ("val", data.validation)):
        assert len(part) == 7
        assert all(f"/{name}/" in path for path in part.paths)


def test_a_file_that_can_be_read_again_is_not_left_out(tmp_path, monkeypatch):
    """Why it could not be read may lie elsewhere: in its disk, its rights, or a library."""
    root = age(classes(tmp_path / "data", count=6))
    real = Path.open

    def fail(path, *arguments, **options):
        if path.name == "1.png":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        data = image_folder.Dataset(path=root, skip_unreadable=2).load(0)
    assert any("(permission denied)" in note for note in data.notes)
    with opened_in(root) as opened:
        data = image_folder.Dataset(path=root, skip_unreadable=2).load(0)
    assert sorted(opened) == ["cat/1.png", "dog/1.png"]
    assert len(data.train) + len(data.validation) == 12
    assert data.files.left_out == ()
    with opened_in(root) as opened:
        image_folder.Dataset(path=root).load(0)
    assert opened == []


def test_unreadable_images_of_boxes_are_left_out(tmp_path):
    root = classes(tmp_path / "data", count=6)
    names = [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(6)]
    broken(root, ["cat/1.png", "dog/4.png"])
    options = boxes(root, names)
    data = coco.Dataset(**options, skip_unreadable=2).load(0)
    assert sorted((*data.train.ids, *data.validation.ids)) == [0, 2, 3, 4, 5, 6, 7, 8, 9, 11]
    assert {one.reason: one.count for one in data.files.left_out} == {"unreadable": 2}
    with pytest.raises(UserError, match=r"2 of 12 files cannot .*\n  allowed: 1 of them"):
        coco.Dataset(**options, skip_unreadable=1).load(0)
    with pytest.raises(UserError, match="2 of 12 files cannot be read as images"):
        coco.Dataset(**options).load(0)


def test_unreadable_images_of_either_file_of_annotations(tmp_path):
    """The parts stay what they are, also where two entries name one file."""
    train, val = classes(tmp_path / "train"), classes(tmp_path / "val", seed=5000)
    broken(train, ["cat/1.png"])
    broken(val, ["dog/2.png"])
    names = [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(4)]
    first, second = boxes(train, [*names, "cat/1.png"]), boxes(val, names)
    data = coco.Dataset(
        images=train,
        annotations=first["annotations"],
        validation_images=val,
        validation_annotations=second["annotations"],
        skip_unreadable=2,
    ).load(0)
    assert (len(data.train), len(data.validation)) == (7, 7)
    assert all("/val/" in path for path in data.validation.paths)
    assert data.files.left_out[0].count == 2
    save(train / "cat" / "new.png", 88)
    (val / "dog" / "2.png").unlink()
    save(val / "dog" / "2.png", 90)
    names = said(coco.Dataset(**boxes(train, ["cat/new.png", "cat/0.png"])).load(0))
    assert names == ["manifest: 8 files known, 1 new"]


def test_unreadable_images_of_voc(tmp_path):
    for number in range(6):
        save(tmp_path / f"{number}.png", number)
        (tmp_path / f"{number}.xml").write_text(
            "<annotation><size><width>24</width><height>20</height></size><object><name>a</name>"
            "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
            "</annotation>"
        )
    broken(tmp_path, ["3.png"])
    data = voc.Dataset(path=tmp_path, skip_unreadable=1, validation=0.4).load(0)
    assert len(data.train) + len(data.validation) == 5
    with opened_in(tmp_path) as opened:
        voc.Dataset(path=tmp_path, skip_unreadable=1, validation=0.4).load(0)
    assert [name for name in opened if not name.endswith(".xml")] == ["3.png"]
    with pytest.raises(UserError, match="1 of 6 files cannot be read as images"):
        voc.Dataset(path=tmp_path).load(0)


def test_a_list_opens_no_image_the_second_time(tmp_path):
    root = age(classes(tmp_path / "data"))
    names = [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(4)]
    rows = [f"{name},{Path(name).parent}" for name in names]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    listed = image_list.Dataset(path=tmp_path / "list.csv", folder=root)
    first = listed.load(0)
    with opened_in(root) as opened:
        assert everything(listed.load(0)) == everything(first)
        image_folder.Dataset(path=root).load(0)
    assert opened == []
    rewrite(root / "cat" / "0.png", b"no image")
    with pytest.raises(UserError, match=r"1 of 8 files cannot .*\n  mend or remove them, or"):
        listed.load(0)
