"""Exported detectors as a stranger meets them: read, linted, imported without us, and run."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from torch import nn

import scalesearch as ss
from scalesearch.arch.published import published
from scalesearch.cost.measured import measure_counts
from scalesearch.errors import UserError
from scalesearch.exporters import export
from scalesearch.nn.build import build
from scalesearch.nn.postprocess import Letterbox, Selection
from scalesearch.nn.postprocess import detect as our_detect
from tests.detectors import detectors
from tests.exporters.networks import (
    NECKS,
    detections,
    lone_threshold,
    of_size,
    spread,
    tiny_detector,
)
from tests.exporters.test_python import assert_laid_out, load, ruff

ALONE = """
import json, sys
for name in ("scalesearch", "torchvision", "numpy", "timm", "effdet", "optuna", "ray"):
    sys.modules[name] = None  # from now on `import` of it fails
folder, stem, least = sys.argv[1:]
sys.path.insert(0, folder)
import torch
module = __import__(stem)
images = torch.load(f"{folder}/images.pt")
model = module.build()
with torch.no_grad():
    raw = model(images)
found = {}
for suppress in ("hard", "soft"):
    selection = module.Selection(min_score=float(least), suppress=suppress)
    found[suppress] = [tuple(one) for one in module.detect(model, images, selection)]
torch.save((raw, found), f"{folder}/outputs.pt")
sys.modules["safetensors"] = sys.modules["safetensors.torch"] = None
untrained = module.build(weights=False)
print(json.dumps([model.training, len(untrained.state_dict())]))
"""


def assert_found(ours, theirs):
    assert [len(found.scores) for found in ours] == [len(found[1]) for found in theirs]
    for one, (boxes, scores, labels) in zip(ours, theirs, strict=True):
        assert torch.equal(one.labels, labels)
        assert torch.equal(one.scores, scores)
        torch.testing.assert_close(one.boxes, boxes, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("net", "size"),
    [
        (tiny_detector(), (64, 96)),
        pytest.param(published("efficientdet_d0"), (128, 192), marks=pytest.mark.slow),
    ],
    ids=["tiny", "d0"],
)
def test_runs_without_us_and_finds_the_same(tmp_path, net, size):
    model = spread(net)
    export(net, tmp_path / "member.py", weights=model.state_dict())
    images = of_size(net, 3, size)
    torch.save(images, tmp_path / "images.pt")
    least = lone_threshold(net, model, images)
    command = [sys.executable, "-I", "-W", "ignore", "-c", ALONE]
    command += [str(tmp_path), "member", str(least)]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [False, len(model.state_dict())]
    raw, found = torch.load(tmp_path / "outputs.pt")
    with torch.no_grad():
        assert all(map(torch.equal, raw, model(images)))
    for suppress in ("hard", "soft"):
        ours = detections(net, model, images, Selection(min_score=least, suppress=suppress))
        assert sorted(len(one.scores) > 0 for one in ours) == [False, True, True]
        assert_found(ours, found[suppress])


def test_every_neck_and_fusion(tmp_path, subtests):
    for number, (kind, fusion) in enumerate(NECKS):
        fold = number % 2 == 1
        net = tiny_detector(kind, fusion, norm_bias=fold, padding="same" if fold else "symmetric")
        model = spread(net)
        path, _ = export(net, tmp_path / f"{kind}.py", weights=model.state_dict(), fold=fold)
        module = load(path)
        built, wanted = module.build(), ss.fold(model) if fold else model
        with subtests.test(f"{kind} {fusion}"):
            for batch, size in ((1, (64, 64)), (2, (60, 71))):
                images = of_size(net, batch, size)
                with torch.no_grad():
                    assert all(map(torch.equal, built(images), wanted(images)))
                assert_found(detections(net, wanted, images), module.detect(built, images))
            left = [name for name, part in built.named_modules() if type(part) is nn.BatchNorm2d]
            assert all("head" in name for name in left) == fold
            assert left
            if fold:
                state = module.build(folded=False).state_dict()
                pairs = model.state_dict().items()
                assert all(torch.equal(state[key], value) for key, value in pairs)
            assert_laid_out(path.read_text())


@settings(max_examples=8, deadline=None)
@given(net=detectors())
def test_literal_and_table_are_the_networks(tmp_path_factory, net):
    (path,) = export(net, tmp_path_factory.mktemp("out") / "net.py")
    module = load(path)
    assert asdict(module.ARCHITECTURE) == asdict(net)
    assert [tuple(node) for node in module.NODES] == [tuple(node) for node in net.nodes]
    assert_laid_out(path.read_text())


def test_every_definition_is_used_and_what_checks_or_trains_stays_behind(tmp_path):
    (path,) = export(tiny_detector(), tmp_path / "tiny.py")
    text = path.read_text()
    tree = ast.parse(text)
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    assert defined - used == {"build", "detect"}
    for word in ("UserError", "__post_init__", "plugins", "wiring", "import torchvision", "_loss"):
        assert word not in text
    for word in ("Classifier", "Bottleneck", "Wide", "FusionTable", "encode", "match"):
        assert word not in defined
    module = load(path)
    assert module.BLOCKS.keys() == {"mbconv", "separable"}
    assert list(module.ACTIVATIONS) == ["silu"]
    assert ruff("check", "--stdin-filename=scalesearch/net.py", text=text)[0] == 0


def test_boxes_are_of_the_images_before_they_were_resized(tmp_path):
    net = tiny_detector()
    model = spread(net)
    module = load(export(net, tmp_path / "net.py", weights=model.state_dict())[0])
    images = of_size(net, 2, (64, 96))
    places = [Letterbox((128, 192), (64, 96)), Letterbox((100, 50), (60, 30), top=2, left=40)]
    theirs = module.detect(
        module.build(), images, letterboxes=[module.Letterbox(*p) for p in places]
    )
    with torch.no_grad():
        raw = model(images)
    anchors = module.anchor_boxes(net.anchors, net.neck.levels, (64, 96))
    assert_found(our_detect(*raw, anchors, places), theirs)
    assert theirs[0].boxes.max() > 96


def test_facts_stand_in_the_docstring_and_in_constants(tmp_path):
    net = tiny_detector()
    about = {"name": "tiny", "study": "birds", "trial": "search 3", "ap": 0.345678901, "flops": 1}
    about |= {"classes": ["a", "b", "c"], "category_ids": [7, 1, 90]}
    about |= {"mean": [0.5] * 3, "std": [0.25] * 3}
    (path,) = export(net, tmp_path / "small.py", about=about)
    module = load(path)
    counts = measure_counts(build(net).eval(), (1, 3, 64, 64))
    for fact in ("flops", "params", "activations"):
        assert f"{counts[fact]:,}" in module.__doc__
    for said in (
        "Object detector tiny: 4 blocks in 4 stages, neck bifpn fast w16 d2 p3-p7, heads d1.",
        "ap:          0.345679\n",
        "trial:       search 3\n",
        "from small import build, detect",
        # 64 + 16 + 4 + 1 + 1 places of nine anchors
        "[N, 3, 64, 64] to [N, 774, 3]",
        "The labels are in the order of CLASSES.",
    ):
        assert said in module.__doc__
    assert (module.CLASSES, module.CATEGORY_IDS) == (("a", "b", "c"), (7, 1, 90))
    assert (module.INPUT_SIZE, module.MEAN) == ((3, 64, 64), (0.5,) * 3)


def test_category_ids_that_do_not_fit(tmp_path, subtests):
    for ids in ([1, 2], [1, 1, 2], [1, 2, "3"], [True, 2, 3]):
        about = {"category_ids": ids}
        with (
            subtests.test(str(ids)),
            pytest.raises(UserError, match="a whole number for each class, 3 diff") as caught,
        ):
            export(tiny_detector(), tmp_path / "net.py", about=about)
        assert caught.value.key == "about.category_ids"
