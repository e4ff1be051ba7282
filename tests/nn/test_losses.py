"""Losses against effdet, torchvision, hand arithmetic and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from scalesearch.errors import UserError
from scalesearch.nn import losses
from scalesearch.nn.losses import Criterion, broken_images, detection_loss
from scalesearch.nn.matching import Match, match
from tests.effdets import effdet_anchors, effdet_loss, flat, peer_anchors, swapped

SIZE = (64, 96)
CLASSES = 5
SMOOTH = Criterion(label_smoothing=0.1, gamma=2.0, alpha=0.4, delta=0.3, box_weight=10.0)


def match_of(anchors=(), labels=(), deltas=None, ignored=()):
    """A match written out."""
    deltas = torch.zeros(len(anchors), 4) if deltas is None else torch.as_tensor(deltas)
    numbers = (torch.tensor(list(part), dtype=torch.int64) for part in (anchors, labels, ignored))
    positive, label, left_out = numbers
    return Match(positive, label, deltas, left_out)


def predicted(images, anchors, classes=CLASSES, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, anchors, classes, generator=generator, dtype=torch.float64) * 3 - 1
    deltas = torch.randn(images, anchors, 4, generator=generator, dtype=torch.float64) * 0.3
    return logits.to(dtype).requires_grad_(), deltas.to(dtype).requires_grad_()


MATCHES = [
    match_of([0, 3, 4], [1, 4, 0], [[0.1, 0.2, -0.3, 0.4]] * 3, ignored=[1, 6]),
    match_of(),
    match_of([6], [2], [[1.0, -1.0, 0.0, 0.01]]),
]


def objects(seed, count):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * torch.tensor([70.0, 40.0])
    sides = torch.rand(count, 2, generator=generator) * 40 + 4
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    return torch.cat([corners, corners + sides], 1), labels


def effdets_loss(maps, targets, criterion):
    """Total, class loss, box loss of maps of logits and of deltas, five levels each."""
    return effdet_loss.loss_fn(
        maps[:5],
        maps[5:],
        *targets,
        num_classes=CLASSES,
        alpha=criterion.alpha,
        gamma=criterion.gamma,
        delta=criterion.delta,
        box_loss_weight=criterion.box_weight,
        label_smoothing=criterion.label_smoothing,
    )


@pytest.mark.parametrize("criterion", [Criterion(), SMOOTH], ids=["default", "smooth"])
@pytest.mark.parametrize("counts", [(4, 1, 9), (0, 3), (0,)], ids=str)
def test_losses_and_gradients_are_effdets(criterion, counts):
    peer = peer_anchors("tf_efficientdet_d0", SIZE)
    generator = torch.Generator().manual_seed(1)
    maps = [
        torch.randn(len(counts), 9 * values, *peer.feat_sizes[level], generator=generator) - shift
        for values, shift in ((CLASSES, 2.0), (4, 0.0))
        for level in range(3, 8)
    ]
    maps = [x.requires_grad_() for x in maps]
    found = [objects(seed, count) for seed, count in enumerate(counts)]
    targets = effdet_anchors.AnchorLabeler(peer, CLASSES).batch_label_anchors(
        [swapped(boxes) for boxes, _ in found], [labels + 1 for _, labels in found]
    )
    # effdet's mark of what is left out, on one level, but for its positives.
    targets[0][1][targets[0][1] < 0] = -2
    marks = torch.cat([level.reshape(len(counts), -1) for level in targets[0]], 1)
    matches = [
        match(
            swapped(peer.boxes), boxes, labels, torch.zeros(len(boxes), dtype=torch.bool)
        )._replace(ignored=(mark == -2).nonzero().squeeze(1))
        for (boxes, labels), mark in zip(found, marks, strict=True)
    ]
    theirs = effdets_loss(maps, targets, criterion)
    ours = detection_loss(flat(maps[:5], CLASSES), flat(maps[5:], 4), matches, criterion)
    for one, other in zip((ours.total, ours.class_loss, ours.box_loss), theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    gradients = (torch.autograd.grad(total, maps) for total in (ours.total, theirs[0]))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(ours.images.sum(), ours.total.detach())


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 1.5), (0.25, 2.0), (0.6, 0.5)])
def test_class_loss_is_torchvisions(alpha, gamma):
    logits, deltas = predicted(3, 7)
    truth = torch.zeros_like(logits)
    counted = torch.ones_like(logits)
    for image, one in enumerate(MATCHES):
        truth[image, one.anchors, one.labels] = 1.0
        counted[image, one.ignored] = 0.0
    each = sigmoid_focal_loss(logits, truth, alpha, gamma, "none") * counted / (4 + 1)
    ours = detection_loss(logits, deltas, MATCHES, Criterion(alpha=alpha, gamma=gamma))
    torch.testing.assert_close(ours.class_loss, each.sum(), rtol=1e-5, atol=0)
    (wanted,) = torch.autograd.grad(each.sum(), logits)
    (slopes,) = torch.autograd.grad(ours.class_loss, logits)
    torch.testing.assert_close(slopes, wanted, rtol=1e-4, atol=1e-7)
    boxes = torch.stack([part.sum() for part in box_losses(deltas)]) / (4 * (4 + 1))
    torch.testing.assert_close(ours.images, (each.sum((1, 2)) + 50 * boxes).detach())
    torch.testing.assert_close(ours.box_loss, boxes.sum())
    assert slopes[0, MATCHES[0].ignored].abs().max() == 0


def box_losses(deltas):
    """Each image's Huber losses of its positives."""
    return [
        F.smooth_l1_loss(deltas[image, one.anchors], one.deltas, beta=0.1, reduction="none") * 0.1
        for image, one in enumerate(MATCHES)
    ]


def test_losses_by_hand():
    # Sure of nothing: sigmoid(0) = 1/2 for the right class and the wrong one.
    logits = torch.zeros(1, 1, 2)
    deltas = torch.tensor([[[0.05, 1.1, 0.0, 0.0]]])
    loss = detection_loss(logits, deltas, [match_of([0], [1])])
    focal = 0.5**1.5 * math.log(2)
    assert loss.class_loss.item() == pytest.approx((0.25 + 0.75) * focal / (1 + 1))
    huber = 0.05**2 / 2 + 0.1 * (1.1 - 0.05)
    assert loss.box_loss.item() == pytest.approx(huber / (4 * (1 + 1)))
    assert loss.total.item() == pytest.approx(focal / 2 + 50 * huber / 8)


def test_a_code_of_zero_is_learnt_too():
    deltas = torch.tensor([[[0.3, 0.0, 0.0, 0.0]]], requires_grad=True)
    detection_loss(torch.zeros(1, 1, 1), deltas, [match_of([0], [0])]).total.backward()
    assert deltas.grad[0, 0].tolist() == pytest.approx([50 * 0.1 / 8, 0, 0, 0])


@pytest.mark.parametrize("criterion", [Criterion(), SMOOTH], ids=["default", "smooth"])
def test_gradients_are_finite_differences(criterion):
    inputs = predicted(3, 7, dtype=torch.float64)

    def total(logits, deltas):
        return detection_loss(logits, deltas, MATCHES, criterion).total

    assert torch.autograd.gradcheck(total, inputs)


def test_the_gradient_can_be_asked_for_twice():
    logits, deltas = predicted(3, 7)
    total = detection_loss(logits, deltas, MATCHES).total
    first = torch.autograd.grad(total, logits, retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(2 * total, logits)[0], 2 * first)


def test_predictions_are_not_changed_and_without_gradients_the_loss_is_the_same():
    logits, deltas = predicted(3, 7)
    copies = logits.detach().clone(), deltas.detach().clone()
    detection_loss(logits, deltas, MATCHES).total.backward()
    with torch.no_grad():
        loss = detection_loss(logits, deltas, MATCHES)
    assert not loss.total.requires_grad
    assert torch.equal(loss.total, detection_loss(logits, deltas, MATCHES).total)
    assert torch.equal(logits, copies[0])
    assert torch.equal(deltas, copies[1])


def test_blocks_of_any_size_give_the_same(monkeypatch):
    logits, deltas = predicted(3, 7, dtype=torch.float64)
    wanted = detection_loss(logits, deltas, MATCHES).total
    slopes = torch.autograd.grad(wanted, logits)
    for block in (1, 5, 34, 2**40):
        monkeypatch.setattr(losses, "_BLOCK", block)
        total = detection_loss(logits, deltas, MATCHES).total
        torch.testing.assert_close(total, wanted)
        torch.testing.assert_close(torch.autograd.grad(total, logits), slopes)


def test_the_order_in_memory_does_not_matter():
    logits, deltas = predicted(3, 7)
    wanted = detection_loss(logits, deltas, MATCHES).total
    (slopes,) = torch.autograd.grad(wanted, logits)
    moved = logits.detach().mT.contiguous().mT.requires_grad_()
    total = detection_loss(moved, deltas, MATCHES).total
    assert torch.equal(total, wanted)
    assert torch.equal(torch.autograd.grad(total, moved)[0], slopes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    logits, deltas = predicted(3, 7, dtype=dtype)
    loss = detection_loss(logits, deltas, MATCHES)
    loss.total.backward()
    wide_logits, wide_deltas = (x.detach().float().requires_grad_() for x in (logits, deltas))
    wanted = detection_loss(wide_logits, wide_deltas, MATCHES)
    wanted.total.backward()
    assert loss.total.dtype == torch.float32
    torch.testing.assert_close(loss.total, wanted.total)
    torch.testing.assert_close(logits.grad, wide_logits.grad.to(dtype))
    torch.testing.assert_close(deltas.grad, wide_deltas.grad.to(dtype))


def test_autocast_changes_nothing():
    logits, deltas = predicted(3, 7)
    wanted = detection_loss(logits, deltas, MATCHES).total
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(detection_loss(logits, deltas, MATCHES).total, wanted)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_surest_logits_have_finite_losses(sign):
    logits = torch.full((1, 7, CLASSES), sign * 2e4, requires_grad=True)
    loss = detection_loss(logits, torch.zeros(1, 7, 4), MATCHES[:1])
    loss.total.backward()
    assert broken_images(loss.images) == []
    assert logits.grad.isfinite().all()
    # Wrong about all but the positives, or about these: |x| each, weighted.
    wrong = 0.75 * (5 * CLASSES - 3) if sign > 0 else 0.25 * 3
    assert loss.class_loss.item() == pytest.approx(wrong * 2e4 / 4)


def test_a_tiny_loss_keeps_its_digits():
    logits = torch.full((1, 2, 3), -15.0, requires_grad=True)
    loss = detection_loss(logits, torch.zeros(1, 2, 4), [match_of()])
    loss.total.backward()
    wide = logits.detach().double().requires_grad_()
    each = sigmoid_focal_loss(wide, torch.zeros_like(wide), 0.25, 1.5, "sum")
    each.backward()
    torch.testing.assert_close(loss.total.double(), each, rtol=1e-5, atol=0)
    torch.testing.assert_close(logits.grad.double(), wide.grad, rtol=1e-5, atol=0)


def test_a_loss_that_is_no_number_names_its_images():
    logits, deltas = predicted(3, 7)
    assert broken_images(detection_loss(logits, deltas, MATCHES).images) == []
    with torch.no_grad():
        logits[1, 2, 0] = math.nan
        deltas[0, 5] = math.nan  # no positive: nobody reads it
        deltas[2, 6] = math.inf
    loss = detection_loss(logits, deltas, MATCHES)
    assert broken_images(loss.images) == [1, 2]
    assert not loss.total.isfinite()


def test_a_batch_without_objects_has_a_loss_and_gradients():
    logits, deltas = predicted(2, 7)
    loss = detection_loss(logits, deltas, [match_of(), match_of()])
    loss.total.backward()
    assert loss.box_loss.item() == 0
    assert loss.class_loss.item() > 0
    assert float(deltas.grad.abs().max()) == 0
    assert float(logits.grad.min()) > 0


def test_the_loss_can_be_counted_without_being_computed():
    with FakeTensorMode():
        logits = torch.zeros(2, 7, CLASSES, requires_grad=True)
        deltas = torch.zeros(2, 7, 4, requires_grad=True)
        numbers = torch.zeros(3, dtype=torch.int64)
        one = Match(numbers, numbers, torch.zeros(3, 4), numbers)
        detection_loss(logits, deltas, [one, one]).total.backward()
    assert logits.grad.shape == logits.shape
    assert deltas.grad.shape == deltas.shape


def test_constants_that_make_no_sense_are_refused(subtests):
    for key, value, allowed in (
        ("alpha", 1.5, "from 0 to 1"),
        ("label_smoothing", -0.1, "from 0 to 1"),
        ("gamma", 0, "above 0"),
        ("delta", 0.0, "above 0"),
        ("box_weight", -1, "above 0"),
    ):
        with subtests.test(key):
            with pytest.raises(UserError, match=allowed) as caught:
                Criterion(**{key: value})
            assert caught.value.key == key
