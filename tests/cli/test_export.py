from __future__ import annotations

import importlib
import shutil
import sys

import pytest
import torch


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
    assert "is no run folder" in wrong("export", tmp_path)
