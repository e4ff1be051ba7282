"""Networks of factories in every format."""

import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scalesearch.arch.factory import Factory
from scalesearch.errors import UserError
from scalesearch.exporters import export
from scalesearch.nn.build import build
from tests.factories import FIVE

ROOT = Path(__file__).parents[2]
NET = Factory(factory=FIVE, width=0.5, resolution=16, in_channels=1, num_classes=3)
IMAGES = torch.linspace(-1, 1, 2 * 16 * 16).reshape(2, 1, 16, 16)
RUN = """
import sys, torch
import net
model = net.build()
images = torch.linspace(-1, 1, 2 * 16 * 16).reshape(2, 1, 16, 16)
torch.save((model(images), net.CLASSES, net.INPUT_SIZE), "outputs.pt")
print("scalesearch" in sys.modules)
"""


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build(NET).eval()


def run(tmp_path):
    """Runs the exported file in a process of its own, which finds the factory in our checkout."""
    code = f"import sys; sys.path.append({str(ROOT)!r})\n{RUN}"
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    return ran.stdout.strip()


def test_a_python_file_calls_the_factory(model, tmp_path):
    about = {"classes": ["a", "b", "c"], "accuracy": 0.5}
    paths = export(NET, tmp_path / "net.py", weights=model.state_dict(), about=about)
    assert [path.name for path in paths] == ["net.py", "net.safetensors"]
    text = paths[0].read_text()
    assert "This file needs torch and studies.five_layers" in " ".join(text.split())
    assert "run it where that module can be imported" in " ".join(text.split())
    assert "from studies.five_layers import build as factory" in text
    assert run(tmp_path) == "False"
    outputs, classes, size = torch.load(tmp_path / "outputs.pt", weights_only=False)
    assert torch.allclose(outputs, model(IMAGES), atol=1e-6)
    assert (classes, size) == (("a", "b", "c"), (1, 16, 16))


@pytest.mark.parametrize("options", [{}, {"base": 8}])
def test_a_python_file_is_laid_out_by_the_rules_of_the_project(options, tmp_path):
    """Whoever exports into a checkout has no more for a linter to say."""
    factory = "tests.factories:wide" if options else FIVE
    net = replace(NET, factory=factory, in_channels=3 if options else 1, options=options)
    (path,) = export(net, tmp_path / "net.py")
    name = ["--stdin-filename", "net.py", "-"]
    for words in (["check", *name], ["format", "--diff", *name]):
        command = [sys.executable, "-m", "ruff", *words]
        done = subprocess.run(
            command, input=path.read_bytes(), capture_output=True, cwd=ROOT, check=False
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()


def test_a_python_file_of_a_librarys_model_needs_the_library_alone(tmp_path):
    net = Factory(
        factory="torchvision:mobilenet_v2", width=0.35, resolution=16, in_channels=1, num_classes=3
    )
    (path, *_) = export(net, tmp_path / "net.py", about={"classes": "abc"})
    assert "import scalesearch" not in path.read_text()
    assert "from scalesearch" not in path.read_text()
    assert runpy.run_path(str(path))["build"]()(IMAGES).shape == (2, 3)


def test_programs_compute_the_same(model, tmp_path):
    (path,) = export(NET, tmp_path / "net.pt2", "torch_export", model.state_dict())
    program = torch.export.load(path).module()
    assert torch.allclose(program(IMAGES), model(IMAGES), atol=1e-5)


@pytest.mark.slow
def test_onnx_files_compute_the_same(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    (path,) = export(NET, tmp_path / "net.onnx", "onnx", model.state_dict())
    session = onnxruntime.InferenceSession(path)
    (outputs,) = session.run(None, {"images": IMAGES.numpy()})
    assert torch.allclose(torch.from_numpy(outputs), model(IMAGES), atol=1e-5)


def test_what_is_called_has_no_folded_form(tmp_path):
    with pytest.raises(UserError, match="fold: what a factory builds is called, not written"):
        export(NET, tmp_path / "net.py", fold=True)


def test_weights_that_do_not_fit(model, tmp_path):
    state = {name: value for name, value in model.state_dict().items() if name != "0.weight"}
    with pytest.raises(UserError, match=r"0\.weight"):
        export(NET, tmp_path / "net.py", weights=state)
