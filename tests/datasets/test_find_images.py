"""Names of images as programs on other machines write them."""

from __future__ import annotations

import pytest

from scalesearch.datasets._find_images import ImageFinder
from scalesearch.datasets._listing import LeftOutFiles
from scalesearch.errors import UserError
from tests.pictures import save


def finder(folder):
    return ImageFinder(folder, "images", LeftOutFiles(folder), ".json")


@pytest.mark.parametrize(
    "name",
    [
        "deep/a.png",
        "./deep/a.png",
        "deep\\a.png",
        ".\\deep\\a.png",
        "a.png",  # without its folder
        "images/deep/a.png",  # with that of the folder, too
        "C:\\Users\\me\\deep\\a.png",
        "/home/me/data/deep/a.png",
        "../images/deep/a.png",
        "deep/A.PNG",
        "a",  # without its ending
        "old/place/a",
    ],
)
def test_every_way_to_say_one_name(tmp_path, name):
    wanted = save(tmp_path / "deep" / "a.png", 0)
    save(tmp_path / "deep" / "b.png", 1)
    assert finder(tmp_path).find(name) == str(wanted)


def test_the_longest_common_end_decides(tmp_path):
    for seed, name in enumerate(("x/1/a.png", "y/1/a.png", "y/2/a.png")):
        save(tmp_path / name, seed)
    found = finder(tmp_path)
    assert found.find("D:\\sets\\y\\1\\a.png") == str(tmp_path / "y/1/a.png")
    assert found.find("2/a.png") == str(tmp_path / "y/2/a.png")
    found.find("a.png")  # any of three: none is taken
    with pytest.raises(UserError, match=r"1 of 3 images are missing: .*a\.png"):
        found.check()


def test_names_in_another_unicode_form(tmp_path):
    wanted = save(tmp_path / "caf\u00e9.png", 0)
    assert finder(tmp_path).find("cafe\u0301.png") == str(wanted)


def test_the_second_name_where_the_first_has_no_file(tmp_path):
    wanted = save(tmp_path / "new.png", 0)
    assert finder(tmp_path).find("old.png", "new") == str(wanted)


def test_nothing_beside_the_folder_is_found(tmp_path):
    save(tmp_path / "out.png", 0)
    save(tmp_path / "images" / "in.png", 1)
    found = finder(tmp_path / "images")
    for name in ("../out.png", str(tmp_path / "out.png"), "x/../../out.png"):
        found.find(name)
    with pytest.raises(UserError, match="3 of 3 images are missing"):
        found.check()


def test_what_is_found_elsewhere_is_said_and_the_rest_counted(tmp_path):
    for number in range(4):
        save(tmp_path / f"{number}.png", number)
    (tmp_path / "instances.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("x")
    left_out = LeftOutFiles(tmp_path)
    found = ImageFinder(tmp_path, "images", left_out, ".json")
    paths = [found.find("0.png"), found.find("old\\1.png")]
    found.check()
    assert found.notes() == ["1 images are found by the end of their names: old\\1.png as 1.png"]
    assert str(left_out.account(paths)) == (
        "5 files seen, 2 taken (2 .png), left out: 2 that no annotation in use names "
        "(2.png, 3.png), 1 ending in .txt (notes.txt)"
    )


@pytest.mark.parametrize("name", ["x" * 5000, "..", "/", "\\\\", "a\\..\\.."])
def test_names_that_no_file_has_are_missing(tmp_path, name):
    save(tmp_path / "0.png", 0)
    found = finder(tmp_path)
    found.find(name)
    with pytest.raises(UserError, match="1 of 1 images are missing"):
        found.check()


def test_the_file_of_one_name_is_no_other_name_s(tmp_path):
    """Of two cameras with the same names one is not there."""
    for seed in range(3):
        save(tmp_path / "cam2" / f"{seed}.png", seed)
    found = finder(tmp_path)
    names = [f"cam{camera}/{seed}.png" for camera in (1, 2) for seed in range(3)]
    found.announce(names)
    for name in names:
        found.find(name)
    with pytest.raises(UserError, match=r"3 of 6 images are missing: .*cam1/0\.png"):
        found.check()


def test_one_file_is_not_found_under_two_names(tmp_path):
    save(tmp_path / "0.png", 0)
    found = finder(tmp_path)
    for name in ("D:\\a\\0.png", "D:\\a\\0.png", "D:\\b\\0.png"):
        found.find(name)
    with pytest.raises(UserError, match=r"1 of 3 images are missing"):
        found.check()


def test_another_ending_is_found_and_said(tmp_path):
    wanted = save(tmp_path / "deep" / "0.png", 0)
    found = finder(tmp_path)
    assert found.find("deep/0.jpg") == str(wanted)
    found.check()
    assert found.notes() == [
        "1 images are found by the end of their names: deep/0.jpg as deep/0.png"
    ]


def test_names_that_repeat_in_many_folders_are_found_in_proportion(tmp_path):
    """Each name is looked up, not compared with every file of its last part."""
    for clip in range(30):
        for frame in range(10):
            save(tmp_path / f"clip{clip}" / f"{frame}.png", 0)
    found = finder(tmp_path)
    for clip in range(30):
        for frame in range(10):
            path = found.find(f"C:\\set\\clip{clip}\\{frame}.png")
            assert path == str(tmp_path / f"clip{clip}" / f"{frame}.png")
    found.check()
