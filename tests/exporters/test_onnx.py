"""ONNX files as a stranger meets them: read by onnx, run by ONNX Runtime."""

from __future__ import annotations

import json
import sys
import warnings

import onnx
import onnxruntime
import pytest
import torch

from scalesearch.cost.measured import measure_counts
from scalesearch.errors import UserError
from scalesearch.exporters import _torch_network, export
from scalesearch.exporters.onnx import Exporter
from tests.exporters.networks import CASES, difference, images_for, randomised, shortened

SMALL = shortened("wrn_10_1", "symmetric")


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


@pytest.mark.parametrize(("name", "padding"), CASES)
def test_onnx_runtime_computes_what_the_network_does(tmp_path, name, padding):
    net = shortened(name, padding)
    model = randomised(net)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (path,) = export(net, tmp_path / "net.onnx", "onnx", model.state_dict())
    for batch in (1, 2, 5):
        images = images_for(net, batch)
        with torch.no_grad():
            assert difference(run(path, images), model(images)) < 1e-4
    # Folded: no batch norm is left but those that stand before their convolutions.
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert ("BatchNormalization" in kinds) == name.startswith("wrn")
    # Any number of images takes no arithmetic on shapes, which some runtimes cannot do.
    assert not kinds & {"Shape", "Gather", "Range", "Slice", "Cast"}


def test_names_and_metadata_of_the_file(tmp_path, capfd):
    about = {"study": "quick", "accuracy": 0.75, "classes": list("abcde"), "flops": 1}
    about |= {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5)}
    (path,) = export(SMALL, tmp_path / "net.onnx", "onnx", about=about)
    assert "".join(capfd.readouterr()) == ""
    file = onnx.load(path)
    onnx.checker.check_model(file, full_check=True)
    shapes = [
        (value.name, [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim])
        for value in (*file.graph.input, *file.graph.output)
    ]
    assert shapes == [("images", ["batch", 3, 33, 33]), ("logits", ["batch", 5])]
    facts = {entry.key: entry.value for entry in file.metadata_props}
    counts = measure_counts(randomised(SMALL), (1, 3, 33, 33))
    assert facts["name"] == "net"
    for key in ("flops", "params", "activations"):
        assert int(facts[key]) == counts[key]
    assert json.loads(facts["classes"]) == list("abcde")
    assert json.loads(facts["mean"]) == [0.1, 0.2, 0.3]
    assert json.loads(facts["std"]) == [0.5, 0.5, 0.5]
    assert (file.graph.name, file.producer_name) == ("net", "scalesearch")
    assert (facts["study"], facts["accuracy"], len(facts["digest"])) == ("quick", "0.75", 16)
    assert "images [batch, 3, 33, 33]" in facts["description"]
    assert b"site-packages" not in path.read_bytes()  # nothing of the machine it was made on
    assert b".py" not in path.read_bytes()


def test_batch_norms_may_be_kept(tmp_path):
    """And the images may have another size."""
    model, images = randomised(SMALL), torch.randn(2, 3, 40, 24)
    words = {"fold": False, "size": (40, 24)}
    (path,) = export(SMALL, tmp_path / "net.onnx", "onnx", model.state_dict(), **words)
    with torch.no_grad():
        assert difference(run(path, images), model(images)) < 1e-4


def test_weights_that_are_too_large_for_one_file_go_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr("scalesearch.exporters._onnx_file.MOST_INSIDE", 1000)
    model = randomised(SMALL)
    files = export(SMALL, tmp_path / "net.onnx", "onnx", model.state_dict())
    assert files == [tmp_path / "net.onnx", tmp_path / "net.onnx.data"]
    assert sorted(tmp_path.iterdir()) == files
    assert files[0].stat().st_size < 20_000 < 300_000 < files[1].stat().st_size
    images = images_for(SMALL)
    with torch.no_grad():
        assert difference(run(files[0], images), model(images)) < 1e-4


def test_without_onnx_runtime_it_says_that_outputs_were_not_compared(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.warns(UserWarning, match=r"net\.onnx was not run: ONNX Runtime is not installed"):
        (path,) = export(SMALL, tmp_path / "net.onnx", "onnx")
    assert path.exists()


def test_a_missing_package_is_reported_before_anything_is_trained(monkeypatch):
    for missing in ("onnx", "onnxscript"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, missing, None)
            with pytest.raises(UserError, match=f"cannot be written without {missing}") as caught:
                Exporter()
        assert caught.value.hint == "pip install 'scalesearch[onnx]'"


def test_other_outputs_are_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(_torch_network, "TOLERANCE", 0.0)
    with pytest.raises(UserError, match="computes something else than the network"):
        export(SMALL, tmp_path / "net.onnx", "onnx", randomised(SMALL).state_dict())
    assert list(tmp_path.iterdir()) == []


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match=r"'net\.py' does not end in \.onnx") as caught:
        export(SMALL, tmp_path / "net.py", "onnx")
    assert "net.onnx" in caught.value.hint
    with pytest.raises(UserError, match=r"about\.classes: there are 1 names for 5 classes"):
        export(SMALL, tmp_path / "net.onnx", "onnx", about={"classes": ["a"]})
    with pytest.raises(UserError, match="'onnx' has no option 'folds'") as caught:
        export(SMALL, tmp_path / "net.onnx", "onnx", folds=True)
    assert "fold" in caught.value.hint
    with pytest.raises(UserError, match="fold"):
        Exporter(fold="yes")
