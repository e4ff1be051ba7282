"""An exported classifier away from home: under hooks, traced, quantised, compiled, in 8 bits."""

from __future__ import annotations

import ast
import copy
import importlib.util
import itertools
import logging
import sys
import warnings
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static
from torch import nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization import quantize_dynamic as dynamic
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx, prepare_qat_fx
from torch.fx.experimental.optimization import fuse

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.neck import Neck
from scalesearch.arch.published import names, published
from scalesearch.arch.stage import Stage
from scalesearch.cost.measured import measure_counts
from scalesearch.exporters import export
from scalesearch.nn.build import build
from tests.exporters.networks import (
    CASES,
    FAMILIES,
    NECKS,
    difference,
    images_for,
    of_size,
    randomised,
    shortened,
    spread,
    tiny_detector,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
numbers = itertools.count()
PADDINGS = ("same", "symmetric")


def load(path):
    """The exported file as a module."""
    spec = importlib.util.spec_from_file_location(f"elsewhere_{next(numbers)}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def exported(folder, net, weights=None):
    """The network that an exported file builds."""
    path, *_ = export(net, folder / "net.py", weights=weights)
    return load(path).build()


def calibrated(net):
    """A network whose statistics are those of random images, so that its maps fit 8 bits."""
    torch.manual_seed(0)
    model = build(net).train()
    with torch.no_grad():
        for _ in range(20):
            model(torch.randn(16, net.in_channels, net.resolution, net.resolution))
    return model.eval()


# 1. Hooks.


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_full_backward_hooks_see_every_module_and_change_nothing(tmp_path, name, kind):
    net = shortened(name, "symmetric")
    model, seen = exported(tmp_path, net).train(), set()
    hooked = copy.deepcopy(model)
    for part_name, part in hooked.named_modules():
        getattr(part, kind)(lambda *_, part_name=part_name: seen.add(part_name))
    for one in (model, hooked):
        torch.manual_seed(1)
        one(images_for(net).requires_grad_()).sum().backward()
    for plain, other in zip(model.parameters(), hooked.parameters(), strict=True):
        assert torch.equal(plain.grad, other.grad)
    assert {"", "stem.conv", "classifier"} <= seen


# 2. The least Python.

OTHERS = ("torch", "safetensors")
# What exported files import of the standard library: all of it is in Python 3.10.
STANDARD = {
    "": {"copy", "math", "torch"},
    "__future__": {"annotations"},
    "collections.abc": {"Callable", "Iterator", "Mapping", "Sequence"},
    "dataclasses": {"dataclass", "field", "replace"},
    "functools": {"cache", "cached_property", "partial"},
    "pathlib": {"Path"},
    "typing": {"Any", "NamedTuple", "TypeVar"},
}


@pytest.mark.parametrize(
    "net",
    [*(shortened(name, "same") for name in FAMILIES), *(tiny_detector(*neck) for neck in NECKS)],
)
def test_the_head_names_the_least_python_and_the_file_keeps_to_it(tmp_path, net):
    for fold in (False, True):
        path, _ = export(net, tmp_path / "net.py", weights=build(net).state_dict(), fold=fold)
        text = path.read_text()
        tree = ast.parse(text, feature_version=(3, 10))
        head = ast.get_docstring(tree)
        assert "This file needs Python 3.10 or newer and torch 2." in head
        assert "Its weights are in net.safetensors beside it, which needs safetensors." in head
        imports = {
            (getattr(node, "module", ""), one.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for one in node.names
        }
        ours = {(home, name) for home, name in imports if home.split(".")[0] not in OTHERS}
        assert ours <= {(home, name) for home, taken in STANDARD.items() for name in taken}
    (path,) = export(net, tmp_path / "bare.py")
    assert "It was exported without weights." in load(path).__doc__


# 3. Graphs in PyTorch.


def assert_traces(net, model):
    """By torch.fx in either mode; for images of any size, with equal bits, and to be trained."""
    images = images_for(net)
    other = torch.randn(3, net.in_channels, 40, 45)
    for training in (False, True):
        model.train(training)
        traced = torch.fx.symbolic_trace(model)
        for batch in (images, other):
            torch.manual_seed(0)
            expected = model(batch)
            torch.manual_seed(0)
            assert torch.equal(traced(batch), expected)
    traced(images).sum().backward()
    with torch.no_grad():
        assert torch.equal(torch.fx.symbolic_trace(model.eval())(images), model(images))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("name", FAMILIES)
def test_torch_fx_traces_every_family(tmp_path, name, padding):
    net = replace(shortened(name, padding), drop_path=0.2)
    assert_traces(net, exported(tmp_path, net))


def test_torch_fx_traces_what_a_space_may_hold(tmp_path):
    """Shortcuts that widen, narrow and stride, other kernels, grey images; and folded files."""
    stages = (
        Stage(width=8, depth=2, se=1 / 24, kernel=5),
        Stage(block="identity", width=16, stride=2),
        Stage(block="fused_mbconv", width=16, depth=2, expand=4, se=0.25, kernel=7),
        Stage(block="identity", width=12, depth=2),
        Stage(block="wide", width=12, depth=2, stride=2),
    )
    for act in ("silu", "hardswish", "relu6", "relu"):
        net = Backbone(stages=stages, resolution=33, in_channels=1, activation=act, padding="same")
        assert_traces(net, exported(tmp_path, net))
        path, *_ = export(net, tmp_path / "folded.py", fold=True)
        folded, images = load(path).build(), images_for(net)
        assert torch.equal(torch.fx.symbolic_trace(folded)(images), folded(images))


@pytest.mark.slow
def test_torch_fx_traces_every_published_classifier(tmp_path, subtests):
    """Those that differ in depths and widths alone, in one padding each."""
    for number, name in enumerate(names()):
        net = published(name, num_classes=5, resolution=33)
        if isinstance(net, Backbone):
            padding = PADDINGS[number % len(PADDINGS)]
            with subtests.test(f"{name} {padding}"):
                model = exported(tmp_path, replace(net, padding=padding)).eval()
                images = images_for(net)[:1]
                with torch.no_grad():
                    assert torch.equal(torch.fx.symbolic_trace(model)(images), model(images))


def test_a_traced_network_costs_the_same():
    net = shortened("efficientnet_b0", "same")
    model, shape = build(net), (1, 3, 33, 33)
    assert measure_counts(torch.fx.symbolic_trace(model), shape) == measure_counts(model, shape)


@pytest.mark.parametrize(("name", "padding"), CASES)
def test_fused_traced_and_exported_programs_compute_the_same(tmp_path, name, padding):
    net = shortened(name, padding)
    model, images = exported(tmp_path, net, randomised(net).state_dict()), images_for(net)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and its trace fixes the padding
        expected = model(images)
        assert difference(fuse(model)(images), expected) < 1e-4
        assert difference(torch.jit.trace(model, images)(images), expected) < 1e-5
    for strict in (True, False):  # with gradients on
        program = torch.export.export(model, (images,), strict=strict).module()
        assert difference(program(images).detach(), expected) < 1e-5
    kinds = {node.target for node in program.graph.nodes if node.op == "call_function"}
    assert not kinds & {torch.ops.aten.sum.dim_IntList, torch.ops.aten.div.Tensor}


@pytest.mark.filterwarnings("ignore")
def test_torch_jit_script_does_not_work(tmp_path):
    """As the documents say: it reads neither tables nor names of functions."""
    with pytest.raises(RuntimeError):
        torch.jit.script(exported(tmp_path, shortened("resnet18", "symmetric")))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_lite0", "resnet18", "wrn_10_1"])
def test_torch_compile_takes_the_whole_network(tmp_path, name):
    net = shortened(name, "same")
    model, images = exported(tmp_path, net, randomised(net).state_dict()), images_for(net)
    torch._dynamo.reset()
    with torch.no_grad():
        assert difference(torch.compile(model, fullgraph=True)(images), model(images)) < 1e-4
    torch._dynamo.reset()
    trained = copy.deepcopy(model).train()
    torch.compile(trained, fullgraph=True, backend="aot_eager")(images).sum().backward()
    assert all(p.grad is not None for p in trained.parameters())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_lite0", "resnet18"])
def test_8_bits_by_torch(tmp_path, name):
    """Post-training quantisation by torch.fx, with its training, and of linear layers alone."""
    net = shortened(name, "symmetric")
    weights, images = calibrated(net).state_dict(), images_for(net, 8)
    model = exported(tmp_path, net, weights)
    with torch.no_grad():
        expected = model(images)
        prepared = prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping(), (images,))
        prepared(images)
        converted = convert_fx(prepared)
        assert difference(converted(images), expected) < 0.4
        assert difference(dynamic(model, {nn.Linear})(images), expected) < 0.1
    kinds = [type(part).__module__ for part in converted.modules()]
    assert sum("quantized" in kind for kind in kinds) > len(list(model.children()))
    trained = prepare_qat_fx(copy.deepcopy(model).train(), get_default_qconfig_mapping(), (images,))
    trained(images).sum().backward()
    with torch.no_grad():
        assert convert_fx(trained.eval())(images).shape == expected.shape


# 4. ONNX.


class Images(CalibrationDataReader):
    def __init__(self, net):
        self.batches = iter([{"images": images_for(net, n).numpy()} for n in range(2, 10)])

    def get_next(self):
        return next(self.batches, None)


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


@pytest.mark.parametrize(
    ("name", "padding"),
    [
        ("resnet18", "same"),
        ("efficientnet_b0", "symmetric"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                ("efficientnet_lite0", "same"),
                ("wrn_10_1", "symmetric"),
            ]
        ),
    ],
)
def test_8_bits_by_onnx_runtime(tmp_path, monkeypatch, name, padding):
    monkeypatch.setattr(logging.getLogger(), "disabled", True)  # it recommends preprocessing
    net = shortened(name, padding)
    model, images = calibrated(net), images_for(net, 8)
    (path,) = export(net, tmp_path / "net.onnx", "onnx", model.state_dict())
    with torch.no_grad():
        expected = model(images)
    quantize_static(path, tmp_path / "static.onnx", Images(net), per_channel=True)
    assert difference(run(tmp_path / "static.onnx", images), expected) < 0.3
    quantize_dynamic(path, tmp_path / "dynamic.onnx", op_types_to_quantize=["MatMul", "Gemm"])
    assert difference(run(tmp_path / "dynamic.onnx", images), expected) < 0.1
    kinds = [node.op_type for node in onnx.load(tmp_path / "static.onnx").graph.node]
    assert kinds.count("QuantizeLinear") > kinds.count("Relu")


def constants(graph):
    return {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}


@pytest.mark.parametrize(("fold", "padding"), [(True, "same"), (False, "symmetric")])
def test_a_squeeze_is_a_mean(tmp_path, padding, fold):
    """A sum over 112 x 112 pixels of mean 6.5 is 81,536; float16 ends at 65,504."""
    net = shortened("efficientnet_b0", padding)
    (path,) = export(net, tmp_path / "net.onnx", "onnx", fold=fold)
    graph = onnx.load(path).graph
    kinds = [node.op_type for node in graph.node]
    assert not {"ReduceSum", "Div"} & set(kinds)
    squeezes = sum(stage.depth for stage in net.stages if stage.se)
    assert kinds.count("ReduceMean") + kinds.count("GlobalAveragePool") == squeezes + 1  # the head


def test_means_that_float16_can_hold_whose_sums_it_cannot(tmp_path):
    """Every tensor of the file is within float16, though a sum in the first squeeze is not."""
    net = replace(shortened("efficientnet_b0", "symmetric"), resolution=224)
    model = randomised(net)
    first = model.stages[0][0].depthwise.norm
    with torch.no_grad():
        first.weight.zero_()
        first.bias.fill_(6.5)
    (path,) = export(net, tmp_path / "net.onnx", "onnx", model.state_dict())
    file = onnx.load(path)
    for node in file.graph.node:
        file.graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output)
    images = images_for(net, 1)
    session = onnxruntime.InferenceSession(file.SerializeToString())
    values = session.run(None, {"images": images.numpy()})
    means = next(v for v in values if v.shape[2:] == (1, 1))
    assert means.mean() * 112 * 112 > 65504
    assert max(float(np.abs(v).max()) for v in values) < 65504
    with torch.no_grad():
        expected, halved = model(images), exported(tmp_path, net, model.state_dict()).half()
        assert difference(halved(images.half()).float(), expected) < 0.05


@pytest.mark.parametrize(
    "net",
    [
        pytest.param(shortened("resnet18", "same"), id="stem"),
        pytest.param(
            tiny_detector(neck=Neck(width=8, depth=1), padding="same"),
            id="neck",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_max_pooling_pads_for_itself(tmp_path, net):
    """Minus infinity stands nowhere in the file, as no 8-bit scale could be fitted to it."""
    detects = not isinstance(net, Backbone)
    model = spread(net) if detects else randomised(net)
    for size in ((40, 72), (33, 65)):
        (path,) = export(net, tmp_path / "net.onnx", "onnx", model.state_dict(), size=size)
        graph = onnx.load(path).graph
        kinds = {node.op_type for node in graph.node}
        assert "MaxPool" in kinds
        assert "Pad" not in kinds
        assert all(np.isfinite(value).all() for value in constants(graph).values())
        images = of_size(net, 2, size)
        session = onnxruntime.InferenceSession(str(path))
        outputs = session.run(None, {"images": images.numpy()})
        with torch.no_grad():
            expected = model(images)
        for actual, wanted in zip(outputs, expected if detects else [expected], strict=True):
            assert difference(torch.from_numpy(actual), wanted) < 1e-4
