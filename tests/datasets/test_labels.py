import numpy as np
import pytest

from scalesearch.datasets._labels import check_names, positions, read_labels
from scalesearch.errors import UserError


def read(values, names=()):
    return read_labels(values, names, lambda n: f"row {n + 1}", "label")


def test_words_are_classes_in_the_order_of_the_alphabet():
    labels = read(["dog", "cat", "owl", "cat "])
    assert labels.classes == ("cat", "dog", "owl")
    assert labels.numbers.tolist() == [1, 0, 2, 0]
    assert labels.numbers.dtype == np.int64


def test_numbers_are_classes_in_their_order_and_gaps_are_noted():
    labels = read([2, "10", 7.0, 2])
    assert labels.classes == ("2", "7", "10")
    assert labels.numbers.tolist() == [0, 2, 1, 0]
    assert "from 2 to 10, with gaps: 3 classes" in labels.notes[0]
    assert read([0, 1, 1]).notes == ()
    assert "from 1 to 2: 2 classes" in read([1, 2]).notes[0]


def test_names_that_look_alike_are_one_class():
    labels = read(["caf\u00e9", "cafe\u0301", "bar"])
    assert labels.classes == ("bar", "caf\u00e9")
    assert "names that look alike are one class" in labels.notes[0]


def test_with_names_a_label_is_one_of_them_or_its_position():
    assert read(["dog", "cat"], ("dog", "cat")).numbers.tolist() == [0, 1]
    assert read(["1", 0], ("dog", "cat")).numbers.tolist() == [1, 0]
    fewer = read([0, 2], ("dog", "cat", "owl"))
    assert (fewer.classes, fewer.numbers.tolist()) == (("dog", "owl"), [0, 1])
    assert fewer.notes == ("1 classes have no image and are left out: cat",)


MISTAKES = [
    (["cat", None, " "], (), "2 of 3 images have no label: row 2, row 3"),
    (["cat", "cat"], (), "all 2 images are of the class 'cat'"),
    ([0.5, 1.0], (), r"the label 0.5 is no class \(row 1\)"),
    (["cat", "dgo"], ("cat", "dog"), r"such as 'dgo' \(row 2\)\n.*\n.*did you mean 'dog'"),
    ([1, 2], ("cat", "dog"), r"such as 2 \(row 2\)\n.*0 to 1.*\n.*count from 1"),
    ([-1, 0], ("cat", "dog"), r"such as -1 \(row 1\)"),
    ([1, 2], ("1", "2", "3"), "the label 1 is the name of the class 0"),
]


@pytest.mark.parametrize(("values", "names", "message"), MISTAKES)
def test_mistakes_say_where(values, names, message):
    with pytest.raises(UserError, match=message):
        read(values, names)


def test_positions_in_a_data_sets_own_names():
    # The names are numbers themselves, and not the same ones.
    labels = positions([1, 0, 1], ["1", "2", "3"], "label")
    assert (labels.classes, labels.numbers.tolist()) == (("1", "2"), [1, 0, 1])
    assert positions([0, 1], ["crane", "crane"], "label").classes == ("crane", "crane (1)")
    with pytest.raises(UserError, match="2 of 3 images have no label, or one like -1"):
        positions([None, -1, 0], ["a", "b"], "label")


def test_two_names_of_one_look():
    with pytest.raises(UserError, match="'cat' and 'cat ' are one name"):
        check_names(("cat", "cat "))
