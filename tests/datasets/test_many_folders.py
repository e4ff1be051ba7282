"""A slow disk is asked many things at once, a quick one in turn, with the same answer."""

from __future__ import annotations

import threading
import time

import pytest

from scalesearch.datasets import _class_folders, _many_folders
from scalesearch.datasets.image_folder import Dataset
from tests.pictures import classes


@pytest.mark.parametrize(("seconds", "at_once"), [(0.0, False), (0.03, True)])
def test_folders_are_listed_at_once_where_each_keeps_us_waiting(
    tmp_path, monkeypatch, seconds, at_once
):
    root = classes(tmp_path, [f"class{number:02}" for number in range(40)], count=2)
    (root / "class07" / "notes.txt").write_text("left out")
    (root / "class31" / "more.md").write_text("left out")
    expected = Dataset(path=root, validation=0.5).load(0)
    threads: set[int] = set()
    real = _class_folders.list_images

    def slow(*arguments, **options):
        time.sleep(seconds)
        threads.add(threading.get_ident())
        return real(*arguments, **options)

    monkeypatch.setattr(_class_folders, "list_images", slow)
    # A machine with other work keeps us waiting, too.
    monkeypatch.setattr(_many_folders, "_PATIENCE", 0.1 if at_once else 600)
    data = Dataset(path=root, validation=0.5).load(0)
    assert (len(threads) > 1) == at_once
    assert data.train.paths == expected.train.paths
    assert data.files == expected.files
    left_out = {one.reason: one.names for one in data.files.left_out}
    assert left_out == {
        "ending in .txt": ("class07/notes.txt",),
        "ending in .md": ("class31/more.md",),
    }
