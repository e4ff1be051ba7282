"""Matrix products in every form, by hand and as others publish them."""

from __future__ import annotations

import warnings

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from scalesearch.arch.published import published
from scalesearch.cost.measured import measure_counts
from scalesearch.nn.build import build


class Runs(nn.Module):
    """A function as a module; its image is [1, 3, 8, 8], made rows of 8."""

    def __init__(self, run):
        super().__init__()
        self.run = run

    def forward(self, x):
        return self.run(x.flatten(0, 2))  # [24, 8]


def flops(run, shape=(1, 3, 8, 8)):
    module = run if isinstance(run, nn.Module) else Runs(run)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "flops leave out")
        return measure_counts(module, shape)["flops"]


def zeros(*shape):
    return torch.zeros(shape)


PRODUCTS = {
    "mm": (lambda x: x @ zeros(8, 5), 24 * 8 * 5),
    "matmul with a vector": (lambda x: x @ zeros(8), 24 * 8),
    "vector by matrix": (lambda x: x[0] @ zeros(8, 5), 8 * 5),
    "dot": (lambda x: torch.dot(x[0], x[1]), 8),
    "mv": (lambda x: torch.mv(x, zeros(8)), 24 * 8),
    "inner": (lambda x: torch.inner(x, zeros(5, 8)), 24 * 8 * 5),
    "a broadcast batch": (lambda x: x @ zeros(7, 8, 5), 7 * 24 * 8 * 5),
    "a batch of both": (lambda x: x.view(3, 1, 8, 8) @ zeros(7, 8, 5), 3 * 7 * 8 * 8 * 5),
    "bmm": (lambda x: torch.bmm(x.view(3, 8, 8), zeros(3, 8, 5)), 3 * 8 * 8 * 5),
    "baddbmm": (
        lambda x: torch.baddbmm(zeros(3, 8, 5), x.view(3, 8, 8), zeros(3, 8, 5)),
        3 * 8 * 8 * 5,
    ),
    "addbmm": (
        lambda x: torch.addbmm(zeros(8, 5), x.view(3, 8, 8), zeros(3, 8, 5)),
        3 * 8 * 8 * 5,
    ),
    "addmm": (lambda x: torch.addmm(zeros(24, 5), x, zeros(8, 5)), 24 * 8 * 5),
    "addmv": (lambda x: torch.addmv(zeros(24), x, zeros(8)), 24 * 8),
    "linear": (lambda x: functional.linear(x, zeros(5, 8)), 24 * 8 * 5),
    "bilinear": (lambda x: functional.bilinear(x, x, zeros(5, 8, 8)), 24 * 5 * 8 * 8),
    "einsum": (lambda x: torch.einsum("ij,jk->ik", x, zeros(8, 5)), 24 * 8 * 5),
    "einsum of a batch": (
        lambda x: torch.einsum("bhqd,bhkd->bhqk", x.view(1, 3, 8, 8), zeros(1, 3, 6, 8)),
        3 * 8 * 6 * 8,
    ),
    "einsum with dots": (
        lambda x: torch.einsum("...ij,kj->...ik", x.view(3, 8, 8), zeros(5, 8)),
        3 * 8 * 8 * 5,
    ),
    "einsum without an arrow": (lambda x: torch.einsum("ij, jk", x, zeros(8, 5)), 24 * 8 * 5),
    "einsum of three": (
        lambda x: torch.einsum("ij,jk,kl->il", x, zeros(8, 5), zeros(5, 4)),
        24 * 8 * 5 + 24 * 5 * 4,
    ),
    "einsum element by element": (lambda x: torch.einsum("ij,ij->ij", x, x), 0),
    "einsum that turns": (lambda x: torch.einsum("ij->ji", x), 0),
    "tensordot": (lambda x: torch.tensordot(x, zeros(8, 5), 1), 24 * 8 * 5),
    "attention": (
        lambda x: functional.scaled_dot_product_attention(
            x.view(1, 3, 8, 8), zeros(1, 3, 6, 8), zeros(1, 3, 6, 4)
        ),
        3 * 8 * 6 * (8 + 4),
    ),
    "attention of grouped heads": (
        lambda x: functional.scaled_dot_product_attention(
            x.view(1, 3, 8, 8), zeros(1, 1, 6, 8), zeros(1, 1, 6, 8), enable_gqa=True
        ),
        3 * 8 * 6 * 16,
    ),
    "attention by its own kernel": (
        lambda x: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            x.view(1, 3, 8, 8), zeros(1, 3, 6, 8), zeros(1, 3, 6, 8)
        )[0],
        3 * 8 * 6 * 16,
    ),
    "addmm in place": (lambda x: zeros(24, 5).addmm_(x, zeros(8, 5)), 24 * 8 * 5),
    "baddbmm in place": (
        lambda x: zeros(3, 8, 5).baddbmm_(x.view(3, 8, 8), zeros(3, 8, 5)),
        3 * 8 * 8 * 5,
    ),
    "einsum of numbered indices": (
        lambda x: torch.einsum(x, [0, 1], zeros(8, 5), [1, 2], [0, 2]),
        24 * 8 * 5,
    ),
    "einsum along a diagonal": (
        lambda x: torch.einsum("ncii,ncij->ncj", x.view(1, 3, 8, 8), zeros(1, 3, 8, 5)),
        3 * 8 * 5,
    ),
    "nothing but elements": (lambda x: (functional.gelu(x) * x).softmax(-1).sum().sqrt(), 0),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_by_hand(name):
    run, expected = PRODUCTS[name]
    assert flops(run) == expected


class Images(nn.Module):
    """A layer on sequences, given rows of an image: [1, 3, 8, 8] as 24 steps of 8."""

    def __init__(self, layer, *, attends=False):
        super().__init__()
        self.layer, self.attends = layer, attends

    def forward(self, x):
        rows = x.flatten(1, 2)
        return self.layer(rows, rows, rows)[0] if self.attends else self.layer(rows)[0]


@pytest.mark.parametrize("need_weights", [True, False])
def test_multi_head_attention_by_hand(need_weights):
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    layer.register_forward_pre_hook(
        lambda module, args, kwargs: (args, {**kwargs, "need_weights": need_weights}),
        with_kwargs=True,
    )
    projections = 24 * (3 * 8 * 8 + 8 * 8)
    assert flops(Images(layer, attends=True)) == projections + 2 * 24 * 24 * 8


def test_a_transformer_layer_by_hand():
    """In evaluation torch would take one fused operator for it."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    by_hand = 24 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 24 * 24 * 8
    assert flops(Images(layer)) == by_hand


@pytest.mark.parametrize(
    ("layer", "by_hand"),
    [
        (nn.LSTM(8, 5, batch_first=True), 24 * 4 * 5 * (8 + 5)),
        (nn.LSTM(8, 5, 2, batch_first=True), 24 * 4 * 5 * (8 + 5 + 5 + 5)),
        (nn.LSTM(8, 5, bidirectional=True, batch_first=True), 2 * 24 * 4 * 5 * (8 + 5)),
        (nn.LSTM(8, 5, proj_size=3, batch_first=True), 24 * (4 * 5 * (8 + 3) + 3 * 5)),
        (nn.GRU(8, 5, batch_first=True), 24 * 3 * 5 * (8 + 5)),
        (nn.RNN(8, 5, batch_first=True), 24 * 5 * (8 + 5)),
    ],
)
def test_recurrent_layers_by_hand(layer, by_hand):
    assert flops(Images(layer)) == by_hand


def test_a_recurrent_cell_by_hand():
    cell = nn.GRUCell(8, 5)
    assert flops(Runs(cell)) == 24 * 3 * 5 * (8 + 5)


@pytest.mark.parametrize("padding", ["same", "valid", 1])
def test_a_convolution_whose_padding_is_a_word(padding):
    side = {"same": 8, "valid": 6, 1: 8}[padding]
    counts = measure_counts(nn.Conv2d(3, 4, 3, padding=padding), (1, 3, 8, 8))
    assert counts["flops"] == 3 * 4 * 9 * side * side
    assert counts["activations"] == 4 * side * side


# Multiply-adds (G) that torchvision publishes with its weights, at 224 pixels.
@pytest.mark.parametrize(
    ("name", "published_flops"), [("vit_b_16", 17.56), ("swin_t", 4.49), ("maxvit_t", 5.56)]
)
def test_transformers_of_torchvision(name, published_flops):
    model = getattr(torchvision.models, name)()
    assert flops(model, (1, 3, 224, 224)) / 1e9 == pytest.approx(published_flops, abs=0.006)


def test_as_torchs_own_counter():
    """Which counts below autograd and takes a multiply-add for two."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 4, 4)
            self.layer = nn.MultiheadAttention(16, 4, batch_first=True)
            self.head = nn.Linear(16, 10)

        def forward(self, x):
            x = self.stem(x).flatten(2).transpose(1, 2)
            return self.head(self.layer(x, x, x)[0].mean(1))

    model, images = Mixed().eval(), torch.zeros(1, 3, 32, 32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.layer.train()  # else the fused operator, which this counter does not know
        model(images)
    assert flops(model.eval(), (1, 3, 32, 32)) == counter.get_total_flops() / 2


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x @ x.mT

    @staticmethod
    def backward(ctx, grad):
        return grad


@pytest.mark.parametrize(
    ("run", "name"),
    [
        (lambda x: torch.fft.fft(x).real, "aten::fft_fft"),
        (lambda x: torch.linalg.inv(x[:8] + torch.eye(8)), "aten::linalg_inv"),
        (lambda x: torch.cdist(x, x), "aten::cdist"),
        (Doubled.apply, "prim::PythonOp.Doubled"),
        (
            lambda x: torchvision.ops.deform_conv2d(
                x.view(1, 3, 8, 8), zeros(1, 18, 6, 6), zeros(4, 3, 3, 3)
            ),
            "torchvision::deform_conv2d",
        ),
    ],
)
def test_what_has_no_count_is_named_once(run, name):
    with pytest.warns(UserWarning, match="flops leave out") as caught:
        measure_counts(Runs(lambda x: (run(x), run(x))), (1, 3, 8, 8))
    texts = [str(one.message) for one in caught if "flops leave out" in str(one.message)]
    assert len(texts) == 1
    assert texts[0].count(name) == 1


@pytest.mark.parametrize(
    "name", ["efficientnet_b0", "efficientnet_lite0", "mobilenet_v2", "resnet50", "wrn_28_10"]
)
def test_our_networks_have_nothing_without_a_count(name):
    net = published(name)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "flops leave out")
        measure_counts(build(net), (1, net.in_channels, net.resolution, net.resolution))


ELEMENTWISE = (
    *("relu", "relu6", "hardtanh", "hardswish", "elu", "selu", "celu", "leaky_relu", "rrelu"),
    *("gelu", "logsigmoid", "hardshrink", "tanhshrink", "softsign", "softplus", "softshrink"),
    *("tanh", "sigmoid", "hardsigmoid", "silu", "mish", "normalize", "dropout"),
)


def test_what_counts_nothing_by_convention_is_not_named():
    def run(x):
        for name in ELEMENTWISE:
            x = getattr(functional, name)(x)
        for activation in (nn.Hardswish(True), nn.SiLU(True), nn.ReLU6(True), nn.GLU(), nn.PReLU()):
            x = activation(x)
        image = x.view(1, 3, 8, 4)
        for layer in (
            *(nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.CircularPad2d(1), nn.MaxPool2d(2)),
            *(nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="nearest-exact")),
            *(nn.Upsample(scale_factor=2, mode="bicubic"), nn.InstanceNorm2d(3), nn.RMSNorm(40)),
            *(nn.LocalResponseNorm(2), nn.AdaptiveMaxPool2d(4), nn.PixelUnshuffle(2)),
        ):
            image = layer(image)
        image = torch.cummax(image.roll(1, 1), 1).values
        return x.sum() + image.sort().values.cumsum(0).quantile(0.5) + torch.outer(x[0], x[1]).sum()

    with torch.no_grad():
        run(torch.zeros(24, 8))
    flops(run)


@pytest.mark.slow
def test_all_of_torchvision_as_it_publishes_them():
    """`_ops`, in G, beside the weights whose images are the smallest."""
    wrong = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        weights = torchvision.models.get_model_weights(name)
        smallest = min(weights, key=lambda one: one.meta["_ops"])
        expected = smallest.meta["_ops"]
        if expected > 6:
            continue
        side = smallest.transforms().crop_size[0]
        drawn = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        model = torchvision.models.get_model(name, weights=None, **drawn)
        counted = flops(model, (1, 3, side, side)) / 1e9
        if counted != pytest.approx(expected, rel=1e-3, abs=1.5e-3):
            wrong[name] = counted, expected
    assert not wrong
