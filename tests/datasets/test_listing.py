"""Every file of a folder is taken or left out with its reason, and the sum is what lies there."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from scalesearch.datasets import _listing
from scalesearch.datasets._listing import LeftOutFiles, endings, list_images
from scalesearch.datasets.image_folder import Dataset
from scalesearch.errors import UserError
from scalesearch.text import printable
from tests.opened import opened_in
from tests.pictures import classes, noise, save


def listed(folder):
    left_out = LeftOutFiles(folder)
    paths = list_images(folder, left_out).paths
    account = left_out.account(paths)
    names = [os.path.relpath(path, folder) for path in paths]
    return names, {one.reason: one.count for one in account.left_out}, account


@pytest.mark.parametrize(
    "name",
    [
        *("a.PNG", "a.jfif", "a.TIF", "a.tiff", "a.gif", "a.jpe", "a.jp2", "a.ppm", "a.tga"),
        *("a.avif", "a.ico", "a.pcx", "a.dib", "a.qoi", "a.b.c.webp", "ä ö.bmp"),
    ],
)
def test_what_pillow_reads_is_an_image(tmp_path, name):
    save(tmp_path / name, 1)
    assert listed(tmp_path)[:2] == ([name], {})


@pytest.mark.parametrize("ending", [".eps", ".ps", ".wmf", ".mpg", ".h5", ".pdf"])
def test_what_is_handed_to_other_programs_or_holds_no_picture_is_none(tmp_path, ending):
    assert ending not in endings()
    (tmp_path / f"a{ending}").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    assert listed(tmp_path)[:2] == ([], {f"ending in {ending}": 1})


def test_an_image_in_name_is_not_run_by_another_program(tmp_path):
    """Pillow would start Ghostscript for it."""
    classes(tmp_path)
    (tmp_path / "cat" / "9.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n"
    )
    with pytest.raises(UserError, match=r"cannot be read as images: .*9\.png \(not an image\)"):
        Dataset(path=tmp_path).load(0)


@pytest.mark.parametrize(
    "folder",
    [
        *("@eaDir", ".thumbnails", ".Trash-1000", "__MACOSX", "#recycle", "#snapshot", ".git"),
        *("$RECYCLE.BIN", "lost+found", "System Volume Information", "__pycache__", "a/.dvc/b"),
    ],
)
def test_folders_of_tools_are_not_entered_and_their_files_counted(tmp_path, folder):
    save(tmp_path / "0.png", 0)
    save(tmp_path / folder / "x" / "1.png", 1)
    (tmp_path / folder / "note.txt").write_text("note")
    assert listed(tmp_path)[:2] == (["0.png"], {"in hidden or tools' folders": 2})


def test_one_reason_for_each_file(tmp_path):
    save(tmp_path / "b" / "0.png", 0)
    save(tmp_path / "a.jpg", 1)
    (tmp_path / "._a.jpg").write_bytes(b"what a Mac leaves on other disks")
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "photo.HEIC").write_bytes(b"x")
    (tmp_path / "README").write_text("x")
    (tmp_path / "a.jpg~").write_bytes(b"x")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "self.png").symlink_to("self.png")
    (tmp_path / "text.png").write_text("../store/0.png")
    os.mkfifo(tmp_path / "pipe.png")
    names, reasons, account = listed(tmp_path)
    assert names == ["a.jpg", "b/0.png"]
    assert reasons == {
        "hidden": 1,
        "ending in .db": 1,
        "ending in .heic": 1,
        "ending in .jpg~": 1,
        "without an ending": 1,
        "links to nothing": 3,
        "neither files nor folders": 1,
    }
    assert account.seen == 11 == sum(len(files) for _, _, files in os.walk(tmp_path))
    assert account.taken == {".jpg": 1, ".png": 1}
    assert "3 links to nothing (gone.png, self.png, text.png)" in str(account)


def test_links_are_followed_once(tmp_path):
    store = tmp_path / "store"
    save(store / "0.png", 0)
    save(store / "deep" / "1.png", 1)
    root = tmp_path / "root"
    save(root / "2.png", 2)
    (root / "one").symlink_to(store, target_is_directory=True)
    (root / "two").symlink_to(store, target_is_directory=True)
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "file.png").symlink_to(store / "0.png")
    names, reasons, _ = listed(root)
    assert names == ["2.png", "file.png", "one/0.png", "one/deep/1.png"]
    assert list(reasons.values()) == [2]
    assert "links to one that is listed already" in next(iter(reasons))


def test_a_folder_is_listed_under_its_own_path_whatever_links_are_called(tmp_path):
    save(tmp_path / "z" / "0.png", 0)
    (tmp_path / "a").symlink_to(tmp_path / "z", target_is_directory=True)
    assert listed(tmp_path)[0] == ["z/0.png"]


def test_the_order_is_that_of_paths_part_by_part(tmp_path):
    names = ["b/0.png", "b-1/0.png", "b/a/0.png", "B/0.png", "a.png", "b/a.png"]
    for number, name in enumerate(names):
        save(tmp_path / name, number)
    paths = [tmp_path / name for name in names]
    assert listed(tmp_path)[0] == [str(path.relative_to(tmp_path)) for path in sorted(paths)]


def test_names_that_are_not_utf8_can_be_shown(tmp_path):
    name = os.fsdecode(b"gr\xfcn.txt")
    (tmp_path / name).write_bytes(b"x")
    account = listed(tmp_path)[2]
    assert account.left_out[0].names == (r"gr\xfcn.txt",)
    str(account).encode()
    assert printable("grün") == "grün"


def test_a_picture_whose_name_is_not_utf8_is_read(tmp_path):
    classes(tmp_path)
    save(tmp_path / "cat" / os.fsdecode(b"\xe4.png"), 99)
    data = Dataset(path=tmp_path).load(0)
    assert len(data.train) + len(data.validation) == 9


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    save(tmp_path / "a" / "0.png", 0)

    def deny(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(_listing.os, "scandir", deny)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        listed(tmp_path)


def test_small_files_are_opened_for_links_where_they_may_be_some(tmp_path):
    """Texts beside images, such as those of YOLO, may be as many as these."""
    (tmp_path / "a.txt").write_text("0/1")
    (tmp_path / "a").write_text("../b")
    (tmp_path / "a.png").write_text("../c.png")
    save(tmp_path / "b.png", 1)
    with opened_in(tmp_path) as opened:
        names, reasons, _ = listed(tmp_path)
    assert (names, set(opened)) == (["b.png"], {"a", "a.png"})
    assert reasons == {"links to nothing": 2, "ending in .txt": 1}


def test_many_reasons_are_few_words(tmp_path):
    for number in range(50):
        (tmp_path / f"{number:02}.txt").write_text("x")
    assert "50 ending in .txt (00.txt, 01.txt, 02.txt and 47 more)" in str(listed(tmp_path)[2])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "Git LFS"),
        (b"<!DOCTYPE html><html>404</html>", "a page of HTML"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "file"),
        (bytes(1000), "not an image"),
    ],
)
def test_why_a_file_is_no_image(tmp_path, content, reason):
    classes(tmp_path)
    (tmp_path / "dog" / "9.png").write_bytes(content)
    with pytest.raises(UserError) as caught:
        Dataset(path=tmp_path).load(0)
    assert "1 of 9 files cannot be read as images" in str(caught.value)
    assert reason in str(caught.value)


def test_a_huge_picture_in_a_small_file_is_no_image(tmp_path):
    """13,000 pixels a side in one colour are a few kilobytes, and 500 MB when they are decoded."""
    classes(tmp_path)
    Image.new("1", (13000, 13000)).save(tmp_path / "cat" / "9.png")
    with pytest.raises(UserError, match=r"13000 x 13000 pixels, over 90,000,000"):
        Dataset(path=tmp_path).load(0)


def test_a_large_panorama_is_read(tmp_path, recwarn):
    classes(tmp_path)
    noise(5, (60, 3000)).save(tmp_path / "cat" / "9.jpg")
    data = Dataset(path=tmp_path).load(0)
    assert len(data.train) + len(data.validation) == 9
    assert any("1 of 9 images are oblong" in note and "2%" in note for note in data.notes)
    assert not recwarn
