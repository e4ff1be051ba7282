"""Each block kind against a module of others with the same weights, and by hand."""

from __future__ import annotations

import math
from functools import partial
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scalesearch.arch.backbone import ACTIVATIONS, PADDINGS, Backbone
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.nn.blocks import BLOCKS, BlockContext
from tests.nn.block_mistakes import IN_DROPPING, IN_TRAINING, RESIDUAL, SPECIFIC, in_every_layer
from tests.nn.peer_blocks import PEERS, WIDTH, copy_weights, padded_same, theirs


def net(**fields):
    return Backbone(stages=(Stage(width=8),), **fields)


def block_of(stage, *, rate=0.0, width=WIDTH, **fields):
    """The first block of a stage."""
    context = BlockContext(net=net(**fields), width=width, stride=stage.stride, drop_path=rate)
    return BLOCKS[stage.block](stage, context)


def randomise(module):
    """Weights and statistics that are all different, so that none can be mistaken for another."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if name.endswith("running_var"):
            tensor.data.uniform_(0.5, 2)
        elif tensor.is_floating_point():
            tensor.data.normal_()
    return module.double()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_modules_and_descriptions_know_the_same_blocks():
    assert set(BLOCKS) == set(BLOCK_FIELDS) == {peer.stage.block for peer in PEERS}


def both(peer, padding):
    """Our block and the one of others, with the same weights."""
    own = randomise(block_of(peer.stage, activation=peer.activation, padding=padding))
    other = peer.make(peer.stage)
    other = (padded_same(other) if padding == "same" else other).double()
    copy_weights(own, other, peer.names)
    return own, other


def images():
    # Odd and not square: a stride of 2 then needs padding on both sides, and sides cannot be mixed.
    return torch.randn(3, WIDTH, 9, 6, dtype=torch.float64)


def check_evaluation(peer, padding):
    """The same outputs with and without gradients, and an input that is left alone."""
    own, other = (module.eval() for module in both(peer, padding))
    x = images()
    before, expected = x.clone(), other(x.clone())
    torch.testing.assert_close(own(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(own(x), expected)
        torch.testing.assert_close(own(x), expected)
    assert torch.equal(x, before)


def check_training(peer, padding):
    """The same outputs, gradients of images and of every weight, and running statistics."""
    own, other = (module.train() for module in both(peer, padding))
    x, y = (tensor.requires_grad_() for tensor in images().repeat(2, 1, 1, 1, 1))
    out, expected = own(x), other(y)
    torch.testing.assert_close(out, expected)
    toward = torch.randn_like(out)
    out.backward(toward)
    expected.backward(toward)
    torch.testing.assert_close(x.grad, y.grad)
    parameters, buffers = dict(other.named_parameters()), dict(other.named_buffers())
    for name, parameter in own.named_parameters():
        torch.testing.assert_close(parameter.grad, parameters[theirs(name, peer.names)].grad)
    for name, buffer in own.named_buffers():
        torch.testing.assert_close(buffer, buffers[theirs(name, peer.names)])


def failures(check, cases):
    """The cases for which a check fails, with its message."""
    failed = []
    for case in cases:
        torch.manual_seed(0)
        try:
            check(*case)
        except AssertionError as error:
            failed.append((*case, str(error)))
    return failed


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("check", [check_evaluation, check_training])
def test_every_block_computes_as_its_peer(check, padding):
    assert failures(check, [(peer, padding) for peer in PEERS]) == []


@pytest.mark.parametrize(("width", "stride"), [(8, 1), (8, 2), (12, 1)])
def test_a_wide_block_written_out(width, stride):
    # Zagoruyko & Komodakis 2016, Figure 1 (a) and section 2, with PyTorch's functions alone.
    own = randomise(block_of(Stage(block="wide", width=width, stride=stride), activation="relu"))
    x = images()
    p = dict(own.named_parameters())

    def active(x, name):
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), False, keepdim=True)
        scale, shift = (p[f"{name}.norm.{key}"].view(1, -1, 1, 1) for key in ("weight", "bias"))
        return ((x - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)

    o = active(x, "entry")
    y = F.conv2d(o, p["first.conv.weight"], stride=stride, padding=1)
    y = F.conv2d(active(y, "first"), p["second.conv.weight"], padding=1)
    projects = (width, stride) != (WIDTH, 1)
    shortcut = F.conv2d(o, p["shortcut.conv.weight"], stride=stride) if projects else x
    torch.testing.assert_close(own.train()(x), y + shortcut)


def test_an_mbconv_block_without_expansion_has_no_expanding_convolution():
    block = block_of(Stage(width=8, expand=1), width=8)
    assert isinstance(block.expand, nn.Identity)
    # Depthwise 8 * 9 and its norm, projection 8 * 8 and its norm.
    assert sum(p.numel() for p in block.parameters()) == 72 + 16 + 64 + 16


@pytest.mark.parametrize(("width", "stride"), [(2, 1), (2, 2), (3, 2), (1, 2), (3, 1)])
def test_an_identity_block_by_hand(width, stride):
    x = torch.arange(2 * 3 * 5, dtype=torch.float32).view(1, 2, 3, 5)
    y = block_of(Stage(block="identity", width=width, stride=stride), width=2)(x)
    assert y.shape == (1, width, math.ceil(3 / stride), math.ceil(5 / stride))
    for channel in range(width):
        for row in range(y.shape[2]):
            for column in range(y.shape[3]):
                before = channel * 15 + row * stride * 5 + column * stride if channel < 2 else 0
                assert y[0, channel, row, column] == before


def test_an_identity_block_keeps_no_pixel_that_it_leaves_out():
    block = block_of(Stage(block="identity", width=2, stride=2), width=2)
    y = block(torch.randn(1, 2, 8, 8))
    assert y.untyped_storage().nbytes() == 4 * 2 * 4 * 4


def test_an_identity_block_has_no_parameters_and_may_be_nothing():
    block = block_of(Stage(block="identity", width=2), width=2)
    x = torch.randn(1, 2, 4, 4)
    assert list(block.parameters()) == []
    assert torch.equal(block(x), x)


def check_gradients(kind, activation, training):
    # Three channels to three is a residual, to five with a stride a projection.
    for width, stride in ((3, 1), (5, 2)):
        fields = {"expand": 2, "se": 0.5, "reduce": 2}
        read = {key: value for key, value in fields.items() if key in BLOCK_FIELDS[kind]}
        stage = Stage(block=kind, width=width, stride=stride, **read)
        block = randomise(block_of(stage, width=3, activation=activation)).train(training)
        x = torch.randn(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(block, (x,), fast_mode=True, raise_exception=False)


def test_gradients_are_those_of_finite_differences():
    assert failures(check_gradients, product(BLOCKS, ACTIVATIONS, (False, True))) == []


@pytest.mark.parametrize("kind", RESIDUAL)
def test_a_block_that_is_always_dropped_is_its_shortcut(kind):
    x = torch.randn(4, WIDTH, 3, 3)
    block = block_of(Stage(block=kind, width=WIDTH), rate=1 - 1e-12, activation="relu").train()
    assert torch.equal(block(x), x.relu() if kind in ("basic", "bottleneck") else x)


@pytest.mark.parametrize("kind", ["basic", "bottleneck", "wide"])
def test_a_block_that_is_always_dropped_keeps_its_projection(kind):
    x = torch.randn(4, WIDTH, 3, 3)
    stage = Stage(block=kind, width=12, stride=2)
    block = block_of(stage, rate=1 - 1e-12, activation="relu").train()
    projected = block.shortcut(block.entry(x) if kind == "wide" else x)
    assert torch.equal(block(x), projected if kind == "wide" else projected.relu())


def check_dropping(kind):
    """Some images lose the branch, the others have it divided by its chance to be kept."""
    stage = Stage(block=kind, width=WIDTH)
    block = randomise(block_of(stage, rate=0.4, activation="relu")).eval()
    x = torch.randn(64, WIDTH, 3, 4, dtype=torch.float64)
    whole = block(x)
    active = torch.relu if kind in ("basic", "bottleneck") else nn.Identity()
    parts = []
    block.drop_path.register_forward_pre_hook(lambda _, given: parts.append(given))
    # Norms evaluate, so that the branch is the same; dropping alone trains.
    block.drop_path.train()
    y = block(x)
    shortcut, branch = parts[-1]
    assert torch.equal(shortcut, x)
    torch.testing.assert_close(active(x + branch), whole)
    dropped, kept = active(x), active(x + branch / 0.6)
    is_dropped = torch.tensor([torch.equal(a, b) for a, b in zip(y, dropped, strict=True)])
    torch.testing.assert_close(y[~is_dropped], kept[~is_dropped])
    # 64 draws of 0.4: 25.6 on average with a deviation of 3.9.
    assert 6 <= is_dropped.sum() <= 45


def test_a_dropped_branch_leaves_the_shortcut_and_a_kept_one_is_scaled():
    assert failures(check_dropping, [(kind,) for kind in RESIDUAL]) == []


@pytest.mark.parametrize("kind", RESIDUAL)
def test_a_dropped_image_gives_the_branch_no_gradient(kind):
    stage = Stage(block=kind, width=WIDTH)
    block = block_of(stage, rate=1 - 1e-12, activation="relu").train()
    x = torch.randn(4, WIDTH, 3, 3, requires_grad=True)
    block(x).sum().backward()
    assert all(not p.grad.any() for p in block.parameters() if p.grad is not None)
    assert x.grad.any()


@pytest.mark.parametrize("kind", ["mbconv", "fused_mbconv", "separable", "identity"])
def test_a_block_without_a_shortcut_drops_nothing(kind):
    block = block_of(Stage(block=kind, width=12, stride=2), rate=0.9).train()
    x = torch.randn(4, WIDTH, 3, 3)
    assert torch.equal(block(x), block(x))


def is_seen(check, kind):
    """Whether a check fails for one of the peers of a kind, in one of the paddings."""
    for peer in PEERS:
        for padding in PADDINGS if peer.stage.block == kind else ():
            try:
                check(peer, padding)
            except (AssertionError, RuntimeError):  # RuntimeError: sizes, or autograd's own check
                return True
    return False


def wrongly_judged(mistakes, is_right, monkeypatch):
    """The mistakes by kind of which `is_right(kind)` is false once they are in every block."""
    wrong = []
    for kind, of_kind in mistakes.items():
        right = BLOCKS[kind]
        for words, mistake in of_kind.items():

            def mistaken(*args, mistake=mistake, right=right):
                block = right(*args)
                mistake(block)
                return block

            torch.manual_seed(0)
            with monkeypatch.context() as patched:
                patched.setitem(BLOCKS, kind, mistaken)
                if not is_right(kind):
                    wrong.append((kind, words))
    return wrong


def test_every_mistake_in_a_forward_pass_is_seen_in_evaluation(monkeypatch):
    mistakes = {kind: dict(in_every_layer(kind)) | SPECIFIC[kind] for kind in BLOCKS}
    assert all(mistakes.values())
    seen = partial(is_seen, check_evaluation)
    assert wrongly_judged(mistakes, seen, monkeypatch) == []


def test_a_mistake_in_training_is_seen_in_training_alone(monkeypatch):
    def is_right(kind):
        return is_seen(check_training, kind) and not is_seen(check_evaluation, kind)

    assert wrongly_judged(IN_TRAINING, is_right, monkeypatch) == []


def test_a_mistake_in_dropping_is_seen_where_branches_are_dropped(monkeypatch):
    def seen(kind):
        return bool(failures(check_dropping, [(kind,)]))

    assert wrongly_judged(dict.fromkeys(RESIDUAL, IN_DROPPING), seen, monkeypatch) == []
