"""Programs of torch.export as a stranger meets them: loaded by torch alone."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import pytest
import torch

from scalesearch.arch.neck import Neck
from scalesearch.cost.measured import measure_counts
from scalesearch.errors import UserError
from scalesearch.exporters import export
from tests.exporters.networks import (
    CASES,
    difference,
    images_for,
    of_size,
    randomised,
    shortened,
    spread,
    tiny_detector,
)

SMALL = shortened("wrn_10_1", "symmetric")
ALONE = """
import json, sys
for name in ("scalesearch", "torchvision", "timm", "fvcore", "onnx"):
    sys.modules[name] = None  # from now on `import` of it fails
import torch
path, images, outputs = sys.argv[1:]
extra = {"about.json": ""}
network = torch.export.load(path, extra_files=extra).module()
torch.save([network(one) for one in torch.load(images)], outputs)
print(json.loads(extra["about.json"])["name"])
"""


@pytest.mark.parametrize(("name", "padding"), CASES)
def test_torch_computes_what_the_network_does(tmp_path, name, padding):
    net = shortened(name, padding)
    model = randomised(net)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (path,) = export(net, tmp_path / "net.pt2", "torch_export", model.state_dict())
    loaded = torch.export.load(path).module()
    for batch in (1, 2, 5):
        images = images_for(net, batch)
        with torch.no_grad():
            wanted = model(images)
        assert difference(loaded(images), wanted) < 1e-5  # with gradients on, as users forget


def test_loads_where_we_cannot_be_imported(tmp_path):
    model = randomised(SMALL)
    (path,) = export(
        SMALL, tmp_path / "a b.pt2", "torch_export", model.state_dict(), {"name": "a net"}
    )
    batches = [images_for(SMALL, batch) for batch in (1, 3)]
    files = [str(tmp_path / name) for name in ("images.pt", "outputs.pt")]
    torch.save(batches, files[0])
    command = [sys.executable, "-I", "-c", ALONE, str(path), *files]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "a net\n"
    for images, got in zip(batches, torch.load(files[1]), strict=True):
        with torch.no_grad():
            assert difference(got, model(images)) < 1e-5


def test_a_detector_puts_out_its_raw_outputs(tmp_path):
    net, size = tiny_detector(neck=Neck(width=8, depth=1, max_level=5)), (64, 96)
    model = spread(net)
    about = {"classes": [f"c{i}" for i in range(net.num_classes)], "ap": 0.5}
    (path,) = export(
        net, tmp_path / "net.pt2", "torch_export", model.state_dict(), about, size=list(size)
    )
    extra = {"about.json": ""}
    loaded = torch.export.load(path, extra_files=extra).module()
    for batch in (1, 2, 5):
        images = of_size(net, batch, size)
        with torch.no_grad():
            wanted = model(images)
        for got, want in zip(loaded(images), wanted, strict=True):
            assert difference(got, want) < 1e-4
    facts = json.loads(extra["about.json"])
    assert {key: facts[key] for key in about} == about
    assert facts["input_size"] == [3, *size]
    anchors = wanted[0].shape[1]
    assert facts["description"].startswith("Object detector: images [batch, 3, ")
    assert f"to logits [batch, {anchors}, {net.num_classes}] and box_deltas" in facts["description"]
    assert facts["flops"] == measure_counts(model, (1, 3, *size))["flops"]


def test_unfolded_it_gives_equal_bits_and_its_facts_go_along(tmp_path, capfd):
    model = randomised(SMALL)
    about = {"classes": list("abcde"), "mean": [0.1, 0.2, 0.3], "accuracy": 0.5}
    (path,) = export(
        SMALL, tmp_path / "net.pt2", "torch_export", model.state_dict(), about, fold=False
    )
    assert "".join(capfd.readouterr()) == ""
    extra = {"about.json": ""}
    loaded = torch.export.load(path, extra_files=extra).module()
    with torch.no_grad():
        assert torch.equal(loaded(images_for(SMALL)), model(images_for(SMALL)))
    facts = json.loads(extra["about.json"])
    assert {key: facts[key] for key in about} == about
    assert facts["input_size"] == [3, 33, 33]
    assert facts["params"] == sum(p.numel() for p in model.parameters())


def test_it_draws_no_random_numbers_and_leaves_the_weights_as_they_are(tmp_path):
    state = randomised(SMALL).state_dict()
    before = {key: value.clone() for key, value in state.items()}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    export(SMALL, tmp_path / "net.pt2", "torch_export", state)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(value, before[key]) for key, value in state.items())


def test_outputs_that_are_no_numbers_are_refused(tmp_path):
    state = randomised(SMALL).state_dict()
    state["classifier.bias"][0] = float("nan")
    with pytest.raises(UserError, match=r"outputs differ by nan of the largest") as caught:
        export(SMALL, tmp_path / "net.pt2", "torch_export", state)
    assert "weights that are not finite" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match=r"'net\.pt' does not end in \.pt2") as caught:
        export(SMALL, tmp_path / "net.pt", "torch_export")
    assert "net.pt2" in caught.value.hint
