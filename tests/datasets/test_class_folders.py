"""Names of classes and of the parts of a split."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from scalesearch.datasets.image_folder import Dataset
from scalesearch.errors import UserError
from tests.pictures import classes, save


def parts(root, train, validation, **others):
    for seed, name in enumerate((train, validation, *others)):
        classes(root / name, others.get(name, ("oak", "pine")), seed=10_000 * seed)
    return root


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        *(("train", name) for name in ("val", "valid", "validation", "test", "VALID", "Testing")),
        *(("TRAIN", "Val"), ("Training", "validation"), ("train", "TEST")),
    ],
)
def test_a_split_under_its_usual_names(tmp_path, train, validation):
    data = Dataset(path=parts(tmp_path, train, validation)).load(0)
    assert data.classes == ("oak", "pine")
    assert (len(data.train), len(data.validation)) == (8, 8)
    assert all(f"/{train}/" in path for path in data.train.paths)
    assert f"the folders {train} and {validation} are the split" in data.notes


def test_test_is_kept_for_the_end_where_another_part_validates(tmp_path):
    root = parts(tmp_path, "train", "valid", test=("oak", "pine"))
    (root / "README.txt").write_text("about")
    data = Dataset(path=root).load(0)
    assert all("/valid/" in path for path in data.validation.paths)
    assert len(data.test) == 8
    assert all("/test/" in path for path in data.test.paths)
    assert data.notes[1:] == (
        "8 images are kept for a test: no phase sees them, and the networks that are reported are "
        "scored on them once, at the end",
        "the folders train, valid and test are the split",
        "valid validates, and test is kept for a test",
    )
    reasons = {one.reason: one.count for one in data.files.left_out}
    assert reasons == {"beside the folders of the classes": 1}
    assert data.files.seen == 25


@pytest.mark.parametrize("found", [("oak", "elm"), ()])
def test_test_images_of_other_or_no_classes_are_left_out(tmp_path, found):
    root = parts(tmp_path, "train", "val")
    save(root / "test" / "0.png", 77)
    for seed, name in enumerate(found):
        save(root / "test" / name / "0.png", 100 + seed)
    data = Dataset(path=root).load(0)
    assert data.test is None
    reasons = {one.reason: one.count for one in data.files.left_out}
    assert reasons == {"in folders beside the split": 1 + len(found)}
    wrong = "do not hold the same classes: elm, pine" if found else "'test' is not a part"
    with pytest.raises(UserError, match=wrong):
        Dataset(path=root, test="test").load(0)


def test_images_validate_that_are_named_as_test_images_and_the_note_says_so(tmp_path):
    data = Dataset(path=parts(tmp_path, "train", "test")).load(0)
    assert data.test is None
    assert data.notes[1:] == (
        "the folders train and test are the split",
        "networks are selected on the images of the folder test: `test: test` keeps them for the "
        "end, and a share of the training images validates (`validation: 0.1`)",
    )


@pytest.mark.parametrize(
    ("other", "options"),
    [
        ("val", {"validation": 0.25, "test": "val"}),  # as EfficientNet holds 25,000 of ImageNet
        ("val2017", {"validation": 0.25, "test": "VAL2017"}),
        ("valid", {"validation": 0.25, "test": "validation"}),
        ("test", {"validation": 0.25}),
        ("test", {"validation": 0.25, "test": "test"}),
    ],
)
def test_a_share_of_the_training_images_validates_and_the_other_part_is_for_the_end(
    tmp_path, other, options
):
    root = parts(tmp_path, "train2017" if "2017" in other else "train", other)
    data = Dataset(path=root, **options).load(0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [6, 2, 8]
    assert all(f"/{other}/" in path for path in data.test.paths)
    assert not any(f"/{other}/" in path for path in (*data.train.paths, *data.validation.paths))
    assert np.bincount(data.validation.labels).tolist() == [1, 1]
    assert any(f"validates, and {other} is kept for a test" in note for note in data.notes)


def test_a_named_part_is_kept_and_another_one_of_test_images_left_out(tmp_path):
    root = parts(tmp_path, "train", "val", test=("oak", "pine"))
    data = Dataset(path=root, test="val").load(0)
    assert all("/val/" in path for path in data.test.paths)
    assert len(data.validation) == 2  # .2 of 4 a class, rounded
    assert "8 in folders beside the split" in data.notes[0]


def test_a_share_of_the_training_images_is_kept_where_another_part_validates(tmp_path):
    root = parts(tmp_path, "train", "val")
    data = Dataset(path=root, test=0.25).load(0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [6, 8, 2]
    assert all("/train/" in path for path in data.test.paths)


@pytest.mark.parametrize(
    ("folders", "options", "text"),
    [
        (("val",), {"validation": 0.1}, "validation: {} holds its own split, train and val\n"
         "  leave it out; or write `test: val` to keep that part for the end; or set path: "
         "{}/train to split that part alone"),
        (("val",), {"test": "train"}, "test: 'train' is not a part that can be kept for a test\n"
         "  allowed: val, or a share between 0 and 1"),
        (("val",), {"test": "vel"}, "test: 'vel' is not a part that can be kept for a test\n"
         "  allowed: val, or a share between 0 and 1\n  did you mean 'val'?"),
        (("val", "test"), {"test": 0.1}, "test: {} has test images of its own, test\n"
         "  write `test: test`, or set path: {}/train to draw all parts from that one"),
        (("val", "test"), {"validation": 0.1}, "validation: {} holds its own split, train, val and "
         "test\n  leave it out; or write `test: val` to keep that part for the end; or set path: "
         "{}/train to split that part alone"),
    ],
)  # fmt: skip
def test_parts_that_the_folders_do_not_leave(tmp_path, folders, options, text):
    root = parts(tmp_path, "train", *folders[:1], **dict.fromkeys(folders[1:], ("oak", "pine")))
    with pytest.raises(UserError) as caught:
        Dataset(path=root, **options).load(0)
    assert str(caught.value) == text.format(root, root)


def test_images_without_parts_have_no_named_one(tmp_path):
    with pytest.raises(UserError, match="has no part 'val'") as caught:
        Dataset(path=classes(tmp_path), test="val").load(0)
    assert (caught.value.key, caught.value.allowed) == ("test", "a share between 0 and 1, or null")


def test_copies_of_test_images_neither_train_nor_validate(tmp_path):
    root = parts(tmp_path, "train", "val", test=("oak", "pine"))
    for part, name in (("train", "a"), ("val", "b")):
        shutil.copy(root / "test" / "oak" / "1.png", root / part / "oak" / f"{name}.png")
    shutil.copy(root / "val" / "pine" / "1.png", root / "train" / "pine" / "c.png")
    data = Dataset(path=root).load(0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [8, 8, 8]
    for reason in (
        "1 of the training images that test, too (train/oak/a.png)",
        "1 of the validation images that test, too (val/oak/b.png)",
        "1 of the training images that validate, too (train/pine/c.png)",
    ):
        assert reason in data.notes[0]


def test_copies_stay_in_one_part_of_three_that_are_drawn(tmp_path):
    root = classes(tmp_path, count=12)
    for number in range(4):
        shutil.copy(root / "cat" / f"{number}.png", root / "cat" / f"copy{number}.png")
    for seed in range(5):
        data = Dataset(path=root, test=0.25, validation=0.25).load(seed)
        parts = (data.train, data.validation, data.test)
        assert sum(map(len, parts)) == 28
        contents = [{Path(path).read_bytes() for path in part.paths} for part in parts]
        assert sum(map(len, contents)) == len(set().union(*contents)) == 24


def test_a_limit_takes_of_three_parts_in_proportion(tmp_path):
    for seed, (name, count) in enumerate((("train", 20), ("val", 10), ("test", 10))):
        classes(tmp_path / name, count=count, seed=10_000 * seed)
    data = Dataset(path=tmp_path, limit=20).load(0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [10, 5, 5]
    fewer = Dataset(path=tmp_path, limit=7).load(0)
    assert [len(part) for part in (fewer.train, fewer.validation, fewer.test)] == [3, 2, 2]
    assert "73 beyond the limit" in fewer.notes[0]
    with pytest.raises(UserError, match="5 images cannot show 2 classes in 3 parts"):
        Dataset(path=tmp_path, limit=5).load(0)


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "valid"),
        ("train", "Train", "val"),
        ("val", "test"),
        ("valid", "validation"),
    ],
)
def test_what_is_no_split_in_two_is_refused(tmp_path, names):
    for seed, name in enumerate(names):
        classes(tmp_path / name, seed=10_000 * seed)
    with pytest.raises(UserError) as caught:
        Dataset(path=tmp_path).load(0)
    assert caught.value.key == "path"
    assert all(name in caught.value.problem for name in names)
    assert "`train` and one of `val`, `valid`, `validation`, `dev`" in caught.value.allowed


def test_parts_without_classes_are_refused(tmp_path):
    classes(tmp_path, ("train", "val"))
    with pytest.raises(UserError, match="holds train, val: they hold no folders of classes"):
        Dataset(path=tmp_path).load(0)


def test_one_part_alone_is_named(tmp_path):
    classes(tmp_path / "train")
    with pytest.raises(UserError) as caught:
        Dataset(path=tmp_path).load(0)
    assert caught.value.hint == f"to split it at random, set path: {tmp_path / 'train'}"
    assert Dataset(path=tmp_path / "train").load(0).classes == ("cat", "dog")


def test_a_folder_too_high_is_named(tmp_path):
    classes(tmp_path / "photos")
    with pytest.raises(UserError, match=r"is .*photos meant\?"):
        Dataset(path=tmp_path).load(0)


def test_a_class_may_be_called_train(tmp_path):
    data = Dataset(path=classes(tmp_path, ("bus", "test", "train"))).load(0)
    assert data.classes == ("bus", "test", "train")
    assert "taken as classes, not as parts of a split: test, train" in data.notes


def test_classes_with_the_same_folders_are_asked_about(tmp_path):
    for seed, batch in enumerate(("monday", "tuesday")):
        classes(tmp_path / batch, seed=10_000 * seed)
    notes = Dataset(path=tmp_path).load(0).notes
    assert any("each class holds the same folders, cat, dog" in note for note in notes)


def test_names_in_two_unicode_forms_are_one_class(tmp_path):
    classes(tmp_path, ("caf\u00e9", "pub"))
    classes(tmp_path, ("cafe\u0301",), seed=50)
    data = Dataset(path=tmp_path).load(0)
    assert data.classes == ("caf\u00e9", "pub")
    assert len(data.train) + len(data.validation) == 12
    assert any("U+0301 COMBINING ACUTE ACCENT" in note for note in data.notes)


def test_parts_may_write_a_class_in_two_forms(tmp_path):
    classes(tmp_path / "train", ("caf\u00e9", "red\u00a0fox"))
    classes(tmp_path / "val", ("cafe\u0301", "red fox"), seed=500)
    data = Dataset(path=tmp_path).load(0)
    assert data.classes == ("caf\u00e9", "red\u00a0fox")
    for images in (data.train, data.validation):
        for path, label in zip(images.paths, images.labels, strict=True):
            assert ("caf" in path) == (label == 0)


def test_parts_with_other_classes_name_the_nearest(tmp_path):
    parts(tmp_path, "train", "val")
    (tmp_path / "val" / "pine").rename(tmp_path / "val" / "Pine")
    with pytest.raises(UserError) as caught:
        Dataset(path=tmp_path).load(0)
    assert caught.value.problem == "train and val do not hold the same classes: Pine, pine"
    assert caught.value.hint == "did you mean 'pine'?"


def test_an_empty_class_says_what_lies_there(tmp_path):
    classes(tmp_path)
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl" / "a.heic").write_bytes(b"x")
    (tmp_path / "owl" / "b.png").symlink_to("gone")
    with pytest.raises(UserError) as caught:
        Dataset(path=tmp_path).load(0)
    assert "no image in" in caught.value.problem
    assert "1 ending in .heic" in caught.value.problem
    assert "1 links to nothing" in caught.value.problem


def test_a_class_whose_name_is_not_utf8_is_refused(tmp_path):
    classes(tmp_path, ("cat", os.fsdecode(b"gr\xfcn")))
    with pytest.raises(UserError, match=r"gr\\xfcn in .* is not UTF-8") as caught:
        Dataset(path=tmp_path).load(0)
    str(caught.value).encode()


def both(data):
    return set(data.train.paths), set(data.validation.paths)


def test_copies_stay_on_one_side(tmp_path):
    classes(tmp_path, count=10)
    for number in range(10):
        shutil.copy(tmp_path / "cat" / f"{number}.png", tmp_path / "cat" / f"{number} (1).png")
    for seed in range(5):
        data = Dataset(path=tmp_path, validation=0.3).load(seed)
        train, validation = both(data)
        assert len(validation) == 9
        for number in range(10):
            pair = {str(tmp_path / "cat" / f"{number}{end}.png") for end in ("", " (1)")}
            assert pair <= train or pair <= validation
    assert any("10 files are copies of others" in note for note in data.notes)


def test_a_link_is_a_copy(tmp_path):
    classes(tmp_path, count=10)
    os.link(tmp_path / "cat" / "0.png", tmp_path / "cat" / "hard.png")
    (tmp_path / "cat" / "soft.png").symlink_to("0.png")
    for seed in range(8):
        three = {str(tmp_path / "cat" / f"{name}.png") for name in ("0", "hard", "soft")}
        train, validation = both(Dataset(path=tmp_path, validation=0.3).load(seed))
        assert three <= train or three <= validation


def test_a_picture_of_two_classes_trains_and_is_named(tmp_path):
    classes(tmp_path, count=5)
    shutil.copy(tmp_path / "cat" / "0.png", tmp_path / "dog" / "same.png")
    for seed in range(8):
        data = Dataset(path=tmp_path, validation=0.4).load(seed)
        assert not any(path.endswith(("cat/0.png", "same.png")) for path in data.validation.paths)
    assert any(note.startswith("pictures in several classes: ") for note in data.notes)


def test_a_class_of_one_picture_cannot_be_split(tmp_path):
    classes(tmp_path)
    for number in range(1, 4):
        shutil.copy(tmp_path / "cat" / "0.png", tmp_path / "cat" / f"{number}.png")
    with pytest.raises(UserError, match="4 images of class 'cat' are copies of one"):
        Dataset(path=tmp_path, validation=0.5).load(0)


def test_a_split_of_ones_own_loses_training_images_that_validate(tmp_path):
    parts(tmp_path, "train", "val")
    shutil.copy(tmp_path / "val" / "oak" / "1.png", tmp_path / "train" / "oak" / "other name.png")
    data = Dataset(path=tmp_path).load(0)
    assert (len(data.train), len(data.validation)) == (8, 8)
    assert "1 of the training images that validate, too (train/oak/other name.png)" in data.notes[0]


def test_a_part_that_is_a_link_to_the_other_is_refused(tmp_path):
    classes(tmp_path / "train")
    (tmp_path / "val").symlink_to(tmp_path / "train", target_is_directory=True)
    with pytest.raises(UserError, match="no image is left to train cat, dog: all of them validate"):
        Dataset(path=tmp_path).load(0)


def test_a_limit_is_part_of_the_account(tmp_path):
    data = Dataset(path=classes(tmp_path, count=10), limit=6).load(0)
    assert "20 files seen, 6 taken (6 .png), left out: 14 beyond the limit" in data.notes[0]
    save(tmp_path / "stray.png", 77)
    assert (
        "1 beside the folders of the classes (stray.png)" in Dataset(path=tmp_path).load(0).notes[0]
    )


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ("train", "dev"),
        ("Train", "eval"),
        ("training", "validate"),
        ("train2017", "val2017"),
        ("training_set", "test_set"),
        ("images-train", "images-valid"),
        ("seg_train/seg_train", "seg_test/seg_test"),
    ],
)
def test_splits_under_longer_names(tmp_path, train, validation):
    classes(tmp_path / train)
    classes(tmp_path / validation, seed=10_000)
    (tmp_path / "seg_pred").mkdir()
    save(tmp_path / "seg_pred" / "0.png", 77_777)
    data = Dataset(path=tmp_path).load(0)
    assert set(data.classes) == {one.name for one in (tmp_path / train).iterdir()}
    assert all(str(tmp_path / train) in path for path in data.train.paths)
    assert all(str(tmp_path / validation) in path for path in data.validation.paths)
    assert any("in folders beside the split (seg_pred)" in note for note in data.notes)


def test_what_looks_like_a_split_under_other_names_is_refused(tmp_path):
    classes(tmp_path / "train_a")
    classes(tmp_path / "holdout", seed=10_000)
    with pytest.raises(UserError, match="are those the classes, and is it a split") as caught:
        Dataset(path=tmp_path).load(0)
    assert "rename its folders" in caught.value.hint


def test_classes_whose_names_hold_such_words_stay_classes(tmp_path):
    for seed, name in enumerate(("test_tube", "train_station", "dev-board")):
        for number in range(5):
            save(tmp_path / name / f"{number}.png", 100 * seed + number)
    assert Dataset(path=tmp_path).load(0).classes == ("dev-board", "test_tube", "train_station")


def test_a_limit_leaves_each_part_an_image_of_each_class(tmp_path):
    classes(tmp_path / "train", count=100)
    classes(tmp_path / "val", count=4, seed=10_000)
    data = Dataset(path=tmp_path, limit=30).load(0)
    kinds = len(data.classes)
    assert len(data.train) + len(data.validation) == 30
    assert set(data.train.labels) == set(data.validation.labels) == set(range(kinds))
    three = tmp_path / "three"
    for seed, name in enumerate(("train", "val")):
        classes(three / name, ("a", "b", "c"), seed=20_000 * seed)
    with pytest.raises(UserError, match="5 images cannot show 3 classes in both parts"):
        Dataset(path=three, limit=5).load(0)


def test_the_parts_of_one_class_are_no_classes(tmp_path):
    for seed, part in enumerate(("train", "val")):
        classes(tmp_path / part / "cat", seed=10_000 * seed)
    with pytest.raises(UserError, match="no classes to tell apart"):
        Dataset(path=tmp_path).load(0)
