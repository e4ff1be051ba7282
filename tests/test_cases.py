"""Inputs that people have, each made after a public report, and what must come of them."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from scalesearch.cli.main import app
from scalesearch.datasets.image_folder import Dataset
from scalesearch.errors import UserError
from scalesearch.study.run import run
from scalesearch.view import View

CASES = Path(__file__).parents[2] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")


@pytest.fixture
def case(tmp_path, monkeypatch):
    """Copies a case to a folder that may be written, and goes there."""

    def copied(name):
        folder = tmp_path / name
        shutil.copytree(CASES / name, folder, symlinks=True)
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() else 0o644)
        monkeypatch.chdir(folder)
        return folder

    return copied


def check(*arguments):
    """The exit code and what is printed, an error included."""
    done = CliRunner().invoke(app, ["check", *map(str, arguments)])
    if isinstance(done.exception, UserError):  # `main` makes a line and code 2 of it
        return 2, str(done.exception)
    assert done.exit_code == 0, done.output
    return 0, done.output


def said(text):
    """Without line breaks that a terminal makes."""
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("shares.json", "all 10 boxes lie within 0 to 1: are they shares of the image?"),
        ("corners.json", "all 10 boxes reach over their image, and as two corners"),
    ],
)
def test_boxes_in_another_form(case, name, found):
    case("boxes-in-another-form")
    code, text = check("study.yaml", f"dataset.annotations={name}")
    assert code == 2
    assert found in said(text)


def test_a_broken_file_is_found_at_once(case):
    case("broken-file-late")
    code, text = check("study.yaml")
    assert code == 2
    for name in ("cat/5.jpg", "dog/5.jpg"):
        assert name in said(text).replace(" ", "")


@pytest.mark.parametrize(
    "name", ["text_ids", "float_ids", "no_sizes", "sizes_left_out", "root", "root_same_name"]
)
def test_coco_of_other_programs(case, name):
    case("coco-of-other-programs")
    code, text = check("study.yaml", f"dataset.annotations={name}.json")
    assert code == 0, text
    assert "7 training and 3 validation images, 2 classes" in said(text)


@pytest.mark.parametrize("images", ["images", "."])
def test_backslashes(case, images):
    case("coco-of-other-programs")
    arguments = ("dataset.annotations=backslashes.json", f"dataset.images={images}")
    code, text = check("study.yaml", *arguments)
    assert code == 0, text
    assert "7 training and 3 validation images" in said(text)


@pytest.mark.parametrize("links", ["links", "text"])
def test_no_file_is_dropped_unsaid(case, links):
    """Also where a copy made text files of the links."""
    dog = case("files-dropped") / "photos" / "dog"
    for name, target in {f"gone{n}.png": f"nowhere/{n}.png" for n in range(3)}.items():
        (dog / name).unlink()
        if links == "links":
            (dog / name).symlink_to(target)
        else:
            (dog / name).write_text(target)
    if links == "links":
        (dog / "linked").unlink()
        (dog / "linked").symlink_to("../../store", target_is_directory=True)
    code, text = check("study.yaml")
    assert code == 0, text
    taken = 20 if links == "links" else 18
    assert f"{taken} taken" in said(text)
    for words in ("4 .jfif", "4 .tif", "3 links to nothing"):
        assert words in said(text)


def test_leftover_folders(case):
    data = Dataset(path=case("leftover-folders") / "photos").load(0)
    assert len(data.train) + len(data.validation) == 10
    assert "6 in hidden or tools' folders" in data.notes[0]


def test_sixteen_bits(case):
    folder = case("sixteen-bit-range")
    study = (folder / "study.yaml").read_text()
    path = re.search(r"path: ([^,}\s]+)", study)[1]
    data = Dataset(path=folder / path, channels=1).load(0)
    middles = data.train.batch(np.arange(len(data.train)), View(32)).numpy()[:, 0, 12:20, 12:20]
    means = [middles[data.train.labels == label].mean() for label in (0, 1)]
    assert abs(means[0] - means[1]) > 50
    assert any("16 bits" in note for note in data.notes)


@pytest.mark.parametrize("name", ["train_valid", "train_test", "capitals"])
def test_split_names(case, name):
    data = Dataset(path=case("split-names") / name).load(0)
    assert data.classes == ("oak", "pine")
    shared = Dataset(path=CASES / "split-names" / name, validation=0.5)
    if name == "train_test":  # a share of what trains validates, and the other part is kept
        assert len(shared.load(0).test) == len(data.validation)
        return
    with pytest.raises(UserError, match="holds its own split"):
        shared.load(0)


@pytest.mark.parametrize("name", ["no_extension", "renamed", "zero_size", "float_size", "windows"])
def test_voc_dialects(case, name):
    case("voc-dialects")
    code, text = check("study.yaml", f"dataset.path={name}")
    assert code == 0, text
    assert "3 training and 1 validation images, 2 classes" in said(text)


def test_checkpoints_of_trainers(case, capsys):
    runpy.run_path(str(case("checkpoints-of-trainers") / "try.py"))
    *lines, last, averaged = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert all(line.endswith(" loaded right") for line in (*lines, averaged))
    assert "a pickled argparse.Namespace" in last


def test_a_detector_from_the_weights_of_a_classifier(case):
    folder = case("detector-from-classifier-weights")
    runpy.run_path(str(folder / "make_weights.py"))
    code, text = check("study.yaml")
    assert code == 0
    told = "b0.pth: 304 of 676 weights are taken; new are the neck, class head, box head"
    assert told in said(text)
    (trial,) = run("study.yaml", folder="run").read()["family"]
    assert trial.state == "assessed"
    assert told in (folder / "run" / "log.txt").read_text()


def test_attention_is_counted_and_frozen_and_lazy_modules_are_measured(case, capsys):
    runpy.run_path(str(case("measure-any-module") / "try.py"))
    by_hand, frozen, lazy = capsys.readouterr().out.splitlines()
    assert by_hand == "by hand 2359296 measured 2359296"
    assert re.fullmatch(r"frozen \d+", frozen)
    assert lazy == f"lazy {62 * 62 * 3 * 9 * 8}"


def test_an_exported_file_runs_under_full_backward_hooks(case):
    folder = case("exported-file-elsewhere")
    runpy.run_path(str(folder / "try.py"))
    assert "Python 3.10 or newer" in (folder / "r18.py").read_text().split('"""')[1]


def test_the_squeezes_of_an_onnx_file_are_means(case, capsys):
    pytest.importorskip("onnxscript")
    runpy.run_path(str(case("squeeze-in-half-precision") / "try.py"))
    assert capsys.readouterr().out == "{'ReduceSum': 0, 'Div': 0, 'ReduceMean': 17}\n"


def test_numbers_and_characters(case):
    from scalesearch.study.load import load_study

    folder = case("numbers-and-characters-in-yaml")
    study = load_study(folder / "study.yaml")
    assert study.evaluator.options["learning_rate"] == 0.001
    study = load_study(folder / "study.yaml", ["evaluator.learning_rate=2e-3"])
    assert study.evaluator.options["learning_rate"] == 0.002
    code, text = check("octal.yaml")
    assert code == 2
    assert "0123 reads as another number" in said(text)
    code, text = check("no_break_space.yaml")
    assert code == 2
    assert "U+00A0" in said(text)
