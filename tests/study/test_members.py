"""The members of a study's family: by phi, and listed line by line."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from scalesearch.arch.published import published
from scalesearch.cli.check import check_study
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.files.architecture import save_architecture
from scalesearch.files.write import format_yaml
from scalesearch.interfaces import ImageData
from scalesearch.scaling.multiply import Multipliers, multiply
from scalesearch.study import run as running
from scalesearch.study.load import load_study, resolved
from scalesearch.study.members import members_of
from scalesearch.study.run import run
from tests.fakes import write_study
from tests.pool import space

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


RATES = """
family:
  phi: [0, 1, 3]
  dropout: {per_phi: 0.05, most: 0.5}
  drop_path: {per_phi: 0.05, most: 0.25, step: 0.05}
coefficients: {alpha: 1.2, beta: 1.1, gamma: 1.15}
"""
PLAIN = STUDY.partition("family:")[0]


def read(folder, text):
    (folder / "study.yaml").write_text(text)
    return load_study(folder / "study.yaml")


def test_rates_grow_with_phi_whatever_the_strategy(tmp_path):
    study = read(tmp_path, PLAIN + RATES)
    net = published("mobilenet_v2", resolution=32, in_channels=1, num_classes=10)
    assert (net.head.dropout, net.drop_path) == (0.2, 0.0)
    family = members_of(study, net, study.coefficients, GREY)
    assert len({member.strategy for member in family}) == 4
    rates = {(m.phi, m.architecture.head.dropout, m.architecture.drop_path) for m in family}
    assert rates == {(0, 0.2, 0.0), (1, 0.3, 0.05), (3, 0.4, 0.15)}
    assert {m.architecture for m in family if m.phi == 0} == {net}
    again = resolved(study)
    assert again["family"]["dropout"] == {"per_phi": 0.05, "most": 0.5, "step": 0.1}
    (tmp_path / "resolved.yaml").write_text(format_yaml(again))
    assert load_study(tmp_path / "resolved.yaml") == study
    plain = read(tmp_path, PLAIN + "family: {phi: [0, 1, 3]}\n" + RATES.splitlines()[-1])
    same = members_of(plain, net, plain.coefficients, GREY)
    assert [cost(m.architecture).flops for m in same] == [
        cost(m.architecture).flops for m in family
    ]


def test_networks_of_lines_keep_their_own_rates(tmp_path):
    both = STUDY + RATES.replace("\nfamily:", "")
    study = read(tmp_path, both)
    net = published("mobilenet_v2", resolution=32, in_channels=1, num_classes=10)
    family = members_of(study, net, study.coefficients, GREY)
    listed = [m.architecture for m in family if m.strategy in study.family.lines]
    assert len(listed) == 5
    assert {one.drop_path for one in listed} == {0.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            STUDY + "  drop_path: {per_phi: 0.05}\n",
            "family.drop_path: rates grow with phi, and networks of `lines` have none",
        ),
        (
            PLAIN + RATES.replace("0.5}", "1.5}"),
            "family.dropout.most: 1.5 cannot be used\n  allowed: a rate above 0 and below 1",
        ),
        (PLAIN + RATES.replace("per_phi", "by_phi"), "family.dropout.by_phi: unknown key 'by_phi'"),
        (PLAIN + RATES.replace("{per_phi: 0.05, most: 0.5}", "0.5"), "0.5 is not a mapping"),
    ],
)
def test_rates_that_make_no_sense(tmp_path, text, message):
    with pytest.raises(UserError) as error:
        read(tmp_path, text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        (
            {"name": "mobilenet_v2", "resolution": 8, "head": {"dropout": 0.6}},
            "family.dropout.most: the baseline's rate is 0.6, and the family's are to be 0.5 at",
        ),
        (
            {"factory": "tests.factories:wide_of_any", "resolution": 32},
            "family.dropout: what tests.factories:wide_of_any builds has rates of its own",
        ),
    ],
)
def test_a_baseline_whose_members_cannot_have_the_rates(tmp_path, baseline, message):
    """Before anything is trained."""
    family = {"phi": [0, 1], "dropout": {"per_phi": 0.05}, "strategies": ["compound"]}
    file = rated(tmp_path, baseline=baseline, family=family)
    for go in (lambda: run(file, folder=tmp_path / "run"), lambda: check_study(file, [], 5)):
        with pytest.raises(UserError, match=re.escape(message)):
            go()
    assert not (tmp_path / "calls").exists()


def rated(folder, **changes):
    evaluator = {"name": "tests.fakes:Evaluator", "calls": str(folder / "calls")}
    given = {"evaluator": evaluator, "coefficients": {"alpha": 1.2, "beta": 1.1, "gamma": 1.15}}
    return write_study(folder, without=("search", "grid"), **(given | changes))


def test_trained_and_exported_members_have_their_rates(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "report", lambda folder: [])
    net = space().sample(1)
    save_architecture(tmp_path / "net.yaml", replace(net, head=replace(net.head, dropout=0.2)))
    family = {"phi": [0, 1], "dropout": {"per_phi": 0.05}, "strategies": ["compound", "width"]}
    baseline = {"file": "net.yaml"}
    file = rated(tmp_path, baseline=baseline, family=family, export=["python"])
    folder = run(file, folder=tmp_path / "run")
    assert len(folder.read()["family"]) == 4
    rates = {m.name: m.architecture.head.dropout for m in folder.family}
    assert rates == {
        **{"compound_phi0": 0.2, "compound_phi1": 0.3},
        **{"width_phi0": 0.2, "width_phi1": 0.3},
    }
    for name, rate in rates.items():
        assert f"dropout={rate}" in (folder.path / "export" / f"{name}.py").read_text()
