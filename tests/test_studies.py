"""Every study of `studies/` runs from its search to its export, in a smoke size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from scalesearch.cli.main import app
from scalesearch.interfaces import ImageData
from scalesearch.study.load import load_study
from scalesearch.study.members import members_of
from tests.benchmarks.search import DATA
from tests.smoke import SMOKE, TABLES

ROOT = Path(__file__).parents[1]
STUDIES = sorted([*(ROOT / "studies").glob("*.yaml"), *(ROOT / "studies").glob("paper/*.yaml")])
IN_PAGES = ("detection_quickstart", "efficientnet_figure8", "five_layers")
# Of the papers' studies the others take the same way: that they can be made is tested here.
PAPER = {path.stem for path in STUDIES if path.parent.name == "paper"} - {"wide_resnet_grid"}


def test_every_study_is_valid_and_has_a_smoke_size():
    assert {path.stem for path in STUDIES} == set(SMOKE)
    for path in STUDIES:
        assert load_study(path).name == path.stem
        load_study(path, SMOKE[path.stem])


@pytest.fixture
def photographs(tmp_path):
    """Some images of two classes, which every study of one's own images can be run on."""
    draws = np.random.default_rng(0)
    for label in ("dark", "light"):
        folder = tmp_path / "images" / label
        folder.mkdir(parents=True)
        for number in range(8):
            pixels = draws.integers(0, 128, (40, 48, 3)) + 127 * (label == "light")
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "images"


def test_the_studies_of_the_pages_run_there():
    """Their commands are run by `test_docs.py`, in the same smoke size."""
    pages = [*ROOT.glob("docs/*.md"), ROOT / "README.md"]
    commands = "\n".join(page.read_text() for page in pages)
    paths = {path.stem: path.relative_to(ROOT) for path in STUDIES}
    assert all(f"scalesearch run {paths[stem]}" in commands for stem in IN_PAGES)


@pytest.mark.parametrize("path", [p for p in STUDIES if p.stem in PAPER], ids=lambda p: p.stem)
def test_the_papers_networks_can_be_made(path):
    """At the small size, and with the papers' own baseline."""
    settings = load_study(path)
    source = Path(settings.baseline.source).stem
    imagenet = [f"baseline={source}", f"dataset={{name: image_folder, path: {ROOT}}}"]
    assert f"baseline={source} 'dataset={{name: image_folder, path: IMAGENET}}'" in path.read_text()
    evaluator = "{name: training, epochs: 90, batch_size: 128, seeds: 3}"
    assert f"'evaluator={evaluator}'" in path.read_text()
    for overrides in ([], [*imagenet, f"evaluator={evaluator}", "execution.gpus=1"]):
        study = load_study(path, overrides)
        net = study.baseline.make()
        images = ImageData(
            train=None, validation=None, classes=("",) * net.num_classes, mean=(), std=(),
            channels=net.in_channels, flip=False,
        )  # fmt: skip
        family = members_of(study, net, study.coefficients, images)
        asked = len(study.family.phi) * len(study.family.strategies)
        assert len(family) >= asked + len(study.family.lines)
        assert len({member.name for member in family}) == len(family)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [path for path in STUDIES if path.stem not in {*IN_PAGES, *PAPER}],
    ids=lambda path: path.stem,
)
def test_every_other_study_runs(path, tmp_path, photographs, monkeypatch):
    if (table := TABLES.get(path.stem)) is not None:
        if not (DATA / table).exists():
            pytest.skip(f"there is no {table} in $SCALESEARCH_DATA")
        monkeypatch.setenv("SCALESEARCH_DATA", str(DATA))
    folder, overrides = tmp_path / "run", list(SMOKE[path.stem])
    if "image_folder" in path.read_text():
        overrides.append(f"dataset.path={photographs}")
    result = CliRunner().invoke(app, ["run", str(path), "--folder", str(folder), *overrides])
    assert result.exit_code == 0, f"{result.output}\n{result.exception}"
    study = load_study(path, overrides)
    assert (folder / "report.html").stat().st_size > 10_000
    assert (folder / "trials.csv").read_text().count("assessed") >= 2
    assert (folder / "detections" / "truth.json").is_file() == (study.task == "detection")
    exports = sorted((folder / "export").glob("*.py")) if study.export else []
    assert bool(exports) == bool(study.export)
    if exports:
        run_alone(exports[-1])


def run_alone(path):
    """An exported network runs where scalesearch cannot be imported."""
    code = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "scalesearch":
            raise ImportError(name)
sys.meta_path.insert(0, Hidden())
sys.path.insert(0, {str(path.parent)!r})
import torch, {path.stem} as exported
net = exported.ARCHITECTURE
backbone = getattr(net, "backbone", net)
side = backbone.resolution
outputs = exported.build()(torch.zeros(1, backbone.in_channels, side, side))
print(type(outputs).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("Tensor", "tuple")
