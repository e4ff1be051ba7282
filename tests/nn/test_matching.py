"""Assignment against effdet's labeller, and what it leaves open by hand."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from scalesearch.arch.detector import Anchors
from scalesearch.nn import matching
from scalesearch.nn.anchors import anchor_boxes
from scalesearch.nn.boxes import decode
from scalesearch.nn.matching import match, match_batch, objects_of
from tests.effdets import effdet_anchors, peer_anchors, swapped

SIZE = (256, 384)
LEVELS = range(3, 8)
ANCHORS = anchor_boxes(Anchors(), LEVELS, SIZE)


def drawn(count, seed, most=0.7):
    """Boxes of all sizes, some reaching over the border of the image; and labels."""
    generator = torch.Generator().manual_seed(seed)
    extent = torch.tensor([SIZE[1], SIZE[0]])
    sides = torch.rand(count, 2, generator=generator) ** 2 * extent * most + 1
    corners = torch.rand(count, 2, generator=generator) * (extent - sides * 0.7)
    return torch.cat([corners, corners + sides], 1), torch.randint(
        0, 90, (count,), generator=generator
    )


def none(count):
    return torch.zeros(count, dtype=torch.bool)


def dense(matched, anchors=ANCHORS):
    """Labels [A], -1 where there is none, and deltas [A, 4], as effdet writes them."""
    labels = torch.full((len(anchors),), -1)
    labels[matched.anchors] = matched.labels
    deltas = torch.zeros(len(anchors), 4)
    deltas[matched.anchors] = matched.deltas
    return labels, deltas


def theirs(boxes, labels, size=SIZE):
    labeller = effdet_anchors.AnchorLabeler(peer_anchors("tf_efficientdet_d0", size), 90)
    classes, deltas, positives = labeller.label_anchors(swapped(boxes), labels + 1)
    classes = torch.cat([level.flatten() for level in classes])
    return classes, torch.cat([level.reshape(-1, 4) for level in deltas]), int(positives)


def test_targets_are_effdets(subtests):
    for count, seed in itertools.product((1, 2, 7, 40, 150), range(4)):
        boxes, labels = drawn(count, 10 * count + seed)
        matched = match(ANCHORS, boxes, labels, none(count))
        classes, deltas, positives = theirs(boxes, labels)
        with subtests.test(f"{count} objects, seed {seed}"):
            ours = dense(matched)
            assert torch.equal(ours[0], classes)
            torch.testing.assert_close(ours[1], deltas, rtol=1e-4, atol=1e-4)
            assert len(matched.anchors) == positives >= 1
            assert matched.ignored.tolist() == []


def test_several_objects_with_one_best_anchor_are_effdets():
    # Tiny objects inside of one cell: their best anchor is the same, and the first one gets it.
    boxes = torch.tensor([[99.0, 99.0, 102.0, 102.0], [98.5, 98.5, 102.2, 102.2]]).repeat(3, 1)
    boxes[4:] += 64
    labels = torch.arange(6)
    best = box_iou(boxes, ANCHORS).argmax(1)
    assert len(best.unique()) == 2
    matched = match(ANCHORS, boxes, labels, none(6))
    assert torch.equal(dense(matched)[0], theirs(boxes, labels)[0])
    assert matched.labels.tolist() == [0, 4]


def test_an_objects_best_anchor_is_its_own_though_another_overlaps_it_more():
    # Anchor 0 is the second object but for a pixel, and yet the best that the first one has.
    anchors = torch.tensor([[0.0, 0.0, 20.0, 20.0], [200.0, 200.0, 220.0, 220.0]])
    boxes = torch.tensor([[15.0, 15.0, 40.0, 40.0], [0.0, 0.0, 20.0, 19.0]])
    matched = match(anchors, boxes, torch.tensor([3, 4]), none(2))
    assert matched.anchors.tolist() == [0]
    assert matched.labels.tolist() == [3]


def test_half_is_enough_and_less_is_not():
    # Intersections over union of 10/20, 10/21 and 1; the first is forced for no object.
    anchors = torch.tensor([[0.0, 0.0, 2.0, 10.0], [0.0, 0.0, 2.1, 10.0], [0.0, 0.0, 1.0, 10.0]])
    boxes = torch.tensor([[0.0, 0.0, 1.0, 10.0]])
    matched = match(anchors, boxes, torch.tensor([5]), none(1))
    assert matched.anchors.tolist() == [0, 2]
    assert matched.labels.tolist() == [5, 5]


def test_deltas_lead_back_to_the_objects():
    boxes, labels = drawn(12, 3)
    matched = match(ANCHORS, boxes, labels, none(12))
    again = decode(matched.deltas, ANCHORS[matched.anchors])
    iou = box_iou(again, boxes)
    assert (iou.amax(1) > 0.999).all()
    assert torch.equal(labels[iou.argmax(1)], matched.labels)


def test_images_without_objects():
    matched = match(ANCHORS, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), none(0))
    assert [len(part) for part in matched] == [0, 0, 0, 0]
    assert matched.deltas.shape == (0, 4)
    assert matched.anchors.dtype == matched.labels.dtype == matched.ignored.dtype == torch.int64


def test_boxes_without_area_match_nothing():
    inf, nan = float("inf"), float("nan")
    boxes = torch.tensor(
        [
            [50.0, 50.0, 50.0, 90.0],
            [50.0, 50.0, 90.0, 50.0],
            [90.0, 50.0, 50.0, 90.0],
            [0.0, nan, 9.0, 9.0],
            [0.0, 0.0, inf, 9.0],
        ]
    )
    labels = torch.arange(5)
    matched = match(ANCHORS, boxes, labels, none(5))
    assert [len(part) for part in matched] == [0, 0, 0, 0]
    assert len(match(ANCHORS, boxes, labels, ~none(5)).ignored) == 0
    good, good_labels = drawn(3, 0)
    mixed = match(ANCHORS, torch.cat([boxes, good]), torch.cat([labels, good_labels]), none(8))
    alone = match(ANCHORS, good, good_labels, none(3))
    assert all(torch.equal(a, b) for a, b in zip(mixed, alone, strict=True))


def test_an_object_that_no_anchor_touches_forces_none():
    boxes = torch.tensor([[5000.0, 5000.0, 5010.0, 5010.0]])
    assert len(match(ANCHORS, boxes, torch.tensor([1]), none(1)).anchors) == 0


def test_a_crowd_is_ignored_from_half_of_an_anchor_on():
    anchors = torch.tensor(
        [
            [0.0, 0.0, 10.0, 10.0],  # within
            [95.0, 0.0, 105.0, 10.0],  # half of it
            [96.0, 0.0, 106.0, 10.0],  # less
            [300.0, 300.0, 310.0, 310.0],
            [0.0, 0.0, 100.0, 100.0],  # the crowd itself
            [0.0, 0.0, 150.0, 150.0],  # around it: 10000 / 22500
        ]
    )
    crowd = torch.tensor([[0.0, 0.0, 100.0, 100.0]])
    matched = match(anchors, crowd, torch.tensor([1]), torch.tensor([True]))
    assert matched.anchors.tolist() == []
    assert matched.ignored.tolist() == [0, 1, 4]


def test_an_object_within_a_crowd_keeps_its_anchors():
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    boxes = torch.tensor([[0.0, 0.0, 100.0, 100.0], [1.0, 1.0, 10.0, 10.0]])
    matched = match(anchors, boxes, torch.tensor([7, 8]), torch.tensor([True, False]))
    assert (matched.anchors.tolist(), matched.labels.tolist()) == ([0], [8])
    assert matched.ignored.tolist() == [1]


def test_crowds_are_looked_at_one_by_one():
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    thirds = torch.tensor([[0.0, 0.0, 3.0, 10.0], [7.0, 0.0, 10.0, 10.0]])
    matched = match(anchors, thirds, torch.tensor([0, 0]), torch.tensor([True, True]))
    assert matched.ignored.tolist() == []


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 12), data=st.data())
def test_the_order_of_objects_does_not_matter(seed, count, data):
    boxes, labels = drawn(count, seed)
    best = box_iou(boxes, ANCHORS).argmax(1)
    if len(best.unique()) < count:
        return  # the first of those with one best anchor gets it
    crowd = torch.tensor(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    order = torch.tensor(data.draw(st.permutations(range(count))))
    one = match(ANCHORS, boxes, labels, crowd)
    other = match(ANCHORS, boxes[order], labels[order], crowd[order])
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    # Each object that is no crowd has its best anchor.
    labels_of = dict(zip(one.anchors.tolist(), one.labels.tolist(), strict=True))
    for index in (~crowd).nonzero().squeeze(1).tolist():
        assert labels_of[int(best[index])] == labels[index]
    assert not set(one.ignored.tolist()) & set(labels_of)


def test_pieces_of_any_size_give_the_same(monkeypatch):
    boxes, labels = drawn(30, 1)
    boxes[21] = boxes[3]  # the first of equals stands in another piece
    labels[21] = labels[3] + 1
    crowd = torch.arange(30) % 5 == 0
    wanted = match(ANCHORS, boxes, labels, crowd)
    for pairs in (1, 3 * len(ANCHORS), 2**40):
        monkeypatch.setattr(matching, "_PAIRS", pairs)
        matched = match(ANCHORS, boxes, labels, crowd)
        assert all(torch.equal(a, b) for a, b in zip(matched, wanted, strict=True))


def test_float64_boxes_are_taken_as_float32():
    boxes, labels = drawn(5, 2)
    matched = match(ANCHORS, boxes.double(), labels, none(5))
    wanted = match(ANCHORS, boxes, labels, none(5))
    assert all(torch.equal(a, b) for a, b in zip(matched, wanted, strict=True))


def test_a_batch_is_matched_as_its_images_are():
    """Images without objects, with objects, with crowds alone, and with boxes of no area."""
    images = []
    for count, seed in ((3, 1), (0, 2), (40, 3), (5, 4), (7, 5)):
        boxes, labels = drawn(count, seed)
        images.append((boxes, labels, torch.arange(count) % 4 == 1))
    images[3] = (images[3][0], images[3][1], ~none(5))
    images[4][0][2] = 0.0
    matches = match_batch(ANCHORS, objects_of(images))
    assert len(matches) == len(images)
    for image, matched in zip(images, matches, strict=True):
        alone = match(ANCHORS, *image)
        assert all(torch.equal(one, other) for one, other in zip(matched, alone, strict=True))
