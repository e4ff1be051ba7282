"""Boxes and their deltas against effdet, torchvision and hand arithmetic."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_area, box_iou

from scalesearch.nn.boxes import areas, decode, encode, have_area, intersections, overlaps
from tests.effdets import BoxList, effdet_anchors, effdet_box_coder, swapped

CORNERS = st.floats(-300, 1500, width=32)


def boxes_of(least):
    """Boxes with sides of `least` to 1500 pixels, within an image and around it."""
    sides = st.floats(least, 1500, width=32)
    return st.builds(lambda x, y, w, h: [x, y, x + w, y + h], CORNERS, CORNERS, sides, sides)


def drawn(count, seed=0, *, most=300.0):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 400 - 50
    sides = torch.rand(count, 2, generator=generator) * most + 1
    return torch.cat([corners, corners + sides], 1)


def test_deltas_by_hand():
    # The centre 8 right of and 5 below that of a 16 x 20 anchor; twice as wide, half as high.
    anchor = torch.tensor([[10.0, 10.0, 26.0, 30.0]])
    box = torch.tensor([[10.0, 20.0, 42.0, 30.0]])
    code = encode(box, anchor)
    wanted = torch.tensor([[5 / 20, 8 / 16, math.log(0.5), math.log(2.0)]])
    torch.testing.assert_close(code, wanted)
    torch.testing.assert_close(decode(wanted, anchor), box)


def test_deltas_are_effdets():
    boxes, anchors = drawn(500), drawn(500, 1)
    coder = effdet_box_coder.FasterRcnnBoxCoder()
    theirs = coder.encode(BoxList(swapped(boxes)), BoxList(swapped(anchors)))
    torch.testing.assert_close(encode(boxes, anchors), theirs, rtol=1e-5, atol=1e-5)
    deltas = torch.randn(500, 4, generator=torch.Generator().manual_seed(2))
    theirs = effdet_anchors.decode_box_outputs(deltas, swapped(anchors), output_xyxy=True)
    torch.testing.assert_close(decode(deltas, anchors), theirs, rtol=1e-5, atol=1e-3)


@given(st.lists(st.tuples(boxes_of(0.5), boxes_of(8)), min_size=1, max_size=20))
def test_decoding_undoes_encoding(pairs):
    boxes, anchors = (torch.tensor(side) for side in zip(*pairs, strict=True))
    again = decode(encode(boxes, anchors), anchors)
    reach = torch.maximum(boxes.abs(), anchors.abs()).amax(1, keepdim=True)
    assert ((again - boxes).abs() <= 1e-4 * reach.clamp(min=1)).all()


def test_deltas_are_float32_whatever_is_predicted_in():
    anchors = drawn(5)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        deltas = (torch.ones(5, 4) / 4).to(dtype)
        assert decode(deltas, anchors).dtype == torch.float32
        torch.testing.assert_close(decode(deltas, anchors), decode(deltas.float(), anchors))
    assert encode(drawn(5).double(), anchors).dtype == torch.float32


def test_wild_deltas_stay_finite_and_sane_ones_are_not_cut():
    anchors = drawn(4)
    wild = torch.tensor([[0.0, 0.0, 200.0, 1e30], [1e30, -1e30, 9.0, 9.0]]).repeat(2, 1)
    boxes = decode(wild, anchors)
    assert boxes.isfinite().all()
    sides = (anchors[0, 2:] - anchors[0, :2]) * math.exp(8)
    torch.testing.assert_close(boxes[0, 2:] - boxes[0, :2], sides)
    wide = torch.tensor([[0.0, 0.0, 7.9, 7.9]]).expand(4, 4)
    grown = decode(wide, anchors)[:, 2] - decode(wide, anchors)[:, 0]
    torch.testing.assert_close(grown, (anchors[:, 2] - anchors[:, 0]) * math.exp(7.9))


def test_overlaps_are_torchvisions():
    boxes, others = drawn(50), drawn(300, 1)
    torch.testing.assert_close(overlaps(boxes, others), box_iou(boxes, others))
    torch.testing.assert_close(areas(boxes), box_area(boxes))
    shared = intersections(boxes, others)
    union = areas(boxes)[:, None] + areas(others) - shared
    torch.testing.assert_close(shared / union, box_iou(boxes, others))
    assert overlaps(boxes[:0], others).shape == (0, 300)
    assert overlaps(boxes, others[:0]).shape == (50, 0)


def test_overlaps_by_hand():
    boxes = torch.tensor([[0.0, 0.0, 4.0, 3.0]])
    others = torch.tensor([[2.0, 1.0, 6.0, 5.0], [0.0, 0.0, 4.0, 3.0], [4.0, 0.0, 8.0, 3.0]])
    assert intersections(boxes, others).tolist() == [[4.0, 12.0, 0.0]]
    torch.testing.assert_close(overlaps(boxes, others), torch.tensor([[4 / 24, 1.0, 0.0]]))


def test_boxes_without_area_overlap_nothing():
    flat = torch.tensor([[5.0, 5.0, 5.0, 5.0], [0.0, 2.0, 9.0, 2.0]])
    assert overlaps(flat, torch.cat([flat, drawn(3)])).tolist() == [[0.0] * 5] * 2


def test_overlapping_leaves_its_arguments_alone():
    boxes, others = drawn(5), drawn(6, 1)
    copies = boxes.clone(), others.clone()
    overlaps(boxes, others)
    assert torch.equal(boxes, copies[0])
    assert torch.equal(others, copies[1])


def test_which_boxes_have_an_area():
    inf, nan = math.inf, math.nan
    boxes = torch.tensor(
        [
            [0.0, 0.0, 1.0, 1.0],
            [0.0, 0.0, 0.0, 1.0],
            [0.0, 0.0, 1.0, 0.0],
            [2.0, 0.0, 1.0, 1.0],  # right before left
            [0.0, 0.0, inf, 1.0],
            [-inf, 0.0, 1.0, 1.0],
            [0.0, nan, 1.0, 1.0],
            [-9.0, -9.0, -8.5, -8.5],  # outside of every image, but a box
        ]
    )
    assert have_area(boxes).tolist() == [True, *[False] * 6, True]
    assert have_area(boxes[:0]).tolist() == []
