"""Modules as people have them: a number, or one sentence with the way out; nothing is changed."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import scalesearch as ss
from scalesearch.cost.any_module import images_for
from scalesearch.cost.cost import Workload
from scalesearch.cost.measured import measure
from scalesearch.errors import UserError

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


class Branches(nn.Module):
    """A forward pass that depends on values, which fake tensors do not have."""

    def __init__(self, branch):
        super().__init__()
        self.body, self.branch = small(), branch

    def forward(self, x):
        y = self.body(x)
        return y + self.branch(y)


@pytest.mark.parametrize(
    "branch",
    [
        lambda y: 1.0 if y.sum() > 0 else 2.0,
        lambda y: y.mean().item(),
        lambda y: len(torch.nonzero(y)),
        lambda y: float(y.detach().numpy().sum()),
    ],
    ids=["if", "item", "nonzero", "numpy"],
)
def test_a_branch_on_values_changes_no_number(branch):
    plain = measure(Branches(lambda y: 2.0), SHAPE, Workload(training_batch=4))
    model = Branches(branch)
    draws = torch.get_rng_state()
    assert measure(model, SHAPE, Workload(training_batch=4)) == plain
    assert torch.equal(draws, torch.get_rng_state())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_gets_the_same_numbers(mode):
    expected = measure(small(), SHAPE)
    with mode():
        assert measure(small(), SHAPE) == expected  # its very weights may be of inference mode


class Recomputes(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = small()

    def forward(self, x):
        return checkpoint(self.body, x, use_reentrant=False)


def compiled_in_place():
    model = small()
    model.compile()
    return model


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(torch.compile(small()), nn.Identity()),
        compiled_in_place,
        lambda: torch.fx.symbolic_trace(small()),
        lambda: nn.SyncBatchNorm.convert_sync_batchnorm(small()),
        Recomputes,
    ],
    ids=["a compiled part", "compiled in place", "torch.fx", "SyncBatchNorm", "checkpoint"],
)
def test_wrappings_change_no_number(make):
    assert measure(make(), SHAPE).flops == EXPECTED


def test_a_compiled_part_stays_compiled():
    model = nn.Sequential(torch.compile(small()), nn.Identity())
    part = model[0]
    measure(model, SHAPE)
    assert model[0] is part


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "norm", [nn.utils.weight_norm, nn.utils.spectral_norm, nn.utils.parametrizations.weight_norm]
)
def test_weights_that_are_computed(norm):
    """Older forms keep them as attributes that are no leaves, which cannot be copied."""
    model = nn.Sequential(norm(nn.Conv2d(3, 8, 3, 2)), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert measure(model, SHAPE).flops >= EXPECTED  # a spectral norm multiplies matrices too


def test_tensors_that_are_no_parameters_are_held():
    model = small()
    before = measure(model, SHAPE)
    model.grid = torch.zeros(1000)
    model.scaled = model[0].weight * 2  # no leaf
    after = measure(model, SHAPE)
    extra = 4 * (1000 + 3 * 9 * 8)
    assert after.inference_bytes - before.inference_bytes == extra
    assert after.training_bytes - before.training_bytes == extra


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_every_lazy_layer(dtype):
    model = nn.Sequential(
        nn.LazyConv2d(8, 3, 2), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(10)
    ).to(dtype)
    assert measure(model, SHAPE).flops == EXPECTED + 31 * 31 * 8 * 10
    assert all(part.has_uninitialized_params() for part in model if hasattr(part, "cls_to_become"))


def test_maps_of_one_pixel_in_a_layer_of_instances():
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.InstanceNorm2d(3), nn.Flatten())
    with pytest.raises(UserError, match="more than 1 spatial element") as caught:
        measure(model, SHAPE)
    assert "larger ones (--resolution)" in caught.value.hint


class Two(nn.Module):
    def forward(self, one, other):
        return one + other


def locked():
    model = small()
    model.lock = threading.Lock()
    return model


def quantised():
    return torch.ao.quantization.quantize_dynamic(
        nn.Sequential(small(), nn.Linear(8, 10)).eval(), {nn.Linear}
    )


def exported():
    return torch.export.export(small().eval(), (torch.zeros(2, 3, 64, 64),)).module()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "words", "hint"),
    [
        (Two, "missing 1 required positional argument: 'other'", "takes one batch of images alone"),
        (locked, "cannot be copied, and memory is counted on a copy: cannot pickle", "locks"),
        (quantised, "runs, but its operators cannot be followed", "quantised layers"),
        (exported, "holds a program of torch.export, which has one mode", "was given"),
        (lambda: "resnet18", "a module is measured, not str", "ss.build(net)"),
        (
            lambda: ss.architecture("resnet18"),
            "a module is measured, not Backbone",
            "ss.cost(net)",
        ),
        (lambda: small()[:2], r"the model gives a tensor [32, 8, 31, 31], of which no", "`loss=`"),
        (lambda: Gives(lambda x: None), "the model gives NoneType", "`loss=`"),
        (lambda: Gives(lambda x: [x]), "the model gives list", "`loss=`"),
        (lambda: Gives(lambda x: x.cuda()), "asks for a GPU in its own code", "no `.cuda()`"),
    ],
)
def test_one_sentence_with_the_way_out(make, words, hint):
    model = make()
    with pytest.raises(UserError) as caught:
        measure(model, SHAPE)
    assert words in caught.value.problem
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("loss", "words"), [(lambda out: out, r"a tensor \[32, 8\]"), (lambda out: 1.0, "float")]
)
def test_a_loss_that_is_no_number(loss, words):
    with pytest.raises(UserError, match=f"the loss is {words}") as caught:
        measure(small(), SHAPE, loss=loss)
    assert (caught.value.key, caught.value.allowed) == ("loss", "a tensor of one number")


def test_sizes_of_other_libraries():
    expected = measure(small(), SHAPE)
    for shape in (list(SHAPE), torch.Size(SHAPE), tuple(np.array(SHAPE))):
        assert measure(small(), shape) == expected


@pytest.mark.parametrize("shape", [(), (3,), (1, 3, 64, -1), (1, 3, 0, 64), "1364", 64, (1, 3.5)])
def test_shapes_that_are_none(shape):
    with pytest.raises(UserError, match="is no shape of images") as caught:
        measure(small(), shape)
    assert caught.value.allowed == "[N, C, H, W], each at least 1"


class Remembers(nn.Module):
    """Draws random numbers and changes a buffer even in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.body = small()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += 1
        return self.body(x + torch.randn_like(x)) if x.shape[1] == 3 else self.body(x)


@pytest.mark.parametrize("shape", [SHAPE, (1, 5, 64, 64)], ids=["measured", "refused"])
def test_nothing_is_changed(shape):
    model = Remembers().train()
    model.body[1].eval()
    model.register_forward_hook(lambda *_: None)
    hooks = [
        (list(m._forward_hooks), list(m._forward_pre_hooks), list(m._backward_hooks))
        for m in model.modules()
    ]
    modes, draws = [m.training for m in model.modules()], torch.get_rng_state()
    try:
        measure(model, shape)
    except UserError:
        assert shape[1] == 5
    assert model.seen == 0
    assert torch.equal(draws, torch.get_rng_state())
    assert [m.training for m in model.modules()] == modes
    assert hooks == [
        (list(m._forward_hooks), list(m._forward_pre_hooks), list(m._backward_hooks))
        for m in model.modules()
    ]


def test_a_trace_says_nothing_of_constants():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure(Branches(lambda y: 1.0 if y.sum() > 0 else 2.0), SHAPE)


def test_latency_of_a_model_that_fails_is_one_sentence():
    with pytest.raises(UserError, match="cannot be run on images of 1 x 5 x 64 x 64"):
        ss.measure_latency(small(), (5, 64, 64))


class Giving(nn.Module):
    """Gives its logits in whatever `put` puts them into."""

    def __init__(self, put):
        super().__init__()
        self.inner, self.put = small(), put

    def forward(self, images):
        return self.put(self.inner(images))


@dataclass
class Output:
    logits: torch.Tensor
    loss: torch.Tensor | None = None


@pytest.mark.parametrize(
    ("put", "logits"),
    [
        (lambda x: (x, 3.0), lambda out: out[0]),
        (lambda x: {"logits": x, 3: "a"}, lambda out: out["logits"]),
        (Output, lambda out: out.logits),
        (lambda x: [(x, None), x.sum()], lambda out: out[0][0]),
    ],
    ids=["a number beside", "keys that are no text", "a dataclass", "lists of pairs"],
)
def test_logits_in_any_container(put, logits):
    cost = measure(Giving(put), SHAPE, loss=lambda out: logits(out).sum())
    assert cost.flops == EXPECTED


class Caches(nn.Module):
    """Keeps the features of the last images in a buffer that is another tensor each time."""

    def __init__(self):
        super().__init__()
        self.inner = small()
        self.register_buffer("memory", torch.full((2, 8), 5.0))

    def forward(self, images):
        features = self.inner(images)
        self.memory = torch.cat([self.memory, features.detach()])[-2:]
        return features + self.memory.mean(0)


def test_a_buffer_that_becomes_another_tensor_is_put_back():
    model = Caches()
    memory = model.memory
    measure(model, SHAPE)
    assert model.memory is memory
    assert (memory == 5).all()


@pytest.mark.parametrize(
    ("first", "dtype"),
    [(torch.zeros(3, 4, dtype=torch.complex64), torch.float32), (torch.tensor(0.5), torch.half)],
    ids=["a complex filter", "a single number"],
)
def test_images_have_the_type_of_most_weights(first, dtype):
    model = nn.Module()
    model.first, model.inner = nn.Parameter(first), small().to(dtype)
    model.forward = model.inner.forward
    assert images_for(model, SHAPE).dtype == dtype
    assert measure(model, SHAPE).flops == EXPECTED


def test_weights_that_are_not_registered_are_named_so():
    model = nn.Module()
    model.layers = [nn.Linear(3, 4)]
    model.forward = lambda images: model.layers[0](images.mean((2, 3)))
    with pytest.raises(UserError, match="uses weights that are not registered in it") as caught:
        measure(model, SHAPE)
    assert "layers in a plain list" in caught.value.hint
