"""The members of a study's family: by phi, and listed line by line."""

from __future__ import annotations

import numpy as np

from scalesearch.arch.published import published
from scalesearch.interfaces import ImageData
from scalesearch.scaling.multiply import Multipliers, multiply
from scalesearch.study.load import load_study, resolved
from scalesearch.study.members import members_of

STUDY = """name: listed
dataset: mnist5k
baseline: {name: mobilenet_v2, resolution: 32}
family:
  lines:
    d2: {depth: 2.0, width: [1.0, 1.4]}
    kept: {width: 0.5, head_scaling: keep}
    others: {networks: [mobilenet_v1, {name: resnet18, resolution: 64}]}
"""
NONE = np.zeros((0,))
GREY = ImageData(NONE, NONE, tuple("0123456789"), 1, (), (), False)


def test_listed_members_follow_the_data_set(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    study = load_study(tmp_path / "study.yaml")
    assert study.family.phi == ()
    net = published("mobilenet_v2", resolution=32, in_channels=1, num_classes=10)
    family = members_of(study, net, None, GREY)
    assert [m.strategy for m in family] == ["d2", "d2", "kept", "others", "others"]
    assert family[1].architecture == multiply(net, Multipliers(depth=2.0, width=1.4))
    kept = family[2].architecture
    assert (kept.head.width, kept.stem.width) == (1280, 16)
    v1, r18 = (m.architecture for m in family[3:])
    assert (v1.in_channels, v1.num_classes, v1.resolution) == (1, 10, 224)
    assert (r18.in_channels, r18.num_classes, r18.resolution) == (1, 10, 64)


def test_what_is_resolved_is_the_same_study(tmp_path):
    import yaml

    (tmp_path / "study.yaml").write_text(STUDY)
    study = load_study(tmp_path / "study.yaml")
    (tmp_path / "resolved.yaml").write_text(yaml.safe_dump(resolved(study)))
    assert resolved(load_study(tmp_path / "resolved.yaml")) == resolved(study)


def test_lines_stand_beside_phi(tmp_path):
    text = STUDY.replace("family:\n", "family:\n  phi: [0, 1]\n  strategies: [compound]\n")
    text += "coefficients: {alpha: 1.2, beta: 1.1, gamma: 1.15}\n"
    (tmp_path / "study.yaml").write_text(text)
    study = load_study(tmp_path / "study.yaml")
    net = published("mobilenet_v2", resolution=32, in_channels=1, num_classes=10)
    family = members_of(study, net, study.coefficients, GREY)
    assert [m.name for m in family[:2]] == ["compound_phi0", "compound_phi1"]
    assert len(family) == 7
