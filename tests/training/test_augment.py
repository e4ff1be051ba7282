import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from scalesearch.training.augment import augment, draw_moves, moved


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


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 24), st.sampled_from([1, 3]), st.booleans(), st.integers(0, 2**31))
def test_each_image_is_a_shift_of_its_reflection_maybe_mirrored(side, channels, flip, seed):
    images = numbered(4, channels, side)
    result = augment(images, flip, torch.Generator().manual_seed(seed))
    allowed = possible(images[0], side // 8)
    allowed += [shift.flip(-1) for shift in allowed] if flip else []
    assert all(any(torch.equal(one, shift) for shift in allowed) for one in result)


def test_images_move_differently_and_half_are_mirrored():
    images = numbered(400, 1, 16)
    plain = augment(images, False, torch.Generator().manual_seed(0))
    assert len({one.numpy().tobytes() for one in plain}) == 25  # shifts of -2 to 2 both ways
    mirrored = augment(images, True, torch.Generator().manual_seed(0))
    rising = (mirrored[:, 0, 8, 8].int() - mirrored[:, 0, 8, 7].int()) > 0
    assert 150 < int(rising.sum()) < 250


def test_small_images_stay_where_they_are():
    images = numbered(3, 3, 7)
    assert torch.equal(augment(images, False, torch.Generator()), images)


def test_the_same_draws_give_the_same_images_and_leave_torchs_own_alone():
    images = numbered(8, 3, 16)
    before = torch.get_rng_state()
    first, second = (augment(images, True, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
    assert first.is_contiguous(memory_format=torch.channels_last)


def test_draws_ahead_move_images_as_draws_in_time_do():
    """So that a thread can draw batch after batch, and a GPU can move the images later."""
    batches = [numbered(count, 3, 16) for count in (8, 5, 8)]
    for flip in (True, False):
        early, late = (torch.Generator().manual_seed(7) for _ in range(2))
        moves = [draw_moves(len(images), 16, flip, early) for images in batches]
        for images, move in zip(batches, moves, strict=True):
            assert torch.equal(moved(images, move), augment(images, flip, late))


def test_nothing_of_it_leaves_the_device():
    """All on one device, which is here torch's own without memory."""
    moves = draw_moves(4, 16, True, torch.Generator())
    there = type(moves)(*(part.to("meta") for part in moves))
    assert moved(numbered(4, 3, 16).to("meta"), there).shape == (4, 3, 16, 16)
