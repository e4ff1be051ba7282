"""Matrix products in every form, by hand, and modules as people have them."""

from __future__ import annotations

import warnings

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from scalesearch.arch.published import published
from scalesearch.cost.cost import Workload
from scalesearch.cost.measured import measure, measure_counts
from scalesearch.errors import UserError
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


SHAPE = (1, 3, 64, 64)


def small():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


EXPECTED = 31 * 31 * 3 * 9 * 8


@pytest.mark.parametrize(
    "model",
    [
        small().requires_grad_(False),
        small().half(),
        small().bfloat16(),
        small().double(),
        small().to(memory_format=torch.channels_last),
        nn.DataParallel(small()),
    ],
    ids=["frozen", "half", "bfloat16", "double", "channels_last", "parallel"],
)
def test_modules_as_people_have_them(model):
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learns = [p.requires_grad for p in model.parameters()]
    cost = measure(model, SHAPE)
    assert cost.flops == EXPECTED
    assert cost.inference_bytes > 0
    assert cost.training_bytes > 0
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == learns
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())


def test_a_frozen_model_trains_for_less():
    assert (
        measure(small().requires_grad_(False), SHAPE).training_bytes
        < measure(small(), SHAPE).training_bytes
    )


def test_lazy_layers_get_their_shapes_in_a_copy():
    model = nn.Sequential(nn.LazyConv2d(8, 3, 2), nn.Flatten(), nn.LazyLinear(10))
    assert measure(model, SHAPE).flops == EXPECTED + 31 * 31 * 8 * 10
    assert model[0].has_uninitialized_params()


@pytest.mark.parametrize(
    "wrap", [torch.jit.script, lambda m: torch.jit.trace(m, torch.zeros(2, 3, 64, 64))]
)
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_scripted_modules_are_one_sentence(wrap, whole):
    model = wrap(small()) if whole else nn.Sequential(wrap(small()), nn.Linear(8, 10))
    with pytest.raises(UserError, match="scripted or traced modules") as caught:
        measure(model, SHAPE)
    assert "torch.jit.script or torch.jit.trace was given" in caught.value.hint


def test_a_model_without_memory_is_one_sentence():
    with pytest.raises(UserError, match="is on the meta device") as caught:
        measure(small().to("meta"), SHAPE)
    assert "to_empty" in caught.value.hint


def test_a_compiled_module_is_what_was_compiled():
    assert measure(torch.compile(small()), SHAPE).flops == EXPECTED


class Gives(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.body, self.make = small(), make

    def forward(self, x):
        return self.make(self.body(x))


@pytest.mark.parametrize(
    ("model", "shape", "words"),
    [
        (small(), (1, 5, 64, 64), "to have 3 channels, but got 5 channels"),
        (small(), (1, 3, 1, 1), "Kernel size can't be greater than actual input size"),
        (Gives(lambda x: 1 / 0), SHAPE, "division by zero"),
        (Gives(lambda x: [][1]), SHAPE, "list index out of range"),
        (Gives(lambda x: exec("raise SystemError")), SHAPE, "SystemError"),
    ],
)
def test_what_a_model_raises_is_one_sentence(model, shape, words):
    with pytest.raises(UserError, match="cannot be run on images of") as caught:
        measure(model, shape)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 500


def test_maps_of_one_pixel_at_a_batch_of_one():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 31), nn.BatchNorm2d(8), nn.Flatten()
    )
    with pytest.raises(UserError, match="more than 1 value per channel") as caught:
        measure(model, SHAPE, Workload(training_batch=1))
    assert "--batch 2" in caught.value.hint
    assert measure(model, SHAPE, Workload(training_batch=2)).training_bytes > 0


def test_outputs_that_are_no_logits_need_a_loss():
    model = Gives(lambda x: {"logits": x, "features": [x, x]})
    with pytest.raises(UserError, match="the model gives dict") as caught:
        measure(model, SHAPE)
    assert "pass `loss=`" in caught.value.hint
    cost = measure(model, SHAPE, loss=lambda out: out["logits"].sum())
    assert cost.flops == EXPECTED
