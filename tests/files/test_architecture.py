"""Architectures by name, file and factory."""

from dataclasses import replace

import pytest

from scalesearch.arch.factory import Factory
from scalesearch.arch.published import published
from scalesearch.errors import UserError
from scalesearch.files.architecture import (
    architecture,
    classifier,
    load_architecture,
    save_architecture,
)
from scalesearch.files.write import add_comments


def test_a_saved_network_is_the_same_when_loaded(tmp_path):
    b3 = published("efficientnet_b3", num_classes=10)
    path = save_architecture(tmp_path / "b3.yaml", b3, {"trial": 12})
    assert path.read_text().startswith("# trial: 12\n")
    assert load_architecture(path) == b3


def test_a_mistake_in_a_file_is_placed(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text("resolution: 32\nstages:\n  - {width: 8}\n  - width: 8\n    kernal: 3\n")
    with pytest.raises(UserError) as caught:
        load_architecture(path)
    text = str(caught.value)
    assert text.startswith(f"{path}:5: stages[1].kernal: unknown key 'kernal'")
    assert "did you mean 'kernel'?" in text


def test_sources(tmp_path, monkeypatch):
    b0 = published("efficientnet_b0")
    path = save_architecture(tmp_path / "b0.yaml", b0)
    assert architecture("efficientnet_b0", resolution=64).resolution == 64
    assert architecture(path, num_classes=10).num_classes == 10
    assert architecture(str(path)) == b0
    assert architecture(path, stem={"stride": 1}).stem == replace(b0.stem, stride=1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_for_test.py").write_text(
        "from scalesearch.arch.published import published\n"
        "def net(): return published('efficientnet_b1')\n"
        "def other(): return 3\n"
    )
    assert architecture("mine_for_test:net", resolution=32).resolution == 32
    with pytest.raises(UserError, match="mine_for_test:other gives int"):
        architecture("mine_for_test:other")


def test_unknown_fields_are_named(tmp_path):
    path = save_architecture(tmp_path / "b0.yaml", published("efficientnet_b0"))
    with pytest.raises(UserError, match="did you mean 'resolution'"):
        architecture(path, resolutoin=3)


def test_a_saved_detector_is_the_same_when_loaded(tmp_path):
    net = published("efficientdet_d1", padding="symmetric", neck={"kind": "panet"}, num_classes=3)
    path = save_architecture(tmp_path / "detector.yaml", net, {"AP": 0.4})
    assert load_architecture(path) == net
    assert architecture(path, resolution=96).resolution == 96
    path.write_text(path.read_text().replace("kind: panet", "kind: panett"))
    with pytest.raises(UserError, match=r"detector\.yaml:\d+: neck\.kind: there is no 'panett'"):
        load_architecture(path)


def test_what_classifiers_alone_can_be_asked_for():
    net = published("resnet18")
    assert classifier(net, "study") is net
    with pytest.raises(UserError) as told:
        classifier(published("efficientdet_d0"), "study")
    assert str(told.value) == (
        "there is no study of detectors\n  allowed: a network that classifies"
    )
    with pytest.raises(UserError, match="no latency table of what a factory builds"):
        classifier(Factory(factory="my_models:build"), "latency table")


def test_comments_are_added_and_replaced_and_the_network_stays(tmp_path):
    b0 = published("efficientnet_b0")
    path = save_architecture(tmp_path / "b0.yaml", b0, {"trial": 3, "test_accuracy": 0.1})
    network = path.read_text().partition("\n")[2].partition("\n")[2]
    for _ in range(2):
        add_comments(path, {"test_accuracy": 0.9, "test_loss": 0.2})
        head = "# trial: 3\n# test_accuracy: 0.9\n# test_loss: 0.2\n"
        assert path.read_text() == head + network
    assert load_architecture(path) == b0
