from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scalesearch.datasets import mnist5k
from scalesearch.datasets._split import Split, draw_parts, limited
from scalesearch.errors import UserError
from scalesearch.study.options import Mistakes, read_record

counts = st.lists(st.integers(2, 40), min_size=2, max_size=6)


def labels_of(sizes, seed=0):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(labels)


def stratified(labels, classes, share, seed):
    parts = draw_parts(labels, classes, {"validation": share}, seed)
    return parts["train"], parts["validation"]


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


@given(
    counts,
    st.floats(0.05, 0.4),
    st.floats(0.05, 0.4),
    st.integers(0, 2**31),
    st.integers(1, 4),
)
def test_three_parts_are_disjoint_whole_and_stratified(sizes, test, validation, seed, copies):
    sizes = [size + 8 for size in sizes]  # large enough for an image of each part
    labels = np.repeat(np.arange(len(sizes)), sizes)
    # Groups of up to `copies` equal images of one class.
    groups = np.arange(len(labels)) // copies
    shares = {"test": test, "validation": validation}
    assume(all(size * min(shares.values()) > 0.5 for size in sizes))
    try:
        parts = draw_parts(labels, names(sizes), shares, seed, groups)
    except UserError as error:  # groups may be too large for a part
        assume("copies" not in error.problem)
        assume("nothing is left" not in error.problem)
        raise
    assert sorted(np.concatenate([*parts.values()])) == list(range(len(labels)))
    owner = {}
    for part, indices in parts.items():
        for index in indices.tolist():
            assert owner.setdefault(groups[index], part) == part
    for label, size in enumerate(sizes):
        of_class = {part: (labels[indices] == label).sum() for part, indices in parts.items()}
        assert of_class["train"] >= 1
        for part, share in shares.items():
            assert of_class[part] <= size * share + 0.5 + 1e-9
            if copies == 1:
                assert of_class[part] >= size * share - 0.5 - 1e-9


@given(counts, st.floats(0.1, 0.4), st.floats(0.1, 0.4), st.integers(0, 2**31))
def test_test_images_do_not_depend_on_what_validates(sizes, test, validation, seed):
    labels = labels_of([size + 8 for size in sizes])
    first, other = (
        Split(test=test, validation=share).indices(labels, names(sizes), seed).test
        for share in (validation, 0.2)
    )
    assert np.array_equal(first, other)


def test_shares_are_of_all_images_by_hand():
    labels = np.repeat([0, 1], [20, 10])
    parts = Split(test=0.25, validation=0.2).indices(labels, ["a", "b"], 0)
    # Of 20: 5 test, 4 validate. Of 10: 2.5 test, a half down, and 2 validate.
    assert np.bincount(labels[parts.test]).tolist() == [5, 2]
    assert np.bincount(labels[parts.validation]).tolist() == [4, 2]
    assert np.bincount(labels[parts.train]).tolist() == [11, 6]
    assert parts.total == 30
    fewer = Split(test=0.25, validation=0.25, limit=12).indices(labels, ["a", "b"], 0)
    assert [len(part) for part in fewer] == [6, 3, 3]  # 8 and 4: two and one, the same again


def test_shares_that_leave_too_little_are_named():
    labels = np.array([0] * 40 + [1] * 3)
    for options, text in (
        ({"test": 0.01}, "0.01 of each class is less than one image: nothing is left to test with"),
        ({"test": 0.4, "validation": 0.55}, "0.4 and 0.55 leave no training image of class 'b'"),
    ):
        with pytest.raises(UserError, match=text):
            Split(**options).indices(labels, ["a", "b"], 0)
    with pytest.raises(UserError, match="to validate leave nothing") as caught:
        Split(test=0.5, validation=0.5)
    assert caught.value.key == "test"


def test_only_shares_where_no_test_images_are_published():
    with pytest.raises(UserError, match="there are no test images 'published'") as caught:
        Split(test="published")
    assert caught.value.allowed == "a share between 0 and 1, or null"
    for wrong in (True, [0.2]):
        with pytest.raises(Mistakes) as mistakes:
            read_record(mnist5k.Dataset, {"test": wrong}, Path())
        (error,) = mistakes.value.errors
        assert (error.key, error.allowed) == ("test", "a share between 0 and 1, a name, or null")


def test_options_out_of_range_are_named():
    for key, value in (
        *(("validation", 0.0), ("validation", 1.0), ("validation", -1), ("limit", 3)),
        *(("test", 0.0), ("test", 1)),
    ):
        with pytest.raises(UserError) as caught:
            Split(**{key: value})
        assert caught.value.key == key


def test_split_limits_first():
    labels = labels_of([40, 40])
    train, validation, test = Split(limit=20, validation=0.25).indices(labels, ["a", "b"], 0)
    assert test is None
    assert np.bincount(labels[validation]).tolist() == [2, 2]  # 2.5 of 10, a half down
    assert np.bincount(labels[train]).tolist() == [8, 8]
