from __future__ import annotations

import importlib
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file

import scalesearch as ss


def test_a_published_network_becomes_a_file_that_imports(scalesearch, tmp_path, monkeypatch):
    out = tmp_path / "b0_exported.py"
    done = scalesearch("export", "efficientnet_b0", "-o", out)
    assert done.code == 0
    assert str(out) in done.out
    monkeypatch.syspath_prepend(tmp_path)
    model = importlib.import_module("b0_exported").build(weights=False)
    assert sum(p.numel() for p in model.parameters()) == 5_288_548


def test_a_file_is_named_after_its_network(scalesearch, tmp_path, monkeypatch, whole):
    monkeypatch.chdir(tmp_path)
    done = scalesearch("export", whole.folder.path / "family" / "compound_phi1.yaml")
    assert done.out.split() == ["compound_phi1.py"]
    assert (tmp_path / "compound_phi1.py").exists()


def test_weights_go_with_it(scalesearch, tmp_path, monkeypatch, whole):
    net = whole.folder.path / "family" / "compound_phi1.yaml"
    trial = next(
        t
        for t in whole.folder.read()["family"]
        if dict(t.parameters) == {"strategy": "compound", "phi": 1.0}
    )
    weights = whole.folder.checkpoint("family", trial.number)
    out = tmp_path / "with_weights.py"
    done = scalesearch("export", net, "-o", out, "--weights", weights)
    assert len(done.out.split()) == 2
    monkeypatch.syspath_prepend(tmp_path)
    from safetensors.torch import load_file

    state = importlib.import_module("with_weights").build().state_dict()
    assert all(torch.equal(state[name], value) for name, value in load_file(weights).items())


def test_every_winner_of_a_run(scalesearch, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole.folder.path, run)
    shutil.rmtree(run / "export")
    done = scalesearch("export", run)
    assert done.code == 0
    files = {path.name for path in (run / "export").glob("*.py")}
    assert files == {"baseline.py", *(f"{m.name}.py" for m in whole.folder.family)}
    assert len(done.out.split()) == 2 * len(files)


def test_folded_for_inference(scalesearch, tmp_path, monkeypatch, whole):
    net = whole.folder.path / "family" / "compound_phi1.yaml"
    assert scalesearch("export", net, "-o", tmp_path / "folded_net.py", "--fold").code == 0
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("folded_net")
    names = [[type(m).__name__ for m in module.build(folded=f).modules()] for f in (True, False)]
    assert ["BatchNorm2d" in kinds for kinds in names] == [False, True]


@pytest.mark.parametrize(("form", "suffix"), [("onnx", ".onnx"), ("torch_export", ".pt2")])
def test_other_formats(scalesearch, tmp_path, monkeypatch, whole, form, suffix):
    monkeypatch.chdir(tmp_path)
    net = whole.folder.path / "family" / "compound_phi1.yaml"
    done = scalesearch("export", net, "--format", form)
    assert (done.code, done.out, done.err) == (0, f"compound_phi1{suffix}\n", "")
    assert [file.name for file in tmp_path.iterdir()] == [f"compound_phi1{suffix}"]


TINY = """
backbone:
  resolution: 64
  stem: {width: 8}
  stages: [{block: mbconv, width: 8, stride: 2}, {block: mbconv, width: 8, stride: 2}]
neck: {kind: fpn, width: 8, depth: 1, max_level: 4}
heads: {depth: 1}
num_classes: 2
"""


def test_a_detector_with_the_weights_of_a_file(scalesearch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny_birds.yaml").write_text(TINY)
    model = ss.build(ss.architecture("tiny_birds.yaml"))
    torch.save(model.state_dict(), "weights.pth")
    done = scalesearch("export", "tiny_birds.yaml", "--weights", "weights.pth")
    assert done.out.split() == ["tiny_birds.py", "tiny_birds.safetensors"]
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("tiny_birds")
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        assert all(map(torch.equal, module.build()(images), model.eval()(images)))
    assert len(module.detect(module.build(), images)) == 2


def test_of_weights_and_their_average_the_choice_is_said(scalesearch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "averaged.yaml").write_text(TINY)
    raw, average = (ss.build(ss.architecture("averaged.yaml")).state_dict() for _ in range(2))
    torch.save({"model": raw, "model_ema": average}, "weights.pth.tar")
    done = scalesearch("export", "averaged.yaml", "--weights", "weights.pth.tar")
    assert done.err == (
        "note: the moving average of weights under 'model_ema' is taken, not 'model'\n"
    )
    written = load_file("averaged.safetensors")
    assert torch.equal(written["backbone.stem.conv.weight"], average["backbone.stem.conv.weight"])


def test_the_published_detector_with_effdets_weights(scalesearch, tmp_path, monkeypatch):
    effdet = pytest.importorskip("effdet")
    peer = effdet.create_model(
        "tf_efficientdet_d0", pretrained_backbone=False, image_size=(128, 128)
    )
    torch.save(peer.state_dict(), tmp_path / "effdet.pth")
    out = tmp_path / "d0_of_effdet.py"
    done = scalesearch("export", "efficientdet_d0", "-o", out, "--weights", tmp_path / "effdet.pth")
    assert (done.code, done.err) == (0, "")
    monkeypatch.syspath_prepend(tmp_path)
    model = importlib.import_module("d0_of_effdet").build()
    images = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        theirs = peer.eval()(images)
        for ours, maps in zip(model(images), theirs, strict=True):
            flat = [x.permute(0, 2, 3, 1).reshape(1, -1, ours.shape[-1]) for x in maps]
            torch.testing.assert_close(ours, torch.cat(flat, 1), rtol=0, atol=1e-4)


def test_options_of_a_format(scalesearch, wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    words = ["outputs=detections", "size=[32, 48]", "min_score=0.05"]
    done = scalesearch("export", "tiny.yaml", *words, "--format", "onnx")
    assert (done.code, done.out, done.err) == (0, "tiny.onnx\n", "")
    for option, said in (
        ("outputs", "command line: 'outputs' is not an option\n  allowed: key=value"),
        ("outputs=boxes", "raw, detections"),
        ("sise=[32, 48]", "did you mean 'size'"),
        ("fold=7", "true or false"),
    ):
        assert said in wrong("export", "tiny.yaml", option, "--format", "onnx")


def test_without_onnx_it_says_what_to_install(wrong, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "pip install 'scalesearch[onnx]'" in wrong("export", "resnet18", "--format", "onnx")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["efficientnet_b0", "--format", "onnnx"], "onnnx"),
        (["efficientnet_b0", "--weights", "missing.safetensors"], "missing.safetensors"),
        (["efficientnet_b77"], "efficientnet_b77"),
    ],
)
def test_mistakes(wrong, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in wrong("export", *arguments)


def test_mistakes_with_a_run(wrong, whole, tmp_path):
    assert "its own weights" in wrong("export", whole.folder.path, "--weights", "x.safetensors")
    assert "is not a run folder" in wrong("export", tmp_path)
