"""Commands on networks of factories."""

import json

import pytest

from scalesearch.arch.factory import Factory
from scalesearch.cost.counts import counts
from scalesearch.files.architecture import load_architecture
from tests.factories import FIVE

NET = f"factory: {FIVE}\nresolution: 28\nin_channels: 1\nnum_classes: 10\n"
STUDY = """
name: mistaken
dataset: {name: mnist5k, limit: 100}
baseline: {factory: "tests.factories:NAME", resolution: 16}
grid: {step: 0.4}
"""


def test_a_saved_network_is_profiled_scaled_and_exported(tmp_path, scalesearch):
    file, scaled = tmp_path / "net.yaml", tmp_path / "scaled.yaml"
    file.write_text(NET)
    done = scalesearch("profile", file, "--json", "--measured")
    assert done.code == 0, done
    report = json.loads(done.out)
    five = Factory(factory=FIVE, resolution=28, in_channels=1, num_classes=10)
    # By hand: 8, 16, 32, 32 channels at 28, 14, 7, 7 pixels, and a linear layer.
    taps = 8 * 28**2 + 8 * 16 * 14**2 + 16 * 32 * 7**2 + 32 * 32 * 7**2
    assert report["flops"] == 9 * taps + 320 == counts(five).flops
    assert report["measured"]["flops"] == report["flops"]
    options = ("--alpha", 1, "--beta", 1.5, "--gamma", 1, "--phi", 1)
    done = scalesearch("scale", file, *options, "--output", scaled)
    assert done.code == 0, done
    assert load_architecture(scaled).width == 1.5
    done = scalesearch("export", scaled, "--output", tmp_path / "net.py")
    assert done.code == 0, done
    assert "width=1.5" in (tmp_path / "net.py").read_text()


def test_a_factory_is_named_in_place_of_a_network(scalesearch):
    done = scalesearch("profile", "tests.factories:wide", "--json")
    assert json.loads(done.out)["params"] == 27 * 8 + 8 * 1000


def test_a_limit_grows_what_the_factory_scales(tmp_path, scalesearch):
    scaled = tmp_path / "scaled.yaml"
    done = scalesearch("scale", "tests.factories:wide", "--flops", "30M", "--output", scaled)
    assert done.code == 0, done
    net = load_architecture(scaled)
    assert net.depth == 1
    assert net.width > 1
    assert 0.9 * 30e6 <= counts(net).flops <= 30e6


def test_what_it_does_not_scale_is_an_error(wrong):
    assert "does not scale depth" in wrong(
        "scale", "tests.factories:wide", "--strategy", "depth_width", "--phi", 1
    )
    assert "does not know the blocks" in wrong(
        "scale", "tests.factories:wide", "--flops", "30M", "--table", "any.json"
    )
    options = ("--alpha", 1.2, "--beta", 1.1, "--gamma", 1.1, "--phi", 1)
    assert "alpha: tests.factories:wide does not scale depth" in wrong(
        "scale", "tests.factories:wide", *options
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "tests.factories has no 'nothing'"),
        ("grey_ignores", "baseline.factory: tests.factories:grey_ignores ignores 'width'"),
        ("wide", "cannot be run on images of 2 x 1 x 16 x 16"),
    ],
)
def test_mistakes_are_said_before_anything_is_trained(name, words, tmp_path, wrong):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.replace("NAME", name))
    assert words in wrong("check", file)


def test_a_budget_of_memory_is_an_error_at_its_key(tmp_path, wrong):
    file = tmp_path / "study.yaml"
    text = STUDY.replace("tests.factories:NAME", FIVE)
    file.write_text(text.replace("{step: 0.4}", "{step: 0.4, budget_cost: training_bytes}"))
    assert f"{file}:5: grid.budget_cost: networks that {FIVE} builds" in wrong("check", file)
