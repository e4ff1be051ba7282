"""Detections against effdet's, torchvision's suppression, the paper's rule, and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.ops import batched_nms, box_iou

from scalesearch.arch.detector import Anchors
from scalesearch.arch.efficientdet import efficientdet
from scalesearch.errors import UserError
from scalesearch.nn import postprocess
from scalesearch.nn.anchors import anchor_boxes
from scalesearch.nn.boxes import encode
from scalesearch.nn.losses import detection_loss
from scalesearch.nn.matching import match
from scalesearch.nn.postprocess import Letterbox, Selection, best, detect
from tests.effdets import config, effdet, effdet_bench, flat

D0 = efficientdet("efficientdet_d0")
# effdet's soft suppression ends at this score.
SOFT = Selection(suppress="soft", min_score=0.001)


def whole(size):
    """An image that fills the input."""
    return Letterbox(size, size)


def anchors_of(size, levels=range(3, 8)):
    return anchor_boxes(Anchors(), levels, size)


class Saying(nn.Module):
    """A model that always outputs the same."""

    def __init__(self, settings, maps):
        super().__init__()
        self.config, self.maps = settings, maps

    def forward(self, images):
        return self.maps


def random_maps(settings, images, seed, spread=1.5):
    generator = torch.Generator().manual_seed(seed)
    height, width = settings.image_size
    shapes = [(-(-height // 2**level), -(-width // 2**level)) for level in range(3, 8)]
    return tuple(
        [torch.randn(images, 9 * n, *s, generator=generator) * spread - shift for s in shapes]
        for n, shift in ((settings.num_classes, 4.0), (4, 0.0))
    )


def effdets_detections(settings, maps, letterboxes):
    """effdet's detections of stated maps, as ours."""
    bench = effdet_bench.DetBenchPredict(Saying(settings, maps)).eval()
    info = {
        "img_scale": torch.tensor(
            [letterbox.size[0] / letterbox.inner[0] for letterbox in letterboxes]
        ),
        "img_size": torch.tensor([letterbox.size[::-1] for letterbox in letterboxes]).float(),
    }
    detections = bench(torch.zeros(len(letterboxes), 3, 1, 1), info)
    return [rows[rows[:, 4] > 0] for rows in detections]


def assert_equal(ours, theirs, atol=1e-3):
    for one, rows in zip(ours, theirs, strict=True):
        assert len(one.scores) == len(rows) > 0
        torch.testing.assert_close(one.scores, rows[:, 4], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(one.boxes, rows[:, :4], rtol=1e-5, atol=atol)
        assert torch.equal(one.labels + 1, rows[:, 5].long())
        assert one.boxes.dtype == one.scores.dtype == torch.float32


def test_detections_are_effdets(subtests):
    for classes, size, spread in (
        (20, (128, 256), 3.0),
        (1, (256, 128), 1.0),
        (2, (96, 160), 0.3),
    ):
        settings = config("tf_efficientdet_d0", size, num_classes=classes)
        maps = random_maps(settings, 2, seed=classes, spread=spread)
        # effdet cannot look at more candidates than there are.
        settings.max_detection_points = min(5000, len(anchors_of(size)) * classes)
        letterboxes, raw = [whole(size), whole(size)], (flat(maps[0], classes), flat(maps[1], 4))
        for selection in (Selection(), SOFT):
            settings.soft_nms = selection.suppress == "soft"
            with subtests.test(f"{classes} classes, {selection.suppress}"):
                wanted = effdets_detections(settings, maps, letterboxes)
                assert_equal(detect(*raw, anchors_of(size), letterboxes, selection), wanted)


def test_detections_of_a_whole_network_are_effdets():
    torch.manual_seed(0)
    size = (256, 384)
    settings = config("tf_efficientdet_d0", size)
    model = effdet.EfficientDet(settings, pretrained_backbone=False).eval()
    with torch.no_grad():
        # A network that nobody trained says the same everywhere: its differences are made larger.
        model.class_net.predict.conv_pw.weight *= 7e4
        model.box_net.predict.conv_pw.weight *= 7e3
        maps = model(torch.randn(1, 3, *size))
    logits, deltas = flat(maps[0], 90), flat(maps[1], 4)
    assert logits.std() > 1
    assert deltas.std() > 0.1
    anchors = anchor_boxes(D0.anchors, D0.neck.levels, size)
    for selection in (Selection(), SOFT):
        settings = config("tf_efficientdet_d0", size, soft_nms=selection.suppress == "soft")
        wanted = effdets_detections(settings, maps, [whole(size)])
        assert_equal(detect(logits, deltas, anchors, [whole(size)], selection), wanted)
        assert len(wanted[0][:, 5].unique()) > 3


def test_a_letterbox_is_original_as_effdet_does():
    size = (128, 160)
    settings = config("tf_efficientdet_d0", size, num_classes=3)
    maps = random_maps(settings, 2, seed=0)
    letterboxes = [Letterbox((160, 200), (128, 160)), Letterbox((150, 250), (96, 160))]
    wanted = effdets_detections(settings, maps, letterboxes)
    ours = detect(flat(maps[0], 3), flat(maps[1], 4), anchors_of(size), letterboxes)
    assert_equal(ours, wanted)
    for detections, letterbox in zip(ours, letterboxes, strict=True):
        assert detections.boxes.min() >= 0
        assert detections.boxes[:, 2].max() <= letterbox.size[1]
        assert detections.boxes[:, 3].max() <= letterbox.size[0]


def said(boxes, scores, labels, classes, anchors):
    """Raw outputs [1, A, ...] by which the first anchors find these boxes; all else is unlikely."""
    logits = torch.full((1, len(anchors), classes), -30.0)
    deltas = torch.zeros(1, len(anchors), 4)
    for index, (score, label) in enumerate(zip(scores, labels, strict=True)):
        logits[0, index, label] = math.log(score / (1 - score))
        deltas[0, index] = encode(boxes[index], anchors[index])
    return logits, deltas


def detected(boxes, scores, labels, selection, letterbox=None, classes=5, size=(256, 256)):
    anchors = anchors_of(size)
    logits, deltas = said(torch.tensor(boxes), scores, labels, classes, anchors)
    return detect(logits, deltas, anchors, [letterbox or whole(size)], selection)[0]


def test_hard_suppression_by_hand():
    boxes = [
        [10.0, 10.0, 50.0, 50.0],
        [10.0, 10.0, 50.0, 40.0],  # 1200 / 1600 of the first: gone
        [10.0, 10.0, 50.0, 29.0],  # 760 / 1600: stays
        [10.0, 10.0, 50.0, 50.0],  # of another class
        [10.0, 10.0, 50.0, 35.0],  # 1000 / 1600 of the first: gone, and suppresses nothing
    ]
    selection = Selection(min_score=0.1)
    detections = detected(boxes, [0.9, 0.8, 0.6, 0.7, 0.75], [0, 0, 0, 1, 0], selection)
    torch.testing.assert_close(detections.boxes, torch.tensor([boxes[0], boxes[3], boxes[2]]))
    torch.testing.assert_close(detections.scores, torch.tensor([0.9, 0.7, 0.6]))
    assert detections.labels.tolist() == [0, 1, 0]


def test_soft_suppression_by_hand():
    boxes = [[10.0, 10.0, 50.0, 50.0], [10.0, 10.0, 50.0, 40.0], [10.0, 10.0, 50.0, 50.0]]
    selection = Selection(suppress="soft", min_score=0.01)
    detections = detected(boxes, [0.9, 0.8, 0.5], [2, 2, 3], selection)
    decayed = 0.8 * math.exp(-(0.75**2) / 0.5)
    torch.testing.assert_close(detections.scores, torch.tensor([0.9, 0.5, decayed]))
    assert detections.labels.tolist() == [2, 3, 2]
    torch.testing.assert_close(detections.boxes, torch.tensor([boxes[0], boxes[2], boxes[1]]))


def test_boxes_are_clipped_to_the_image_within_its_letterbox():
    # An image of 100 x 200 pixels, halved, 30 below and 20 right of the input's corner.
    letterbox = Letterbox((100, 200), (50, 100), top=30, left=20)
    boxes = [[30.0, 40.0, 60.0, 60.0], [0.0, 0.0, 256.0, 256.0]]
    detections = detected(boxes, [0.9, 0.8], [0, 1], Selection(min_score=0.1), letterbox)
    wanted = torch.tensor([[20.0, 20.0, 80.0, 60.0], [0.0, 0.0, 200.0, 100.0]])
    torch.testing.assert_close(detections.boxes, wanted, rtol=1e-5, atol=1e-3)


def test_both_axes_are_original_by_their_own_scale():
    # 427 rows become 341.6, rounded to 342: not quite the 0.8 of the columns.
    letterbox = Letterbox((427, 640), (342, 512))
    detections = detected(
        [[0.0, 0.0, 512.0, 342.0]], [0.9], [0], Selection(min_score=0.1), letterbox, size=(512, 512)
    )
    assert detections.boxes.tolist() == [[0.0, 0.0, 640.0, 427.0]]


def test_rounding_leads_out_of_no_image():
    beyond = 0
    for inner in range(1, 512):
        letterbox = Letterbox((480, 640), (inner, inner))
        box = torch.tensor([[0.0, 0.0, inner, inner]])
        undone = postprocess._original(box, letterbox)
        torch.testing.assert_close(undone, torch.tensor([[0.0, 0.0, 640.0, 480.0]]))
        assert (undone <= torch.tensor([640.0, 480.0, 640.0, 480.0])).all()
        beyond += (box * torch.tensor(640 / inner)).max().item() > 640
    assert beyond > 0  # or the test would show nothing


def test_scores_are_above_the_least_and_detections_are_few():
    boxes = [[8.0 * i, 8.0, 8.0 * i + 7, 16.0] for i in range(20)]
    scores = [0.9 - 0.04 * i for i in range(20)]
    for suppress in ("hard", "soft"):
        few = detected(boxes, scores, [0] * 20, Selection(detections=7, suppress=suppress))
        assert len(few.scores) == 7
        torch.testing.assert_close(few.scores, torch.tensor(scores[:7]))
        sure = detected(boxes, scores, [0] * 20, Selection(min_score=0.7, suppress=suppress))
        assert len(sure.scores) == 5  # 0.9, 0.86, 0.82, 0.78, 0.74
        none = detected(boxes, scores, [0] * 20, Selection(min_score=0.95, suppress=suppress))
        assert [part.shape[0] for part in none] == [0, 0, 0]
        assert none.boxes.shape == (0, 4)
        assert none.labels.dtype == torch.int64


def test_fewer_candidates_are_the_best():
    boxes = [[8.0 * i, 8.0, 8.0 * i + 7, 16.0] for i in range(20)]
    scores = [0.05 * (i + 1) - 0.01 for i in range(20)]
    detections = detected(boxes, scores, [0] * 20, Selection(candidates=3))
    torch.testing.assert_close(detections.scores, torch.tensor(scores[:-4:-1]))


def test_predictions_that_are_not_finite_are_no_detections():
    anchors = anchors_of((64, 64))
    logits, deltas = torch.zeros(3, len(anchors), 2), torch.zeros(3, len(anchors), 4)
    logits[0] = math.nan
    deltas[1] = math.nan
    deltas[2, ::2, 0] = math.inf
    letterboxes = [whole((64, 64))] * 3
    for suppress in ("hard", "soft"):
        detections = detect(logits, deltas, anchors, letterboxes, Selection(suppress=suppress))
        assert len(detections[0].scores) == len(detections[1].scores) == 0
        assert len(detections[2].scores) > 0
        assert detections[2].boxes.isfinite().all()


def test_gradients_are_left_alone():
    anchors = anchors_of((64, 64))
    logits = torch.randn(1, len(anchors), 2, requires_grad=True)
    deltas = torch.randn(1, len(anchors), 4, requires_grad=True)
    before = logits.detach().clone(), deltas.detach().clone()
    for suppress in ("hard", "soft"):
        detections = detect(
            logits, deltas, anchors, [whole((64, 64))], Selection(suppress=suppress)
        )
        assert not detections[0].boxes.requires_grad
    assert torch.equal(logits, before[0])
    assert torch.equal(deltas, before[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_decoded_in_float32(dtype):
    anchors = anchors_of((64, 64))
    logits = torch.randn(1, len(anchors), 2, generator=torch.Generator().manual_seed(0)).to(dtype)
    deltas = torch.randn(1, len(anchors), 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    ours = detect(logits, deltas, anchors, [whole((64, 64))])[0]
    wide = detect(logits.float(), deltas.float(), anchors, [whole((64, 64))])[0]
    assert all(torch.equal(a, b) for a, b in zip(ours, wide, strict=True))


CLUTTER = {
    "count": st.integers(1, 400),
    "classes": st.integers(1, 4),
    "overlap": st.sampled_from([0.2, 0.5, 0.8]),
    "chunk": st.sampled_from([1, 7, 50, 1000]),
    "seed": st.integers(0, 10_000),
}


def clutter(count, classes, seed):
    """Boxes in each other's way, best first, some of them without area."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 60
    sides = (torch.rand(count, 2, generator=generator) * 50 - 2).clamp(min=0)
    scores = torch.rand(count, generator=generator).sort(descending=True).values
    labels = torch.randint(0, classes, (count,), generator=generator)
    return torch.cat([corners, corners + sides], 1), scores, labels


@settings(max_examples=60)
@given(**CLUTTER)
def test_hard_suppression_is_torchvisions(count, classes, overlap, chunk, seed):
    boxes, scores, labels = clutter(count, classes, seed)
    wanted = batched_nms(boxes.double(), scores.double(), labels, overlap)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postprocess, "_CHUNK", chunk)
        selection = Selection(overlap=overlap, detections=60)
        kept, taken = postprocess._hard(boxes, scores, labels, selection)
    assert torch.equal(kept, wanted[:60])
    assert torch.equal(taken, scores[kept])
    # What is kept leaves each other alone, and what is not is suppressed by something better.
    iou = box_iou(boxes, boxes).nan_to_num() * (labels[:, None] == labels)
    assert (iou[kept][:, kept].fill_diagonal_(0) <= overlap + 1e-6).all()
    if len(wanted) <= 60:
        for index in set(range(count)) - set(kept.tolist()):
            assert (iou[index, kept[kept < index]] > overlap - 1e-6).any()


def test_many_classes_round_no_box():
    # 451 / 900 of the first, which 1.5 million pixels further right would be 450 in float32.
    boxes = torch.tensor(
        [[10.0, 10.0, 40.0, 40.0], [10.0, 10.0, 40.0, 25.03], [0.0, 0.0, 1500.0, 1500.0]]
    )
    scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([1000, 1000, 0])
    kept, _ = postprocess._hard(boxes, scores, labels, Selection())
    assert kept.tolist() == [0, 2]


@settings(max_examples=40)
@given(**CLUTTER)
def test_soft_suppression_is_the_papers(count, classes, overlap, chunk, seed):
    boxes, scores, labels = clutter(count, classes, seed)
    selection = Selection(suppress="soft", sigma=overlap, detections=30, min_score=0.02)
    kept, decayed = postprocess._soft(boxes, scores, labels, selection)
    iou = box_iou(boxes, boxes).nan_to_num() * (labels[:, None] == labels)
    left, taken = scores.clone(), []
    while len(taken) < 30 and left.max() > 0.02:  # figure 2 of Bodla et al. 2017
        index = int(left.argmax())
        taken.append((index, left[index].item()))
        left *= torch.exp(-iou[index].square() / overlap)
        left[index] = -1
    assert kept.tolist() == [index for index, _ in taken]
    torch.testing.assert_close(decayed, torch.tensor([score for _, score in taken]))
    assert (decayed.diff() <= 0).all()
    assert (decayed <= scores[kept]).all()


@settings(max_examples=60)
@given(
    size=st.one_of(st.integers(1, 300), st.integers(300, 20_000)),
    count=st.sampled_from([1, 3, 20, 150]),
    values=st.sampled_from([3, 50, 10**9]),
    seed=st.integers(0, 1000),
)
def test_the_best_are_the_best_of_all(size, count, values, seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, values, (size,), generator=generator).float()
    indices = best(drawn, count)
    assert len(indices) == min(count, size) == len(indices.unique())
    assert torch.equal(drawn[indices], drawn.topk(min(count, size)).values)
    if values == 10**9:
        return
    # Equal ones stand in their order.
    taken = drawn[indices]
    assert ((indices.diff() > 0) | (taken.diff() < 0)).all()


def test_what_is_learnt_is_found():
    size = (128, 192)
    anchors = anchors_of(size)
    boxes = torch.tensor([[10.0, 20.0, 60.0, 90.0], [100.0, 8.0, 180.0, 50.0], [70, 90, 90, 120]])
    labels = torch.tensor([2, 0, 1])
    target = match(anchors, boxes, labels, torch.zeros(3, dtype=torch.bool))
    logits = torch.full((1, len(anchors), 3), -4.6, requires_grad=True)
    deltas = torch.zeros(1, len(anchors), 4, requires_grad=True)
    optimizer = torch.optim.Adam([logits, deltas], lr=0.1)
    first = last = 0.0
    for step in range(150):
        optimizer.zero_grad()
        loss = detection_loss(logits, deltas, [target])
        loss.total.backward()
        optimizer.step()
        first, last = (loss.total.item() if step == 0 else first), loss.total.item()
    assert last < first / 50
    for selection in (Selection(min_score=0.5), Selection(min_score=0.5, suppress="soft")):
        detections = detect(logits, deltas, anchors, [whole(size)], selection)[0]
        order = detections.labels.argsort()
        assert detections.labels[order].tolist() == [0, 1, 2]
        torch.testing.assert_close(detections.boxes[order], boxes[[1, 2, 0]], rtol=0, atol=0.5)


def test_detections_do_not_depend_on_the_batch():
    size = (64, 96)
    anchors = anchors_of(size)
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(3, len(anchors), 4, generator=generator)
    deltas = torch.randn(3, len(anchors), 4, generator=generator) * 0.3
    letterboxes = [whole(size), Letterbox((128, 192), size), Letterbox((32, 48), (32, 48))]
    together = detect(logits, deltas, anchors, letterboxes)
    for index, detections in enumerate(together):
        (alone,) = detect(
            logits[index : index + 1], deltas[index : index + 1], anchors, [letterboxes[index]]
        )
        assert all(torch.equal(a, b) for a, b in zip(detections, alone, strict=True))


def test_an_image_too_many_is_an_error():
    anchors = anchors_of((64, 64))
    raw = torch.zeros(2, len(anchors), 1), torch.zeros(2, len(anchors), 4)
    with pytest.raises(ValueError, match="shorter"):
        detect(*raw, anchors, [whole((64, 64))])


def test_selections_that_make_no_sense_are_refused(subtests):
    for key, value, allowed in (
        ("candidates", 0, "whole number >= 1"),
        ("detections", 0, "whole number >= 1"),
        ("min_score", 1.5, "from 0 to 1"),
        ("overlap", -0.1, "from 0 to 1"),
        ("sigma", 0, "above 0"),
        ("suppress", "sotf", "hard, soft"),
    ):
        with subtests.test(key):
            with pytest.raises(UserError, match=allowed) as caught:
                Selection(**{key: value})
            assert caught.value.key == key
