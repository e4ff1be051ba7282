import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.training.batches import (
    in_order,
    nested_order,
    prefetch,
    shuffled,
    steps_per_epoch,
)


def sizes(count, batch_size):
    return [len(batch) for batch in shuffled(count, batch_size, torch.Generator().manual_seed(0))]


@pytest.mark.parametrize(
    ("count", "batch_size", "expected"),
    [
        (256, 128, [128, 128]),
        (200, 128, [128, 72]),  # 72 is at least half
        (190, 128, [128]),  # 62 is less
        (40, 128, [40]),  # all there is
        (5, 2, [2, 2]),  # one image has no variance
        (2, 2, [2]),
    ],
)
def test_batch_sizes(count, batch_size, expected):
    assert sizes(count, batch_size) == expected


@given(st.integers(2, 300), st.integers(2, 80), st.integers(0, 1000))
def test_no_image_twice_and_less_than_half_a_batch_left_out(count, batch_size, seed):
    batches = shuffled(count, batch_size, torch.Generator().manual_seed(seed))
    seen = np.concatenate(batches)
    assert len(np.unique(seen)) == len(seen)
    assert set(seen) <= set(range(count))
    assert 2 * (count - len(seen)) < max(batch_size, 3)
    assert len(batches) == steps_per_epoch(count, batch_size)
    assert all(len(batch) >= 2 for batch in batches)


@given(st.integers(1, 300), st.integers(1, 80))
def test_in_order_is_every_index_once(count, batch_size):
    assert np.array_equal(np.concatenate(in_order(count, batch_size)), np.arange(count))


def test_prefetch_keeps_order_and_reads_one_ahead_in_a_thread():
    read, threads = [], set()

    def load(indices):
        read.append(int(indices[0]))
        threads.add(threading.get_ident())
        return int(indices[0])

    batches = prefetch(load, [np.array([n]) for n in range(5)])
    assert next(batches) == 0
    assert len(read) <= 2
    assert list(batches) == [1, 2, 3, 4]
    assert threading.get_ident() not in threads


def test_prefetch_passes_on_what_a_read_raises():
    def load(indices):
        if indices[0] == 2:
            raise OSError("gone")
        return int(indices[0])

    batches = prefetch(load, [np.array([n]) for n in range(4)])
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(OSError, match="gone"):
        next(batches)


def test_prefetch_of_nothing_is_nothing():
    assert list(prefetch(len, [])) == []


@given(st.integers(2, 200), st.integers(1, 6), st.integers(0, 1000))
def test_every_beginning_of_an_order_has_its_part_of_each_class(count, classes, seed):
    labels = np.random.default_rng(seed).integers(classes, size=count)
    order = nested_order(count, seed, labels)
    assert sorted(order) == [*range(count)]
    assert np.array_equal(order, nested_order(count, seed, labels))
    for share in (0.25, 0.5, 0.8):
        first = labels[order[: round(share * count)]]
        for label in range(classes):
            # Each class is off by one at most where the others end, which itself is off by a few.
            wanted = share * (labels == label).sum()
            assert abs((first == label).sum() - wanted) <= 2 + classes * (labels == label).mean()


def test_an_order_without_classes_depends_on_the_seed_alone():
    assert sorted(nested_order(50, 3)) == [*range(50)]
    assert np.array_equal(nested_order(50, 3), nested_order(50, 3))
    assert not np.array_equal(nested_order(50, 3), nested_order(50, 4))
