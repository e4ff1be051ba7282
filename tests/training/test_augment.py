import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from scalesearch.training.augment import draw_moves, moved


def numbered(count, channels, side):
    """Images whose every pixel tells its place, one channel differing from the next by 1."""
    pixels = torch.arange(side * side).view(1, 1, side, side) % 200
    return (pixels + torch.arange(channels).view(1, -1, 1, 1)).expand(count, -1, -1, -1).byte()


def possible(image, reach):
    """Every shift of an image [C, R, R] cut from its reflection-padded self."""
    side = image.shape[-1]
    padded = functional.pad(image[None].float(), (reach,) * 4, mode="reflect")[0].byte()
    steps = range(2 * reach + 1)
    return [padded[:, y : y + side, x : x + side] for y in steps for x in steps]


def shaken(images, seed, flip, first=0):
    indices = np.arange(first, first + len(images))
    return moved(images, draw_moves(indices, images.shape[-1], seed, shift=True, flip=flip))


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 24), st.sampled_from([1, 3]), st.booleans(), st.integers(0, 2**31))
def test_each_image_is_a_shift_of_its_reflection_maybe_mirrored(side, channels, flip, seed):
    images = numbered(4, channels, side)
    result = shaken(images, seed, flip)
    allowed = possible(images[0], side // 8)
    allowed += [shift.flip(-1) for shift in allowed] if flip else []
    assert all(any(torch.equal(one, shift) for shift in allowed) for one in result)


def test_images_move_differently_and_half_are_mirrored():
    images = numbered(400, 1, 16)
    plain = shaken(images, 0, False)
    assert len({one.numpy().tobytes() for one in plain}) == 25  # shifts of -2 to 2 both ways
    mirrored = shaken(images, 0, True)
    rising = (mirrored[:, 0, 8, 8].int() - mirrored[:, 0, 8, 7].int()) > 0
    assert 150 < int(rising.sum()) < 250


def test_small_images_stay_where_they_are():
    images = numbered(3, 3, 7)
    assert torch.equal(shaken(images, 0, False), images)


def test_images_are_mirrored_without_a_shift():
    images = numbered(40, 3, 16)
    moves = draw_moves(np.arange(40), 16, 3, shift=False, flip=True)
    result = moved(images.clone(), moves)
    turned = moves.mirrored[:, 0]
    assert 10 < int(turned.sum()) < 30
    assert torch.equal(result[turned], images[turned].flip(-1))
    assert torch.equal(result[~turned], images[~turned])


def test_moves_follow_from_the_seed_and_the_index_alone():
    images = numbered(9, 3, 16)
    before = torch.get_rng_state()
    whole = shaken(images, 7, True)
    parts = [shaken(images[a:b], 7, True, a) for a, b in ((0, 2), (2, 7), (7, 9))]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(shaken(images, 8, True), whole)
    assert torch.equal(before, torch.get_rng_state())
    assert whole.is_contiguous(memory_format=torch.channels_last)


def test_nothing_of_it_leaves_the_device():
    """All on one device, which is here torch's own without memory."""
    moves = draw_moves(np.arange(4), 16, 0, shift=True, flip=True)
    there = type(moves)(*(part.to("meta") for part in moves))
    assert moved(numbered(4, 3, 16).to("meta"), there).shape == (4, 3, 16, 16)
