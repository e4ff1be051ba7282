"""Studies whose images are packed once: the same results, said in notes, shared by later ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from scalesearch.errors import UserError
from scalesearch.files.architecture import save_architecture
from scalesearch.files.write import format_yaml
from scalesearch.history.table import TIMES
from scalesearch.study import run as running
from scalesearch.study.cache import cached_data
from scalesearch.study.folder import deciding
from scalesearch.study.inputs import load_data
from scalesearch.study.load import load_study, resolved
from scalesearch.study.run import run
from tests.fakes import write_study
from tests.pictures import noise
from tests.shapes import detector

TRAINING = {"name": "training", "epochs": 1, "batch_size": 8}
SEARCH = {"space": "space.yaml", "sampler": "random", "trials": 2}


@pytest.fixture
def images(tmp_path):
    """A folder of pictures of 8 pixels: as many as the networks see."""
    for name in "ab":
        for number in range(12):
            file = tmp_path / "images" / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            noise(number + 100 * (name == "b"), (8, 8)).save(file)
    return tmp_path / "images"


@pytest.fixture
def write(tmp_path, images):
    def write(**sections):
        dataset = {"name": "image_folder", "path": "images", "test": 0.25}
        given = {"dataset": dataset, "search": SEARCH}
        without = ("grid", "family")
        return write_study(tmp_path, without=without, **given, evaluator=TRAINING, **sections)

    return write


def rows(folder: Path) -> list[str]:
    """The lines of `trials.csv` without their times."""
    frame = pd.read_csv(folder / "trials.csv", dtype=str)
    return frame.drop(columns=list(TIMES), errors="ignore").to_csv(index=False).splitlines()


@pytest.mark.slow
def test_a_study_on_a_pack_is_the_study_on_the_same_pixels(write, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "report", lambda folder: [])
    plain = run(write(), folder=tmp_path / "plain")
    cached = run(write(cache={"side": 8, "folder": "packs"}), folder=tmp_path / "cached")
    assert rows(cached.path) == rows(plain.path)
    (pack,) = (tmp_path / "packs").glob("*.pack")
    log = (cached.path / "log.txt").read_text()
    assert f"cache: packing 24 images at 8 pixels into {pack}" in log
    assert "are enlarged" not in log
    assert (
        "read from a pack at 8 pixels"
        in json.loads((cached.path / "data.json").read_text())["notes"][-1]
    )
    # A later study takes the same pack; a smaller side has its own, and is not the same study.
    later = run(
        write(cache={"side": 8, "folder": "packs"}, name="later"), folder=tmp_path / "later"
    )
    assert "packing" not in (later.path / "log.txt").read_text()
    small = run(write(cache={"side": 6, "folder": "packs"}), folder=tmp_path / "small")
    log = (small.path / "log.txt").read_text()
    assert "search: networks that see 8 pixels get images that are enlarged from 6" in log
    assert rows(small.path) != rows(plain.path)
    with pytest.raises(UserError, match="cache"):
        run(write(cache={"side": 6, "folder": "packs"}), folder=cached.path)
    # Where it lies is no part of the study.
    run(write(cache={"side": 8, "folder": "elsewhere"}), folder=cached.path)
    assert list((tmp_path / "elsewhere").glob("*.pack"))


@pytest.mark.slow
def test_a_study_of_detectors_on_a_pack(tmp_path, monkeypatch):
    save_architecture(tmp_path / "net.yaml", detector())
    canvas = {"name": "mnist_canvas", "train": 16, "validation": 8, "side": 64, "largest": 40}
    given = {
        "task": "detection",
        "dataset": canvas | {"path": "canvases"},
        "evaluator": {"name": "detection", "epochs": 1, "batch_size": 8},
        "baseline": "net.yaml",
        "coefficients": {},
        "family": {"phi": [0]},
    }

    def carry_out(name, **more):
        file = tmp_path / f"{name}.yaml"
        file.write_text(format_yaml({"name": name, **given, **more}))
        return run(file, folder=tmp_path / name).path

    monkeypatch.setattr(running, "report", lambda folder: [])
    plain = carry_out("plain")
    half = carry_out("half", cache={"side": 32, "folder": "packs"})
    cached = carry_out("cached", cache={"side": 64, "folder": "packs"})
    assert rows(cached) == rows(plain)
    truth = json.loads((plain / "detections" / "truth.json").read_text())
    # Its images are named by the files that were packed: a report can show them.
    assert json.loads((cached / "detections" / "truth.json").read_text()) == truth
    assert "boxes, areas (by which objects" in (cached / "log.txt").read_text()
    smaller = json.loads((half / "detections" / "truth.json").read_text())
    assert {(each["height"], each["width"]) for each in smaller["images"]} == {(32, 32)}
    for ours, theirs in zip(smaller["annotations"], truth["annotations"], strict=True):
        assert ours["bbox"] == [side / 2 for side in theirs["bbox"]]
        assert ours["area"] == theirs["area"] / 4


def test_the_section_is_read_and_resolved(write, tmp_path, monkeypatch):
    study = load_study(write(cache={"side": 192}))
    assert (study.cache.side, study.cache.folder) == (192, None)
    study = load_study(write(cache={"side": 192, "folder": "packs"}))
    assert study.cache.folder == tmp_path / "packs"
    assert deciding(resolved(study))["cache"] == {"side": 192}
    assert "cache" not in resolved(load_study(write()))


@pytest.mark.parametrize(
    ("cache", "text"),
    [
        ({}, "'side' is missing"),
        ({"side": 0}, "cache.side: 0 cannot be used\n  allowed: at least 4"),
        ({"side": 8, "sides": 9}, "cache.sides: unknown key 'sides'"),
        (None, "cache: 'cache' is empty"),
    ],
)
def test_mistakes(write, cache, text):
    with pytest.raises(UserError) as raised:
        load_study(write(cache=cache))
    assert text in str(raised.value)


def test_a_study_without_images_has_nothing_to_pack(tmp_path):
    evaluator = {"name": "tests.packs:Untrained"}
    without = ("dataset", "grid", "family")
    file = write_study(tmp_path, without=without, evaluator=evaluator, cache={"side": 8})
    with pytest.raises(UserError, match="there are no images to be packed") as raised:
        load_study(file)
    assert raised.value.key == "cache"


def test_check_says_what_a_run_would_pack(write, tmp_path, capsys):
    from scalesearch.cli.check import check_study

    file = write(cache={"side": 16})
    check_study(file, (), 10)
    where = Path(os.environ["SCALESEARCH_CACHE"]) / "packs"
    said = capsys.readouterr().out
    assert f"cache: the run will pack 24 images at 16 pixels into {where}" in said
    assert not where.exists() or not list(where.glob("image_folder-16-*"))
    # The same file as the run's, whose data set has its test images, too.
    notes, study = [], load_study(file)
    cached_data(study, load_data(study), notes.append)
    (pack,) = where.glob("image_folder-16-*.pack")
    assert f"into {pack}: " in said
    assert f"into {pack}, " in notes[0]
    pack.unlink()
