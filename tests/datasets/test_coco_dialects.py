"""COCO files of other programs hold the same as COCO's own."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from scalesearch.datasets.coco import Dataset
from scalesearch.errors import UserError
from tests.pictures import noise

GOOD = {
    "images": [
        {"id": n + 1, "file_name": f"{n}.png", "width": 24, "height": 20} for n in range(10)
    ],
    "annotations": [
        {
            "id": n,
            "image_id": n + 1,
            "category_id": 1 + n % 2,
            "bbox": [2, 3, 9 + n % 3, 8],
            "iscrowd": 0,
            "area": 50.0,
        }
        for n in range(10)
    ],
    "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}],
}

NUMBERED = "texts or very large: they are numbered in the order of the file"


def load(folder, content, **options):
    (folder / "images").mkdir(exist_ok=True)
    for number in range(10):
        noise(number).save(folder / "images" / f"{number}.png")
    (folder / "a.json").write_text(json.dumps(content))
    options = {"images": folder / "images", "annotations": folder / "a.json"} | options
    return Dataset(**{"validation": 0.3} | options).load(0)


def same(data, other):
    assert data.classes == other.classes
    assert data.category_ids == other.category_ids
    for part, expected in ((data.train, other.train), (data.validation, other.validation)):
        assert part.paths == expected.paths
        for index in range(len(expected)):
            ours, theirs = part.targets(index), expected.targets(index)
            for name in ("boxes", "labels", "crowd", "areas"):
                assert np.array_equal(getattr(ours, name), getattr(theirs, name))


def edited(edit):
    content = copy.deepcopy(GOOD)
    edit(content)
    return content


def every(part, **values):
    """An edit of each entry of a part; a value of `...` takes its key away."""

    def edit(content):
        for entry in content[part]:
            for key, value in values.items():
                if value is ...:
                    entry.pop(key)
                else:
                    entry[key] = value(entry[key]) if callable(value) else value

    return edit


def both(*edits):
    return lambda content: [edit(content) for edit in edits]


def with_root(name):
    root = {"id": 0, "name": name, "supercategory": "none"}
    return lambda content: content["categories"].insert(0, root)


SAME = {
    "text ids": both(every("images", id=str), every("annotations", image_id=str)),
    "text ids in one place": every("annotations", image_id=str, category_id=str),
    "float ids": both(every("annotations", image_id=float), every("categories", id=float)),
    "ids as 1.0 in text": every("annotations", category_id=lambda v: f"{v}.0"),
    "sizes of -1": every("images", width=-1, height=-1),
    "sizes of 0": every("images", width=0, height=0),
    "no sizes": every("images", width=..., height=...),
    "sizes of null": every("images", width=None, height=None),
    "one side": every("images", width=None),
    "sizes as text": every("images", width=str, height=str),
    "float sizes": every("images", width=float, height=float),
    "boxes as text": every("annotations", bbox=lambda box: [str(v) for v in box]),
    "crowds as truth values": every("annotations", iscrowd=bool),
    "crowds as text": every("annotations", iscrowd=str),
    "crowds of null": every("annotations", iscrowd=None),
    "no crowds": every("annotations", iscrowd=...),
    "backslashes": every("images", file_name=lambda name: f"images\\{name}"),
    "absolute paths": every("images", file_name=lambda name: f"/data/me/images/{name}"),
    "folders of the program": every("images", file_name=lambda name: f"upload/1/{name}"),
    "a root": both(every("categories", supercategory="things"), with_root("things")),
    "a root named as a class": with_root("red"),
    "fields of other programs": both(
        every("images", license=1, extra={"name": "x"}),
        lambda content: content.update(info=None, licenses=[], version=3),
    ),
    "outlines without boxes": lambda content: [
        one.update(bbox=[], segmentation=[outline(*one["bbox"])]) for one in content["annotations"]
    ],
}


def outline(x, y, width, height):
    """A diamond that touches the sides of a box."""
    return [
        x + width / 2,
        y,
        x + width,
        y + height / 2,
        x + width / 2,
        y + height,
        x,
        y + height / 2,
    ]


@pytest.mark.parametrize("dialect", SAME)
def test_means_the_same(tmp_path, dialect):
    same(load(tmp_path, edited(SAME[dialect])), load(tmp_path, GOOD))


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        ("no sizes", "10 of 10 images have the size of their file"),
        ("backslashes", r"10 images are found by the end of their names: images\0.png as 0.png"),
        ("a root", "the category 0, 'things', has no box and is left out"),
        ("a root named as a class", "the category 0, 'red', has no box and is left out"),
    ],
)
def test_what_was_read_in_another_form_is_said(tmp_path, dialect, said):
    assert any(said in note for note in load(tmp_path, edited(SAME[dialect])).notes)


def test_ids_that_are_words_are_numbered(tmp_path):
    def words(content):
        for one in content["images"]:
            one["id"] = f"img-{one['id']}"
        for one in content["categories"]:
            one["id"] = one["name"]
        for one in content["annotations"]:
            one["image_id"] = f"img-{one['image_id']}"
            one["category_id"] = "red" if one["category_id"] == 1 else "blue"

    data = load(tmp_path, edited(words))
    same(data, load(tmp_path, GOOD))
    for part in ("images", "categories"):
        assert f"ids of {part} are {NUMBERED}" in data.notes


def test_a_class_that_is_its_own_root_stays(tmp_path):
    """As COCO's `person`, also where no box shows it."""
    person = {"id": 3, "name": "person", "supercategory": "person"}
    content = edited(lambda content: content["categories"].append(person))
    assert load(tmp_path, content).classes == ("red", "blue", "person")


def test_two_classes_of_one_name_that_are_both_used_are_refused(tmp_path):
    """Names that look alike are one."""
    content = edited(lambda content: content["categories"][1].update(name="red\u200b"))
    with pytest.raises(UserError) as caught:
        load(tmp_path, content)
    assert "'red' is the name of the ids 1 and 2 (with U+200B ZERO WIDTH SPACE)" in str(
        caught.value
    )
    assert "give the boxes of both the same id" in caught.value.hint


def two_files(folder, edit):
    content = edited(edit)
    (folder / "other").mkdir(exist_ok=True)
    for number in range(10):
        noise(100 + number).save(folder / "other" / f"{number}.png")
    (folder / "b.json").write_text(json.dumps(content))
    names = {"validation_images": folder / "other", "validation_annotations": folder / "b.json"}
    return load(folder, GOOD, validation=None, **names)


def test_names_match_the_classes_of_two_files(tmp_path):
    def renumber(content):
        content["categories"] = [{"id": 7, "name": "blue"}, {"id": 8, "name": "red"}]
        for one in content["annotations"]:
            one["category_id"] = 8 if one["category_id"] == 1 else 7

    data = two_files(tmp_path, renumber)
    assert data.category_ids == (1, 2)
    assert [data.validation.targets(n).labels.tolist() for n in range(4)] == [[0], [1], [0], [1]]
    assert "b.json: categories are matched by name, not by id" in data.notes


def test_a_second_file_may_lack_a_class_and_have_no_other(tmp_path):
    def fewer(content):
        content["categories"].pop()
        content["annotations"] = [a for a in content["annotations"] if a["category_id"] == 1]

    assert "b.json has no category blue" in two_files(tmp_path, fewer).notes

    def other(content):
        content["categories"][0]["name"] = "green"

    with pytest.raises(UserError, match="'green' is only in this one"):
        two_files(tmp_path, other)


def test_an_image_in_both_files_validates_alone(tmp_path):
    load(tmp_path, GOOD)
    options = {"validation_annotations": tmp_path / "val.json", "validation": None}
    content = edited(lambda content: content["images"].__delitem__(slice(2, None)))
    content["annotations"] = content["annotations"][:2]
    (tmp_path / "val.json").write_text(json.dumps(content))
    data = load(tmp_path, GOOD, **options)
    assert (len(data.train), len(data.validation)) == (8, 2)
    assert "2 of the training images that validate, too (0.png, 1.png)" in data.notes[0]
    (tmp_path / "val.json").write_text(json.dumps(GOOD))
    with pytest.raises(UserError, match="all 10 training images validate, too"):
        load(tmp_path, GOOD, **options)


def test_copies_of_an_image_stay_on_one_side(tmp_path):
    def twice(content):
        for one in list(content["images"]):
            content["images"].append(one | {"id": one["id"] + 100})

    for seed in range(4):
        data = load(tmp_path, edited(twice), validation=0.4)
        assert not set(data.train.paths) & set(data.validation.paths), seed
    assert any("10 of 20 images are copies of others" in note for note in data.notes)


def test_ids_of_64_bits_are_numbered(tmp_path):
    large = {"id": lambda number: number + 2**60}
    edits = every("images", **large), every("annotations", image_id=large["id"])
    data = load(tmp_path, edited(both(*edits)))
    same(data, load(tmp_path, GOOD))
    assert f"ids of images are {NUMBERED}" in data.notes


def test_crowds_are_counted(tmp_path):
    some, all_of_them = copy.deepcopy(GOOD), edited(every("annotations", iscrowd=1))
    for entry in some["annotations"][:4]:
        entry["iscrowd"] = 1
    words = "4 of 10 boxes are crowd: neither learned nor scored"
    assert any(note.startswith(words) for note in load(tmp_path, some).notes)
    with pytest.raises(UserError, match="has a box to learn from: 10 of 10 boxes are crowd"):
        load(tmp_path, all_of_them)


def test_an_empty_box_beside_an_outline_is_the_box_around_it(tmp_path):
    content = copy.deepcopy(GOOD)
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        entry["segmentation"] = [[x, y, x + width, y, x + width, y + height]]
        entry["bbox"] = [0, 0, 0, 0]
    same(load(tmp_path, content), load(tmp_path, GOOD))


def test_an_image_that_stands_twice_is_named(tmp_path):
    content = copy.deepcopy(GOOD)
    content["images"].append({**content["images"][0], "id": 99})
    words = "1 images of a.json stand there before: each has boxes of its own"
    assert words in load(tmp_path, content).notes


def test_boxes_outside_of_their_images_are_why_there_is_none(tmp_path):
    far = every("annotations", bbox=lambda box: [4000, 4000, *box[2:]])
    with pytest.raises(UserError, match="all 10 boxes reach over their image: are these the"):
        load(tmp_path, edited(far))
