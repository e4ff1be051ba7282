"""`scalesearch pack`: every way to name a data set, what is printed, and each mistake."""

from __future__ import annotations

import numpy as np
import pytest

from scalesearch.pack.file import open_pack
from tests.fakes import write_study
from tests.pictures import classes


def test_a_data_set_by_name_with_options(scalesearch, tmp_path):
    path = tmp_path / "m.pack"
    done = scalesearch("pack", "mnist5k", "limit=100", "-o", path, "--side", "14", "--seed", "2")
    assert done.code == 0, done
    about = open_pack(path).manifest
    assert about.parts == {"train": 80, "validation": 20}
    given = {key: value for key, value in about.source.options.items() if value is not None}
    assert given == {"validation": 0.2, "limit": 100}
    assert (about.side, about.source.seed) == (14, 2)
    assert "80 of 100 images" in done.out
    assert f"{path}: 100 images, squares of 14 pixels, grey, 10 classes; " in done.out
    assert "from mnist5k (validation 0.2, limit 100, seed 2)" in done.out
    assert f"`dataset: {{name: packed, path: {path}}}`" in done.out


@pytest.mark.parametrize("form", ["folder", "mapping", "study"])
def test_a_folder_a_mapping_and_a_study(scalesearch, tmp_path, form):
    images = classes(tmp_path / "images")
    path = tmp_path / "m.pack"
    if form == "folder":
        given = [images, "validation=0.5"]
    elif form == "mapping":
        given = [f"{{name: image_folder, path: {images}, validation: 0.5}}"]
    else:
        dataset = {"name": "image_folder", "path": "images", "validation": 0.25}
        given = [write_study(tmp_path, dataset=dataset), "dataset.validation=0.5", "seed=3"]
    done = scalesearch("pack", *given, "-o", path, "--side", "8")
    assert done.code == 0, done
    pack = open_pack(path)
    assert pack.manifest.parts == {"train": 4, "validation": 4}
    assert pack.manifest.source.seed == (3 if form == "study" else 0)
    assert pack.manifest.source.options["path"] == str(images)
    assert pack.manifest.source.listing
    assert np.bincount(pack.tables["labels"]).tolist() == [4, 4]
    assert "note  8 files seen, 8 taken (8 .png)" in done.out


def test_objects(scalesearch, tmp_path):
    path = tmp_path / "m.pack"
    given = (f"path={tmp_path}", "train=6", "validation=2", "side=64", "largest=40")
    done = scalesearch("pack", "mnist_canvas", *given, "-o", path, "--side", "32")
    assert done.code == 0, done
    assert "8 images, longer side at most 32 pixels, grey, 10 classes" in done.out
    assert open_pack(path).tables["sizes"].tolist() == [[32, 32]] * 8


def test_mistakes(wrong, tmp_path):
    out = ("-o", tmp_path / "m.pack", "--side", "8")
    said = wrong("pack", "mnist", *out)
    assert "error: DATASET: there is no 'mnist' among the datasets" in said
    assert "a study's YAML file, a folder with a sub-folder for each class" in said
    assert "unknown key 'limt'" in wrong("pack", "mnist5k", "limt=3", *out)
    assert "'limit' is not an option" in wrong("pack", "mnist5k", "limit", *out)
    assert "is a folder" in wrong("pack", "mnist5k", "-o", tmp_path, "--side", "8")
    assert "'path' is missing" in wrong("pack", "image_folder", *out)
    assert "there is no such file" in wrong("pack", tmp_path / "study.yaml", *out)
    study = write_study(tmp_path, without=("dataset", "grid", "family"))
    assert "needs a data set" in wrong("pack", study, *out)
    (tmp_path / "file").write_text("")
    said = wrong("pack", "mnist5k", "limit=100", "-o", tmp_path / "file" / "a", "--side", "8")
    assert "cannot be written" in said


def test_the_place_is_tried_before_the_data_set_is_read(scalesearch, tmp_path):
    images = classes(tmp_path / "images")
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "sub" / "a.pack", tmp_path / ("n" * 250 + ".pack")):
        done = scalesearch("pack", images, "-o", out, "--side", "8")
        assert done.code == 2
        assert "cannot be written: " in done.err
        assert "files seen" not in done.out
    out = ("-o", tmp_path / "a" / "b" / "c.pack", "--side", "8")
    done = scalesearch("pack", images, "validation=0.5", *out)
    assert done.code == 0
    assert [*(tmp_path / "a").rglob(".*")] == []
