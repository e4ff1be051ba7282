import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scalesearch.datasets._split import Split, limited, stratified
from scalesearch.errors import UserError

counts = st.lists(st.integers(2, 40), min_size=2, max_size=6)


def labels_of(sizes, seed=0):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(labels)


def names(sizes):
    return [f"class{n}" for n in range(len(sizes))]


@given(counts, st.floats(0.05, 0.7), st.integers(0, 2**31))
def test_every_image_once_and_each_class_in_its_share(sizes, share, seed):
    labels = labels_of(sizes)
    assume(any(size * share > 0.5 for size in sizes))
    train, validation = stratified(labels, names(sizes), share, seed)
    assert sorted([*train, *validation]) == list(range(len(labels)))
    for label, size in enumerate(sizes):
        assert (labels[train] == label).sum() >= 1
        assert abs((labels[validation] == label).sum() - size * share) <= 0.5 + 1e-9


def test_the_seed_alone_decides():
    labels = labels_of([50, 50])
    first, again, other = (stratified(labels, ["a", "b"], 0.2, seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_class_without_training_images_is_named():
    with pytest.raises(UserError, match="no training image of class 'b', which has 2") as caught:
        stratified(np.array([0] * 20 + [1] * 2), ["a", "b"], 0.8, 0)
    assert caught.value.key == "validation"


def test_nothing_to_validate_with():
    with pytest.raises(UserError, match="nothing is left to validate with"):
        stratified(np.array([0, 0, 1, 1]), ["a", "b"], 0.2, 0)


@given(counts, st.integers(2, 60), st.integers(0, 2**31))
def test_a_limit_keeps_proportions_and_every_class(sizes, limit, seed):
    labels = labels_of(sizes)
    assume(limit >= len(sizes))
    chosen = limited(labels, limit, seed)
    assert len(chosen) == len(set(chosen.tolist())) == min(limit, len(labels))
    for label, size in enumerate(sizes):
        share = size * len(chosen) / len(labels)
        count = (labels[chosen] == label).sum()
        # Each class rounds up at most one image, at the expense of the others.
        assert max(1, share - len(sizes)) <= count <= share + 1


def test_a_limit_of_equal_classes_is_even():
    chosen = limited(labels_of([30, 30, 30]), 12, 5)
    assert np.bincount(labels_of([30, 30, 30])[chosen]).tolist() == [4, 4, 4]


def test_a_limit_below_the_number_of_classes_is_an_error():
    with pytest.raises(UserError, match="4 images cannot show 5 classes"):
        limited(labels_of([3] * 5), 4, 0)


def test_options_out_of_range_are_named():
    for key, value in (("validation", 0.0), ("validation", 1.0), ("validation", -1), ("limit", 3)):
        with pytest.raises(UserError) as caught:
            Split(**{key: value})
        assert caught.value.key == key


def test_split_limits_first():
    labels = labels_of([40, 40])
    train, validation = Split(limit=20, validation=0.25).indices(labels, ["a", "b"], 0)
    assert np.bincount(labels[validation]).tolist() == [2, 2]  # 2.5 of 10, a half down
    assert np.bincount(labels[train]).tolist() == [8, 8]
