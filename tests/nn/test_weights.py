"""Weights of other libraries in our networks: the outputs must be theirs."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.errors import UserError
from scalesearch.nn.build import build
from scalesearch.nn.weight_names import names_in
from scalesearch.nn.weights import LoadReport, Mismatch, load_weights
from tests.references import with_drawn_norms

SMALL = Backbone(
    stem=Stem(width=8),
    stages=(Stage(width=8), Stage(width=16, depth=2, expand=4, se=0.25)),
    head=Head(width=32),
    num_classes=3,
)


def randomised(model, seed=0):
    """The model in evaluation mode with drawn norms, so that none of them is the identity."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_var", "weight")) and tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith(("running_mean", "bias")):
            tensor.normal_(0, 0.2, generator=generator)
    return model.eval()


def assert_same_outputs(ours, peer, resolution=64):
    images = torch.randn(2, 3, resolution, resolution, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, got = peer(images), ours.eval()(images)
    assert wanted.std() > 0
    assert float((got - wanted).abs().max() / wanted.abs().max()) < 1e-5


# Names read off the libraries' own printouts.
EXPANDS, PLAIN = "stages.1.0.", "stages.0.0."
KNOWN = {
    "timm": {
        "stem.conv.weight": "conv_stem.weight",
        f"{PLAIN}project.conv.weight": "blocks.0.0.conv_pw.weight",
        f"{PLAIN}project.norm.bias": "blocks.0.0.bn2.bias",
        f"{EXPANDS}expand.conv.weight": "blocks.1.0.conv_pw.weight",
        f"{EXPANDS}squeeze.reduce.weight": "blocks.1.0.se.conv_reduce.weight",
        f"{EXPANDS}project.conv.weight": "blocks.1.0.conv_pwl.weight",
        "head.norm.running_var": "bn2.running_var",
    },
    "torchvision": {
        "stem.conv.weight": "features.0.0.weight",
        f"{PLAIN}project.conv.weight": "features.1.0.block.1.0.weight",
        f"{EXPANDS}expand.conv.weight": "features.2.0.block.0.0.weight",
        f"{EXPANDS}squeeze.reduce.weight": "features.2.0.block.2.fc1.weight",
        "head.conv.weight": "features.3.0.weight",
        "classifier.bias": "classifier.1.bias",
    },
    "efficientnet_pytorch": {
        "stem.conv.weight": "_conv_stem.weight",
        f"{PLAIN}depthwise.norm.weight": "_blocks.0._bn1.weight",
        f"{EXPANDS}expand.conv.weight": "_blocks.1._expand_conv.weight",
        "stages.1.1.project.norm.bias": "_blocks.2._bn2.bias",
        "classifier.weight": "_fc.weight",
    },
}


def test_a_known_name_of_each_kind(subtests):
    needed = build(SMALL).state_dict()
    for library, known in KNOWN.items():
        names = names_in(known.values(), needed).theirs
        # torchvision's plain block begins with its squeeze-excite's number where it has none.
        actual = {ours: names[ours] for ours in known}
        if library == "torchvision":
            actual[f"{PLAIN}project.conv.weight"] = "features.1.0.block.1.0.weight"
        with subtests.test(library):
            assert actual == known


def test_our_own_names_are_the_first_choice():
    needed = build(SMALL).state_dict()
    assert names_in(needed, needed).theirs == {name: name for name in needed}


def test_files_wrappers_and_prefixes(tmp_path, subtests):
    source = randomised(build(SMALL))
    state = {f"module.{name}": value for name, value in source.state_dict().items()}
    save_file(state, tmp_path / "whole.safetensors")
    torch.save(state, tmp_path / "whole.pt")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "wrapped.pth")
    torch.save({"model": state, "epoch": 3}, tmp_path / "wrapped.pt")
    for path in tmp_path.iterdir():
        ours = build(SMALL)
        with subtests.test(path.name):
            assert load_weights(ours, path).complete
            assert load_weights(build(SMALL), str(path)).complete
            assert_same_outputs(ours, source, 32)


def bad_state():
    state = build(SMALL).state_dict()
    state["classifier.weight"] = torch.zeros(10, 32)
    state["classifier.extra"] = state.pop("classifier.bias")
    return state


def test_strict_names_everything_and_changes_nothing():
    ours = build(SMALL)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_weights(ours, bad_state())
    assert str(caught.value).splitlines() == [
        "the weights do not fit the network",
        "  of another shape (1): classifier.weight is [3, 32], given [10, 32]",
        "  missing (1): classifier.bias",
        "  not in the network (1): classifier.extra",
    ]
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def test_not_strict_loads_what_fits_and_reports_the_rest():
    ours, state = build(SMALL), bad_state()
    report = load_weights(ours, state, strict=False)
    loaded = tuple(name for name in state if not name.startswith("classifier."))
    assert report == LoadReport(
        loaded=loaded,
        missing=("classifier.bias",),
        unexpected=("classifier.extra",),
        mismatched=(Mismatch("classifier.weight", (3, 32), (10, 32)),),
        names={name: name for name in ours.state_dict()},
    )
    assert torch.equal(ours.stem.conv.weight, state["stem.conv.weight"])


def test_a_misfit_is_told_under_both_its_names():
    state = timm.create_model("efficientnet_b0").state_dict()
    state.pop("blocks.6.0.conv_pwl.weight")
    with pytest.raises(UserError) as caught:
        load_weights(build(published("efficientnet_b0", num_classes=10)), state)
    assert str(caught.value).splitlines()[1:] == [
        "  of another shape (2): classifier.weight is [10, 1280], given [1000, 1280], "
        "classifier.bias is [10], given [1000]",
        "  missing (1): stages.6.0.project.conv.weight (blocks.6.0.conv_pwl.weight)",
    ]


def test_a_long_list_is_cut_with_its_number():
    with pytest.raises(UserError, match=r"missing \(\d\d\): .* and \d+ more"):
        load_weights(build(SMALL), {"x": torch.zeros(1)})


def test_messages_of_thousands_of_names_stay_short(subtests):
    needed = build(SMALL).state_dict()
    for what, state in {
        "many": {f"block{i}.{'conv.' * (i % 50)}weight": torch.zeros(2) for i in range(9999)},
        "long": {f"{'x' * 9999}{i}": torch.zeros(2) for i in range(99)},
        "dots": {"a." * 99_999 + "weight": torch.zeros(2)},
        "shapes": {name: torch.zeros(*value.shape, 1) for name, value in needed.items()},
        "lines": {"a\nb.weight": torch.zeros(2)},
    }.items():
        with subtests.test(what), pytest.raises(UserError) as told:
            load_weights(build(SMALL), state)
        with subtests.test(what):
            assert len(str(told.value)) < 1000
            assert len(str(told.value).splitlines()) <= 4
            assert len(str(load_weights(build(SMALL), state, strict=False))) < 1000


def test_a_message_has_the_file(tmp_path):
    torch.save(bad_state(), tmp_path / "w.pth")
    with pytest.raises(UserError) as told:
        load_weights(build(SMALL), tmp_path / "w.pth")
    assert str(told.value).startswith(f"{tmp_path / 'w.pth'}: the weights do not fit the network")


@pytest.mark.parametrize(
    "prefix",
    [
        *("module.", "model.", "net.", "backbone.", "_orig_mod.module.", "module.module."),
        *("model._orig_mod.", "model.backbone.module.", "ema.module.", "my.own.words."),
    ],
)
@pytest.mark.parametrize("library", ["ours", "timm"])
def test_names_below_any_prefix(prefix, library):
    source = randomised(build(published("mobilenet_v2", num_classes=3)))
    state = source.state_dict()
    if library == "timm":
        state = randomised(timm.create_model("mobilenetv2_100", num_classes=3)).state_dict()
    ours = build(published("mobilenet_v2", num_classes=3))
    assert load_weights(ours, {prefix + name: value for name, value in state.items()}).complete
    assert load_weights(source, state).complete
    assert_same_outputs(ours, source.eval())


def test_what_is_saved_beside_the_network_is_left_out_and_said():
    """As a LightningModule has the weights of its loss and the states of its metrics."""
    state = {f"model.{name}": value for name, value in build(SMALL).state_dict().items()}
    state |= {"criterion.weight": torch.ones(3), "accuracy.tp": torch.zeros(3)}
    report = load_weights(build(SMALL), {"state_dict": state})
    assert report.complete
    assert report.notes == (
        "what is saved beside the network is left out (2): criterion.weight, accuracy.tp",
    )
    with pytest.raises(UserError, match=re.escape("not in the network (1): model.extra")):
        load_weights(build(SMALL), {"state_dict": state | {"model.extra": torch.ones(3)}})


def test_of_two_networks_in_one_mapping_none_is_taken_unsaid():
    small = build(SMALL).state_dict()
    state = {f"{who}.{k}": v for who in ("student", "teacher") for k, v in small.items()}
    with pytest.raises(UserError, match=r"not in the network \(\d+\): teacher\.stem"):
        load_weights(build(SMALL), state)


def test_names_that_repeat_inside_of_blocks_are_no_prefix():
    """`layer1.0.bn1` of a ResNet is not the first norm of a network below `layer1.0.`."""
    names = names_in(timm.create_model("resnet18").state_dict(), build(SMALL).state_dict()).theirs
    assert names["stem.norm.weight"] == "bn1.weight"


def test_what_timm_saves_while_it_trains(tmp_path):
    """The keys that timm 1.0's CheckpointSaver writes."""
    net = published("mobilenet_v2", num_classes=3)
    model, average = (
        randomised(timm.create_model("mobilenetv2_100", num_classes=3), seed) for seed in (0, 1)
    )
    content = {
        "epoch": 7,
        "arch": "mobilenetv2_100",
        "state_dict": model.state_dict(),
        "optimizer": torch.optim.SGD(model.parameters(), 0.1, momentum=0.9).state_dict(),
        "version": 2,
        "state_dict_ema": average.state_dict(),
        "metric": 71.3,
    }
    torch.save(content, tmp_path / "model_best.pth.tar")
    ours = build(net)
    report = load_weights(ours, tmp_path / "model_best.pth.tar")
    assert_same_outputs(ours, average)
    said = "the moving average of weights under 'state_dict_ema' is taken, not 'state_dict'"
    assert report.notes == (said,)
    assert str(report) == f"262 of 262 weights are taken; {said}"
    load_weights(ours, tmp_path / "model_best.pth.tar", key="state_dict")
    assert_same_outputs(ours, model)


def test_weights_of_three_channels_in_a_network_for_grey_images():
    """The sum computes what three channels that are the same give."""
    colour = randomised(build(SMALL))
    grey = build(replace(SMALL, in_channels=1)).eval()
    report = load_weights(grey, colour.state_dict())
    assert report.complete
    assert report.notes == ("the first convolution is summed over three channels, for grey images",)
    images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(grey(images), colour(images.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(("given", "needed"), [(1, 3), (3, 4), (4, 1), (2, 1)])
def test_other_numbers_of_channels_are_another_shape_and_said(given, needed):
    state = build(replace(SMALL, in_channels=given)).state_dict()
    report = load_weights(build(replace(SMALL, in_channels=needed)), state, strict=False)
    assert [mismatch.name for mismatch in report.mismatched] == ["stem.conv.weight"]
    assert report.notes == (
        f"the first convolution is for {given} channels, the network's for {needed}: only three "
        "are made one",
    )


@pytest.mark.parametrize("strict", [True, False])
def test_weights_that_are_no_numbers(strict, tmp_path):
    state = build(SMALL).state_dict()
    state["classifier.bias"] = torch.tensor([1.0, float("nan"), float("-inf")])
    torch.save(state, tmp_path / "w.pth")
    model = build(SMALL)
    before = model.stem.conv.weight.clone()
    with pytest.raises(UserError) as told:
        load_weights(model, tmp_path / "w.pth", strict=strict)
    assert str(told.value).splitlines()[0] == (
        f"{tmp_path / 'w.pth'}: 1 of {len(state)} weights are unusable: classifier.bias has NaN or "
        "infinity in 2 of 3"
    )
    assert torch.equal(model.stem.conv.weight, before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weight: weight.to(torch.int8), "classifier.weight is of torch.int8"),
        (lambda weight: weight.to_sparse(), "classifier.weight is no plain tensor with values"),
        (lambda weight: weight.to("meta"), "classifier.weight is no plain tensor with values"),
    ],
)
def test_weights_of_another_kind(change, said):
    state = build(SMALL).state_dict()
    state["classifier.weight"] = change(state["classifier.weight"])
    with pytest.raises(UserError, match=re.escape(said)):
        load_weights(build(SMALL), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision(dtype):
    source, ours = build(SMALL), build(SMALL)
    given = {name: value.to(dtype) for name, value in source.state_dict().items()}
    assert load_weights(ours, given).complete
    assert torch.equal(ours.stem.conv.weight, given["stem.conv.weight"].float())


D0 = published("efficientdet_d0", num_classes=3, resolution=128)


@pytest.mark.parametrize("library", ["ours", "timm", "features", "torchvision", "lightning"])
def test_a_detector_takes_the_weights_of_a_classifier_as_its_backbone(library):
    own = build(published("efficientnet_b0")).state_dict
    state = {
        "ours": own,
        "timm": lambda: timm.create_model("efficientnet_b0").state_dict(),
        "features": lambda: timm.create_model("efficientnet_b0", features_only=True).state_dict(),
        "torchvision": lambda: torchvision.models.efficientnet_b0().state_dict(),
        "lightning": lambda: {"state_dict": {f"model.{k}": v for k, v in own().items()}},
    }[library]()
    model = build(D0)
    report = load_weights(model, state, strict=False)
    assert str(report).startswith(
        "304 of 676 weights are taken; new are the neck, class head, box head"
    )
    flat = state.get("state_dict", state)
    assert torch.equal(model.backbone.stem.conv.weight, next(iter(flat.values())))
    assert all(name.startswith("backbone.") for name in report.loaded)
    # Every weight of the backbone: those without a place are the classifier's own head.
    assert not any(name.startswith("backbone.") for name in report.missing)


def test_a_detector_of_other_classes_keeps_neck_and_boxes():
    other = build(replace(D0, num_classes=90)).state_dict()
    for prefix in ("", "model.", "module.model."):
        state = {prefix + name: value for name, value in other.items()}
        report = load_weights(build(D0), state, strict=False)
        assert str(report) == (
            "674 of 676 weights are taken; new is the class head (predict.pointwise)"
        )


def test_a_classifier_takes_the_backbone_of_a_detector():
    model, state = build(published("efficientnet_b0")), build(D0).state_dict()
    report = load_weights(model, state, strict=False)
    assert str(report).startswith("304 of 311 weights are taken; new are the head, classifier; ")
    assert torch.equal(model.stem.conv.weight, state["backbone.stem.conv.weight"])


def test_counters_of_batches_may_be_absent():
    state = build(SMALL).state_dict()
    state = {name: value for name, value in state.items() if "num_batches" not in name}
    assert load_weights(build(SMALL), state).complete
    counted = {k: v.reshape(-1) if v.ndim == 0 else v for k, v in build(SMALL).state_dict().items()}
    assert load_weights(build(SMALL), counted).complete


def test_weights_of_a_network_without_a_stage_in_common():
    state = timm.create_model("resnet18").state_dict()
    report = load_weights(build(SMALL), state, strict=False)
    # Stem and classifier have a place, but other shapes; a counter of batches has none.
    assert report.loaded == ("stem.norm.num_batches_tracked",)
    assert {name for name in state if name.startswith("layer")} == set(report.unexpected)
    assert {m.name for m in report.mismatched} >= {"stem.conv.weight", "classifier.weight"}


def test_sources_that_are_none(subtests):
    for source, message in (
        ({}, "holds no weights"),
        ({"epoch": 3}, "'epoch' is not a tensor but of type int"),
        (torch.nn.Linear(1, 1), "weights are a mapping, not a module"),
        ("resnet50", "resnet50: there is no such file"),
        ("nowhere.pt", "nowhere.pt: there is no such file"),
    ):
        with subtests.test(message), pytest.raises(UserError, match=re.escape(message)):
            load_weights(build(SMALL), source)


def test_damaged_files(tmp_path, subtests):
    for suffix in (".safetensors", ".pt"):
        for content in (b"", b"no weights at all", b"PK\x03\x04 torn"):
            path = tmp_path / f"weights{suffix}"
            path.write_bytes(content)
            with subtests.test(f"{suffix} {content}"), pytest.raises(UserError, match="weights"):
                load_weights(build(SMALL), path)


def test_a_pickled_model_is_not_run(tmp_path):
    torch.save(build(SMALL), tmp_path / "model.pt")
    with pytest.raises(UserError, match="holds more than tensors") as caught:
        load_weights(build(SMALL), tmp_path / "model.pt")
    assert "state_dict()" in caught.value.hint


@pytest.fixture
def offline(monkeypatch):
    """timm's and torchvision's pretrained networks, drawn at random instead of downloaded."""
    create, get = timm.create_model, torchvision.models.get_model

    def drawn(name, pretrained):
        assert pretrained
        torch.manual_seed(0)
        return randomised(create(name))

    def drawn_too(name, weights):
        assert weights
        torch.manual_seed(0)
        # With signals that do not die on their way, or no padding could be told from another.
        draw = torch.Generator().manual_seed(1)
        return with_drawn_norms(get(name, weights=None), torch.randn(4, 3, 64, 64, generator=draw))

    monkeypatch.setattr(timm, "create_model", drawn)
    monkeypatch.setattr(torchvision.models, "get_model", drawn_too)


@pytest.mark.usefixtures("offline")
def test_timm_by_name():
    ours = build(published("efficientnet_b0"))
    assert load_weights(ours, "timm:efficientnet_b0").complete
    assert_same_outputs(ours, timm.create_model("efficientnet_b0", pretrained=True))


@pytest.mark.usefixtures("offline")
def test_weights_that_fit_a_network_that_computes_something_else():
    ours = build(published("efficientnet_b0"))
    before = ours.stem.conv.weight.clone()
    with pytest.raises(UserError, match="computes something else") as caught:
        load_weights(ours, "timm:tf_efficientnet_b0")
    assert 'padding="same"' in caught.value.hint
    assert torch.equal(ours.stem.conv.weight, before)


@pytest.mark.usefixtures("offline")
def test_timm_with_other_classes_leaves_the_classifier():
    report = load_weights(
        build(published("efficientnet_b0", num_classes=10)), "timm:efficientnet_b0", strict=False
    )
    assert {m.name for m in report.mismatched} == {"classifier.weight", "classifier.bias"}


@pytest.mark.usefixtures("offline")
def test_timm_by_name_for_grey_images():
    ours = build(published("efficientnet_b0", in_channels=1))
    report = load_weights(ours, "timm:efficientnet_b0")
    assert report.complete
    assert len(report.notes) == 1
    with pytest.raises(UserError, match="computes something else"):
        load_weights(build(published("efficientnet_b0", in_channels=1)), "timm:tf_efficientnet_b0")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v2.IMAGENET1K_V2"])
def test_torchvision_by_name(name):
    ours = build(published("mobilenet_v2"))
    assert load_weights(ours, f"torchvision:{name}").complete
    peer = torchvision.models.get_model("mobilenet_v2", weights="DEFAULT")
    assert_same_outputs(ours, peer)


@pytest.mark.usefixtures("offline")
def test_other_classes_do_not_hide_that_something_else_is_computed():
    ours = build(published("mobilenet_v2", num_classes=10, padding="same"))
    with pytest.raises(UserError, match="computes something else"):
        load_weights(ours, "torchvision:mobilenet_v2", strict=False)


def test_torchvision_mistakes():
    with pytest.raises(UserError, match="torchvision has no network 'resnet5'") as caught:
        load_weights(build(SMALL), "torchvision:resnet5")
    assert "did you mean 'resnet" in caught.value.hint
    with pytest.raises(UserError, match="no resnet50 with 'IMAGENET'") as caught:
        load_weights(build(SMALL), "torchvision:resnet50.IMAGENET")
    assert "IMAGENET1K_V2" in caught.value.allowed


def test_timm_mistakes(monkeypatch):
    with pytest.raises(UserError, match="no network 'eficientnet_b0'") as caught:
        load_weights(build(SMALL), "timm:eficientnet_b0")
    assert "did you mean 'efficientnet_b0'?" in caught.value.hint

    def refuse(name, pretrained):
        raise OSError("no route to host\nand much more")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(UserError, match=r"could not load its weights of 'resnet18': no route to h"):
        load_weights(build(SMALL), "timm:resnet18")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match="timm is not installed") as caught:
        load_weights(build(SMALL), "timm:resnet18")
    assert caught.value.hint == "pip install timm"


def test_two_networks_in_one_mapping_are_named_with_the_way_out():
    state, other = build(SMALL).state_dict(), build(SMALL).state_dict()
    both = {f"encoder_q.{name}": value for name, value in state.items()}
    both |= {f"encoder_k.{name}": value for name, value in other.items()}
    with pytest.raises(UserError, match="do not fit the network") as caught:
        load_weights(build(SMALL), both)
    assert caught.value.hint == (
        "there are networks under encoder_q, encoder_k: choose one with "
        "load_weights(…, key='encoder_q')"
    )
    assert load_weights(build(SMALL), both, key="encoder_k").complete


def test_what_lies_beside_the_network_is_named_where_something_is_missing():
    state = {f"backbone.{name}": value for name, value in build(SMALL).state_dict().items()}
    for name in ("weight", "bias"):
        state[f"head.{name}"] = state.pop(f"backbone.classifier.{name}")
    with pytest.raises(UserError, match=r"saved beside the network .*head\.weight, head\.bias"):
        load_weights(build(SMALL), state)
