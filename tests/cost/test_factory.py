import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torchvision import models

from scalesearch.arch.factory import Factory, build_module
from scalesearch.cost.closed_form import cost
from scalesearch.cost.composition import price
from scalesearch.cost.cost import Workload
from scalesearch.cost.counts import counts
from scalesearch.cost.factory import as_block, factory_flops
from scalesearch.cost.factory_dimensions import scaled_dimensions
from scalesearch.cost.measured import measure
from scalesearch.errors import UserError
from tests.factories import FIVE

WIDE = Factory(factory="tests.factories:wide", resolution=32, num_classes=2)


def own(name, **fields):
    return Factory(
        factory=f"tests.factories:{name}", **{"resolution": 16, "num_classes": 2} | fields
    )


def test_counts_are_those_by_hand():
    # 3x3 convolution 3 -> 8 on 32 x 32, pooling, linear 8 -> 2; twice as wide.
    assert counts(WIDE).flops == 27 * 8 * 32**2 + 2 * 8 == factory_flops(WIDE)
    assert counts(WIDE).params == 27 * 8 + 2 * 8
    assert counts(WIDE).activations == 8 * 32**2 + 2
    assert counts(replace(WIDE, width=2.0)).flops == 27 * 16 * 32**2 + 2 * 16
    assert counts(WIDE, (32, 16)).flops == 27 * 8 * 32 * 16 + 2 * 8


def test_counts_are_fvcores_and_the_published_ones():
    weights = models.MobileNet_V2_Weights.IMAGENET1K_V1.meta
    net = Factory(factory="torchvision:mobilenet_v2")
    counted = counts(net)
    assert counted.params == weights["num_params"]
    assert counted.flops / 1e9 == pytest.approx(weights["_ops"], abs=5e-4)
    theirs = FlopCountAnalysis(models.mobilenet_v2().eval(), torch.zeros(1, 3, 224, 224))
    theirs.unsupported_ops_warnings(False)
    by_operator = theirs.by_operator()
    assert counted.flops == by_operator["conv"] + by_operator["linear"] == factory_flops(net)


def test_memory_is_that_of_any_module():
    net = Factory(factory=FIVE, resolution=28, in_channels=1, num_classes=10)
    workload = Workload(training_batch=16)
    spent = cost(net, workload=workload)
    assert spent == measure(build_module(net), (1, 1, 28, 28), workload)
    assert price(as_block(spent, workload), workload) == spent


def test_a_network_that_looks_at_values_is_counted_too():
    assert counts(own("looks")).flops == 27 * 8 * 16**2 + 2 * 8 == factory_flops(own("looks"))


def test_dimensions_are_those_that_a_factory_asks_for_and_the_side():
    assert scaled_dimensions(WIDE) == ("width", "resolution")
    five = Factory(factory=FIVE, resolution=28, in_channels=1, num_classes=10)
    assert scaled_dimensions(five) == ("depth", "width", "resolution")


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (own("ignores_depth"), "ignores 'depth': for 1 and 2 it builds networks of the same"),
        (own("ignores_width"), "ignores 'width': for 1 and 2"),
        (own("ignores_resolution"), "ignores 'resolution': for 16 and 32"),
        (own("two_classes", num_classes=10), "gives [2, 2] for two images"),
        (own("returns_pair"), "gives tuple for two images"),
        (own("drawn"), "builds another network each time"),
        (own("wide", in_channels=1), "cannot be run on images of 2 x 1 x 16 x 16"),
        (own("fails"), "failed: RuntimeError"),
        (own("returns_text"), "returns str"),
        (
            own("flat"),
            "flat takes images of 16 pixels alone, and scales neither depth nor width: there is "
            "nothing to scale\n  at 32 pixels: Sequential cannot be run on images of 1 x 3 x 32",
        ),
        (own("drawn_by_torch"), "builds another network each time"),
        (own("drawn_by_numpy"), "builds another network each time"),
        (own("skips"), "runs other layers each time: "),
        (own("skips_by_torch"), "runs other layers each time: "),
        (own("open_end"), "name them in its signature: `**` does not say what is scaled"),
        (own("by_position"), "by_position takes 'width' by position alone"),
        (own("pair"), "gives tuple for two images in training"),
        (own("pair"), "write `options: {aux_logits: false}`"),
    ],
)
def test_what_cannot_be_scaled_is_said(net, words):
    with pytest.raises(UserError) as caught:
        scaled_dimensions(net)
    assert words in str(caught.value)


def test_a_network_with_more_classifiers_is_counted_without_them():
    with pytest.raises(UserError, match=r"gives tuple in training[\s\S]*aux_logits: false"):
        cost(own("pair"))
    alone = own("pair", options={"aux_logits": False})
    assert scaled_dimensions(alone) == ("width", "resolution")
    assert cost(alone) == cost(own("wide"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_network_that_asks_for_a_gpu_is_told_why():
    with pytest.raises(UserError) as caught:
        scaled_dimensions(own("on_gpu"))
    assert "OnGpu asks for a GPU in its own code, where there is none: " in str(caught.value)
    assert "images of another shape" not in str(caught.value)


def test_random_states_are_left_as_they_were():
    states = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    scaled_dimensions(own("wide", width=1.25))
    with pytest.raises(UserError):
        scaled_dimensions(own("drawn_by_numpy", width=1.25))
    after = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    assert after == states


def test_lazy_layers_are_said_before_anything_is_counted():
    with pytest.raises(UserError, match=r"leaves the size of '.*' to its first images"):
        scaled_dimensions(own("lazy"))
