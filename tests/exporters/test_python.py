"""Exported files as a stranger meets them: read, linted, imported without us, and run."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import json
import re
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.published import published
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.cost.measured import measure_counts
from scalesearch.errors import UserError
from scalesearch.exporters import export
from scalesearch.nn.build import build
from scalesearch.nn.fold import fold
from tests.exporters.networks import images_for, randomised

SMALL = Backbone(
    resolution=32,
    in_channels=1,
    num_classes=3,
    stem=Stem(width=8),
    stages=(
        Stage(width=8, depth=2, se=1 / 24, kernel=5),
        Stage(block="identity", width=16, stride=2),
        Stage(width=16, depth=2, expand=4, se=0.25),
    ),
    head=Head(width=32, dropout=0.2),
    drop_path=0.2,
    norm_eps=1e-3,
)
HOSTILE = 'a """ b \\ c\nd\r\u2028\u202e \x00 \'e" é {x} \\N{DASH} \ud800 ' + "long " * 40
numbers = itertools.count()


def load(path):
    """The exported file as a module."""
    spec = importlib.util.spec_from_file_location(f"exported_{next(numbers)}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def ruff(*words, text):
    command = [sys.executable, "-m", "ruff", *words, "-"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


def assert_laid_out(text):
    """It is as ruff would write it."""
    assert ruff("format", "--isolated", "--line-length=100", "--diff", text=text)[0] == 0, text
    assert ruff("check", "--isolated", text=text) == (0, "All checks passed!\n")


@st.composite
def backbones(draw):
    share = st.one_of(st.sampled_from([0.0, 0.25, 1 / 24]), st.floats(0, 1))
    stage = st.builds(
        Stage,
        block=st.sampled_from(sorted(BLOCK_FIELDS)),
        width=st.integers(1, 10**9),
        depth=st.integers(1, 4),
        stride=st.integers(1, 3),
        kernel=st.sampled_from([1, 3, 5]),
        expand=st.integers(1, 6),
        se=share,
    )
    return Backbone(
        stages=tuple(draw(st.lists(stage, min_size=1, max_size=4))),
        stem=draw(st.builds(Stem, width=st.integers(1, 99), stride=st.integers(1, 2))),
        head=draw(st.builds(Head, width=st.integers(1, 99), dropout=share)),
        resolution=draw(st.integers(1, 999)),
        in_channels=draw(st.integers(1, 4)),
        num_classes=draw(st.integers(1, 9)),
        activation=draw(st.sampled_from(["silu", "relu", "relu6", "hardswish"])),
        padding=draw(st.sampled_from(["symmetric", "same"])),
        drop_path=draw(share),
        norm_eps=draw(share),
    )


ALONE = """
import json, sys
for name in ("scalesearch", "torchvision", "timm", "fvcore", "optuna", "ray", "numpy.typing"):
    sys.modules[name] = None  # from now on `import` of it fails
folder, stem = sys.argv[1:]
sys.path.insert(0, folder)
import torch
module = __import__(stem)
images = torch.load(f"{folder}/images.pt")
model = module.build()
with torch.no_grad():
    plain = model(images)
    last = model.to(memory_format=torch.channels_last)(
        images.to(memory_format=torch.channels_last)
    )
torch.save((plain, last), f"{folder}/outputs.pt")
sys.modules["safetensors"] = sys.modules["safetensors.torch"] = None
untrained = module.build(weights=False)
print(json.dumps([model.training, untrained.training, len(untrained.state_dict())]))
"""


@pytest.mark.parametrize(
    ("net", "resolution"),
    [
        (SMALL, 32),
        pytest.param(
            published("efficientnet_b0", padding="same", num_classes=7),
            63,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["small", "b0"],
)
def test_runs_without_us_and_gives_equal_bits(tmp_path, net, resolution):
    model = randomised(net)
    files = export(net, tmp_path / "new" / "member.py", weights=model.state_dict())
    assert files == [tmp_path / "new" / "member.py", tmp_path / "new" / "member.safetensors"]
    assert all(file.is_file() for file in files)

    folder = files[0].parent
    images = torch.randn(2, net.in_channels, resolution, resolution)
    torch.save(images, folder / "images.pt")
    command = [sys.executable, "-I", "-c", ALONE, str(folder), "member"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [False, False, len(model.state_dict())]

    plain, last = torch.load(folder / "outputs.pt")
    with torch.no_grad():
        assert torch.equal(plain, model(images))
        model.to(memory_format=torch.channels_last)
        assert torch.equal(last, model(images.to(memory_format=torch.channels_last)))
    assert plain.std() > 0


def test_nothing_but_torch_is_imported(tmp_path):
    (path,) = export(SMALL, tmp_path / "small.py")
    code = path.read_text().split('"""', 2)[2]  # behind the docstring
    modules = re.findall(r"^ *(?:from|import) (\w+)", code, re.M)
    assert set(modules) - sys.stdlib_module_names == {"torch", "safetensors"}
    # safetensors only where weights are loaded
    assert "\nfrom safetensors" not in code


def test_every_definition_is_used_and_the_file_stays_short(tmp_path):
    (path,) = export(SMALL, tmp_path / "small.py")
    text = path.read_text()
    tree = ast.parse(text)
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    assert defined - used == {"build"}
    assert len(text.splitlines()) < 500
    for word in ("UserError", "__post_init__", "nearest", "label", "import scalesearch"):
        assert word not in text
    # Neither blocks nor activations that the network does not have, nor the tables that check them.
    for word in ("Basic", "Bottleneck", "Wide", "Separable", "Fused", "projection"):
        assert word not in defined
    for word in ("F.relu", "F.hardswish", "BLOCK_FIELDS"):
        assert word not in text
    assert load(path).BLOCKS.keys() == {"mbconv", "identity"}
    assert list(load(path).ACTIVATIONS) == ["silu"]


def test_a_folded_file_builds_for_inference_and_keeps_the_weights_as_they_were(tmp_path, subtests):
    for block in ("mbconv", "separable", "bottleneck", "wide"):
        norm = block != "wide"
        net = replace(
            SMALL,
            stem=Stem(width=8, norm=norm),
            stages=(Stage(block=block, width=16, depth=2, stride=2),),
            head=Head(width=0, norm=not norm),
            activation="relu6",
            padding="same",
        )
        model, images = randomised(net), images_for(net)
        path, _ = export(net, tmp_path / f"{block}.py", weights=model.state_dict(), fold=True)
        module = load(path)
        with subtests.test(block), torch.no_grad():
            assert torch.equal(module.build()(images), fold(model)(images))
            assert torch.equal(module.build(folded=False)(images), model(images))
            assert "for inference, batch norms folded" in module.__doc__
            assert module.BLOCKS.keys() == {block}
            assert_laid_out(path.read_text())


@settings(max_examples=20, deadline=None)
@given(net=backbones())
def test_literal_is_the_network_and_ruff_has_nothing_to_say(tmp_path_factory, net):
    (path,) = export(net, tmp_path_factory.mktemp("out") / "net.py")
    assert asdict(load(path).ARCHITECTURE) == asdict(net)
    assert_laid_out(path.read_text())


def test_passes_the_rules_of_the_project(tmp_path):
    about = {
        "name": "Member φ=1",
        "study": "quickstart",
        "accuracy": 0.9123456789,
        "note": "a long note " * 20,
        "classes": ["zero", 'a "quoted" one', "it's"],
        "mean": [0.1307],
        "std": [0.3081],
    }
    path, _ = export(SMALL, tmp_path / "net.py", weights=build(SMALL).state_dict(), about=about)
    text = path.read_text()
    name = "--stdin-filename=scalesearch/net.py"
    assert ruff("check", name, text=text) == (0, "All checks passed!\n")
    assert ruff("format", "--diff", name, text=text)[0] == 0


def test_facts_stand_in_the_docstring_and_in_constants(tmp_path):
    about = {"study": "quick", "accuracy": 0.9123456789, "classes": ["a", "b", "c"]}
    about |= {"mean": (0.25,), "std": (0.5,), "flops": 1}
    (path,) = export(SMALL, tmp_path / "small.py", about=about)
    module = load(path)
    counts = measure_counts(build(SMALL), (1, 1, 32, 32))
    for fact in ("flops", "params", "activations"):
        assert f"{counts[fact]:,}" in module.__doc__
    assert "accuracy:    0.912346\n" in module.__doc__
    assert "study:       quick\n" in module.__doc__
    assert "exported without weights" in module.__doc__
    assert "from small import build" in module.__doc__
    assert module.INPUT_SIZE == (1, 32, 32)
    assert (module.MEAN, module.STD, module.CLASSES) == ((0.25,), (0.5,), ("a", "b", "c"))


def test_hostile_words_stay_data(tmp_path):
    about = {"name": HOSTILE, HOSTILE: HOSTILE, "classes": [HOSTILE, "'", '"']}
    (path,) = export(SMALL, tmp_path / "small.py", about=about)
    module = load(path)
    assert module.CLASSES == (HOSTILE, "'", '"')
    assert module.__doc__.count('"""') == 3
    assert "\\ c d" in module.__doc__
    assert "\u202e" not in path.read_text()
    assert ruff("check", "--isolated", text=path.read_text()) == (0, "All checks passed!\n")


def test_the_same_network_gives_the_same_file_and_no_random_number_is_drawn(tmp_path):
    state = build(SMALL).state_dict()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = (export(SMALL, tmp_path / folder / "net.py", weights=state) for folder in "ab")
    assert torch.equal(torch.rand(1), expected)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_build_without_the_file_of_weights(tmp_path):
    path, weights = export(SMALL, tmp_path / "net.py", weights=build(SMALL).state_dict())
    weights.rename(tmp_path / "moved.safetensors")
    module = load(path)
    with pytest.raises(FileNotFoundError, match=r"no weights at .*net\.safetensors; build\(weig"):
        module.build()
    moved = module.build(tmp_path / "moved.safetensors")
    assert moved.state_dict().keys() == module.build(weights=None).state_dict().keys()

    (path,) = export(SMALL, tmp_path / "untrained.py")
    assert not (tmp_path / "untrained.safetensors").exists()
    module = load(path)
    assert module.build().training is False
    with pytest.raises(ValueError, match="exported without weights"):
        module.build(weights=True)


def test_weights_of_another_layout_or_kind_are_written_whole(tmp_path):
    model = randomised(SMALL).to(memory_format=torch.channels_last)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    shared = torch.zeros(2, 8)
    state["module.stem.norm.weight"], state["module.stem.norm.bias"] = shared[0], shared[1]
    del state["module.stem.norm.num_batches_tracked"]
    path, _ = export(SMALL, tmp_path / "net.py", weights=state)
    loaded = load(path).build().state_dict()
    assert torch.equal(loaded["stem.conv.weight"], model.stem.conv.weight)
    assert torch.equal(loaded["stem.norm.weight"], torch.zeros(8))


def test_weights_that_do_not_fit_are_named_and_nothing_is_written(tmp_path):
    state = build(SMALL).state_dict()
    state["classifier.weight"] = torch.zeros(10, 32)
    state["classifier.extra"] = state.pop("classifier.bias")
    with pytest.raises(UserError) as caught:
        export(SMALL, tmp_path / "net.py", weights=state)
    text = str(caught.value)
    assert "classifier.weight is [3, 32], given [10, 32]" in text
    assert "missing (1): classifier.bias" in text
    assert "not in the network (1): classifier.extra" in text
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_python_cannot_import(tmp_path, subtests):
    names = {
        "b0-v2.py": "b0_v2.py",
        "2nd.py": "net_2nd.py",
        "class.py": "net_class.py",
        "torch.py": "net_torch.py",
        "math.py": "net_math.py",
        "b0.onnx": "b0.py",
        "b0": "b0.py",
        "--.py": "net.py",
    }
    for name, good in names.items():
        with subtests.test(name):
            with pytest.raises(UserError) as caught:
                export(SMALL, tmp_path / name)
            assert repr(str(tmp_path / good)) in caught.value.hint
            assert not (tmp_path / name).exists()
            assert export(SMALL, tmp_path / good) == [tmp_path / good]


def test_facts_that_do_not_fit(tmp_path, subtests):
    for about, message in (
        ({"classes": ["a"]}, "about.classes: there are 1 names for 3 classes"),
        ({"mean": [0.1, 0.2]}, "about.mean"),
        ({"std": [float("nan")]}, "about.std"),
        ({"std": ["wide"]}, "about.std"),
        ({"mean": 0.5}, "about.mean"),
    ):
        with subtests.test(str(about)), pytest.raises(UserError, match=message):
            export(SMALL, tmp_path / "net.py", about=about)


def test_what_is_exported_and_how_is_checked(tmp_path):
    with pytest.raises(UserError, match="no 'pyhton' among the exporters") as caught:
        export(SMALL, tmp_path / "net.py", format="pyhton")
    assert "did you mean 'python'" in caught.value.hint
    with pytest.raises(UserError, match="an architecture is exported, not Classifier"):
        export(build(SMALL), tmp_path / "net.py")
    with pytest.raises(UserError, match="fold"):
        export(SMALL, tmp_path / "net.py", fold=1)
