"""COCO files against pycocotools' own reader, odd boxes, and every mistake by its text."""

from __future__ import annotations

import contextlib
import io
import json
import math
import pickle
import re
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from scalesearch.datasets._boxes import BoxCheck
from scalesearch.datasets._coco_annotations import Source, read_annotations
from scalesearch.datasets._find_images import ImageFinder
from scalesearch.datasets._listing import LeftOutFiles
from scalesearch.datasets.coco import Dataset
from scalesearch.errors import UserError
from scalesearch.interfaces import BoxData
from tests.pictures import save

# ImageNet's, as every pretrained network takes them.
MEAN = (0.485, 0.456, 0.406)
FOUR = "be used\n  allowed: [x, y, width, height] in pixels"
PIXELS = "a number of pixels, or nothing"
WHOLE = "a whole number, or some text"
SIZES = {7: (30, 40), 3: (25, 25), 0: (64, 20), 12: (16, 16)}  # by image id, not in order


def entry(number, image, category, bbox, **fields):
    return {"id": number, "image_id": image, "category_id": category, "bbox": bbox} | fields


def content(categories=(2, 9, 5), boxes=None):
    """Categories with gaps and out of order, a crowd, and an image (12) without any box."""
    first, second, third = categories
    boxes = boxes or [
        entry(1, 7, first, [1, 2, 10, 12], area=77.5, iscrowd=0),
        entry(2, 7, second, [0.5, 0.5, 39.5, 29.5], iscrowd=1, area=900),
        entry(5, 3, third, [5, 5, 20, 20], area=400, iscrowd=0),
        entry(6, 0, first, [3, 40, 4, 20.25], area=60, iscrowd=0),
        entry(9, 0, third, [0, 0, 20, 64], area=1000),
    ]
    images = [
        {"id": i, "file_name": f"sub/{i}.png", "height": h, "width": w}
        for i, (h, w) in SIZES.items()
    ]
    named = [{"id": i, "name": f"kind {i}"} for i in categories]
    return {"info": {}, "images": images, "annotations": boxes, "categories": named}


def write(folder, what, name="instances.json"):
    (folder / "images" / "sub").mkdir(parents=True, exist_ok=True)
    for image in what["images"] if isinstance(what, dict) else ():
        file = folder / "images" / image.get("file_name", "none.png")
        height, width = SIZES[image["id"]]
        pixels = np.full((height, width, 3), image["id"] % 256, np.uint8)
        if not file.exists():
            Image.fromarray(pixels).save(file)
    path = folder / name
    path.write_text(what if isinstance(what, str) else json.dumps(what))
    return {"images": folder / "images", "annotations": path}


def loaded(folder, what, seed=0, **options):
    return Dataset(**write(folder, what), **({"validation": 0.5} | options)).load(seed)


def in_two(folder, what):
    """Options of a data set whose two parts are alike: the same boxes in images of their own."""
    other = write(folder / "other", what)
    names = {"validation_images": other["images"], "validation_annotations": other["annotations"]}
    return write(folder, what) | names


def read(path, folder):
    finder = ImageFinder(folder, "images", LeftOutFiles(folder), ".json")
    return read_annotations([Source(path, finder)])


def theirs(path):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.mark.parametrize("categories", [(2, 9, 5), (0, 1, 2), (90, 0, 44)])
def test_reads_what_pycocotools_reads(tmp_path, categories):
    options = in_two(tmp_path, content(categories))
    data = Dataset(**options).load(0)
    coco = theirs(options["annotations"])
    assert list(data.category_ids) == sorted(coco.getCatIds())
    assert data.classes == tuple(coco.cats[key]["name"] for key in data.category_ids)
    assert list(data.train.ids) == list(SIZES)
    for image in data.train.images:
        expected, targets = coco.imgs[image.id], image.targets
        assert image.path == str(tmp_path / "images" / expected["file_name"])
        assert image.size == (expected["height"], expected["width"])
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image.id))
        assert len(targets.labels) == len(annotations)
        for i, one in enumerate(annotations):
            x, y, width, height = one["bbox"]
            assert targets.boxes[i].tolist() == [x, y, x + width, y + height]
            assert sorted(categories)[targets.labels[i]] == one["category_id"]
            assert targets.crowd[i] == bool(one.get("iscrowd", 0))
            assert targets.areas[i] == one["area"]
    assert data.notes == (
        "8 files seen, 8 taken (8 .png)",
        "2 of 8 images have no box: all of them is background",
        *data.notes[2:],
    )


def test_objects_are_arrays_also_where_there_are_none(tmp_path):
    data = loaded(tmp_path, content())
    everything = [part.targets(i) for part in (data.train, data.validation) for i in range(2)]
    assert sorted(len(t.labels) for t in everything) == [0, 1, 2, 2]
    for targets in everything:
        assert (targets.boxes.dtype, targets.boxes.shape[1:]) == (np.float32, (4,))
        assert (targets.labels.dtype, targets.crowd.dtype) == (np.int64, bool)
        assert targets.areas.dtype == np.float64


def test_a_data_set_split_by_its_seed(tmp_path):
    data = loaded(tmp_path, content())
    assert isinstance(data, BoxData)
    assert data.classes == ("kind 2", "kind 5", "kind 9")
    assert data.category_ids == (2, 5, 9)
    assert (data.channels, data.mean, data.flip) == (3, MEAN, True)
    assert sorted([*data.train.ids, *data.validation.ids]) == sorted(SIZES)
    assert (len(data.train), len(data.validation)) == (2, 2)
    again = [loaded(tmp_path, content(), seed).train.ids for seed in range(6)]
    assert again[0] == data.train.ids
    assert len(set(again)) > 1


def test_images_are_read_as_they_are(tmp_path):
    data = loaded(tmp_path, content())
    for part in (data.train, data.validation):
        for index, number in enumerate(part.ids):
            image = part.image(index)
            assert image.dtype == torch.uint8
            assert image.shape == (3, *SIZES[number])
            assert part.size(index) == SIZES[number]
            assert image.unique().tolist() == [number]
    grey = loaded(tmp_path, content(), channels=1)
    assert grey.train.image(0).shape[0] == 1
    assert grey.mean == (pytest.approx(sum(MEAN) / 3),)


def test_a_file_of_its_own_validates(tmp_path):
    boxes = [entry(1, 3, 9, [0, 0, 5, 5])]
    options = in_two(tmp_path, content())
    write(tmp_path / "other", content(boxes=boxes))
    data = Dataset(**options).load(0)
    assert len(data.train) == len(data.validation) == 4
    assert [len(data.validation.targets(i).labels) for i in range(4)] == [0, 1, 0, 0]
    # An area that is not given is its box's.
    assert data.validation.targets(1).areas.tolist() == [25.0]


def boxed(numbers):
    """Annotations with a box in every image, and images of these ids that all differ."""
    images = [{"id": n, "file_name": f"{n}.png", "height": 20, "width": 24} for n in numbers]
    boxes = [entry(n, n, 1, [1, 2, 10, 12]) for n in numbers]
    return {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}


def in_parts(root, **parts):
    """Options of a data set whose parts have a folder and a file each."""
    options = {}
    for part, numbers in parts.items():
        for number in numbers:
            save(root / part / f"{number}.png", number)
        (root / f"{part}.json").write_text(json.dumps(boxed(numbers)))
        prefix = "" if part == "train" else f"{part}_"
        options |= {f"{prefix}images": root / part, f"{prefix}annotations": root / f"{part}.json"}
    return options


def test_files_of_their_own_validate_and_test(tmp_path):
    parts = {"train": range(10), "validation": range(10, 15), "test": range(15, 18)}
    data = Dataset(**in_parts(tmp_path, **parts)).load(0)
    assert {part: [*getattr(data, part).ids] for part in parts} == {
        part: [*numbers] for part, numbers in parts.items()
    }
    assert data.notes[1].startswith("3 images are kept for a test: no phase sees them")
    assert "18 files seen, 18 taken" in data.notes[0]


def test_a_share_validates_beside_test_images_of_their_own(tmp_path):
    """As EfficientDet's authors may select on a part of train2017 and report val2017."""
    options = in_parts(tmp_path, train=range(10), test=range(10, 15))
    data = Dataset(**options, validation=0.3).load(0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [7, 3, 5]
    assert {*data.train.ids, *data.validation.ids} == set(range(10))
    assert [*data.test.ids] == [*range(10, 15)]


def test_three_parts_are_drawn_and_the_test_images_first(tmp_path):
    options = in_parts(tmp_path, train=range(20))
    parts = [Dataset(**options, test=0.2, validation=share).load(3) for share in (0.2, 0.5)]
    assert [[len(p) for p in (d.train, d.validation, d.test)] for d in parts] == [
        [12, 4, 4],
        [6, 10, 4],
    ]
    assert parts[0].test.ids == parts[1].test.ids
    for data in parts:
        every = [*data.train.ids, *data.validation.ids, *data.test.ids]
        assert sorted(every) == [*range(20)]


def test_copies_of_test_images_neither_train_nor_validate(tmp_path):
    options = in_parts(tmp_path, train=range(10), validation=range(10, 15), test=range(15, 18))
    for part, number in (("train", 0), ("validation", 10)):
        shutil.copy(tmp_path / "test" / "15.png", tmp_path / part / f"{number}.png")
    data = Dataset(**options).load(0)
    assert [*data.train.ids] == [*range(1, 10)]
    assert [*data.validation.ids] == [*range(11, 15)]
    assert len(data.test) == 3
    assert "1 of the training images that test, too" in data.notes[0]
    assert "1 of the validation images that test, too" in data.notes[0]
    everything = in_parts(tmp_path / "all", train=range(5), test=range(5))
    with pytest.raises(UserError, match="all 5 training images validate or test, too"):
        Dataset(**everything).load(0)


def test_test_images_without_a_box_score_nothing(tmp_path):
    options = in_parts(tmp_path, train=range(10), test=range(10, 12))
    what = boxed(range(10, 12)) | {"annotations": []}
    (tmp_path / "test.json").write_text(json.dumps(what))
    with pytest.raises(UserError, match="no test image has a box to be scored by"):
        Dataset(**options).load(0)
    what["categories"] = [{"id": 1, "name": "dog"}]
    what["annotations"] = boxed(range(10, 12))["annotations"]
    (tmp_path / "test.json").write_text(json.dumps(what))
    with pytest.raises(UserError, match="the two files have different categories") as caught:
        Dataset(**options).load(0)
    assert caught.value.key == "test_annotations"


def test_a_limit_holds_for_each_part(tmp_path):
    what = content()
    what["images"].append(what["images"][3] | {"id": 3000, "file_name": "sub/3000.png"})
    SIZES[3000] = SIZES[12]
    data = Dataset(**in_two(tmp_path, what), limit=4).load(0)
    del SIZES[3000]
    assert (len(data.train), len(data.validation)) == (4, 4)
    assert "10 files seen, 8 taken (8 .png), left out: 2 beyond the limit" in data.notes[0]


def test_one_class_is_enough(tmp_path):
    what = content()
    what["categories"] = what["categories"][:1]
    what["annotations"] = [a for a in what["annotations"] if a["category_id"] == 2]
    assert Dataset(**in_two(tmp_path, what)).load(0).classes == ("kind 2",)


def test_odd_boxes_are_clipped_or_left_out_and_counted(tmp_path):
    boxes = [
        entry(1, 3, 2, [-5, 2, 10, 10]),  # over the left border
        entry(2, 3, 2, [20, 20, 100, 4]),  # over the right one
        entry(3, 3, 2, [5, 5, 0, 10]),  # no width
        entry(4, 3, 2, [5, 5, 4, -3]),  # less than none
        entry(5, 3, 2, [30, 30, 5, 5]),  # beside the image
        entry(6, 3, 2, [24.5, 1, 1.0, 3]),  # half a pixel over, as rounding leaves it
        entry(7, 7, 2, [1, 1, 3, 3]),
    ]
    data = Dataset(**in_two(tmp_path, content(boxes=boxes))).load(0)
    boxes = data.train.targets(1).boxes.tolist()
    assert boxes == [[0, 2, 5, 12], [20, 20, 25, 24], [24.5, 1, 25, 4]]
    assert data.notes == (
        "8 files seen, 8 taken (8 .png)",
        "2 of 14 boxes are left out, as they are outside of their image",
        "4 of 14 boxes are left out, as they are without area",
        "4 of 14 boxes reach over their image and are clipped at its border",
        "4 of 8 images have no box: all of them is background",
        "classes without a box to learn from: kind 5, kind 9",
    )


SIDES = st.floats(-50, 90, allow_nan=False)


@given(st.tuples(SIDES, SIDES, SIDES, SIDES))
def test_what_is_left_of_a_box_is_inside_and_has_an_area(corners):
    check = BoxCheck("xyxy", "boxes")
    clipped = check.clipped(corners, (30, 40))
    if clipped is None:
        assert "1 of 1 boxes are left out" in check.notes()[0]
        return
    x0, y0, x1, y1 = clipped
    assert 0 <= x0 < x1 <= 40
    assert 0 <= y0 < y1 <= 30
    assert x0 in (corners[0], 0)
    assert y1 in (corners[3], 30)


# A field of a file, its wrong value (None removes the field), and how the error begins.
MISTAKES = [
    ("categories", [], "categories: holds no category"),
    ("categories[1].id", 2, "categories[1].id: the id 2 is used twice"),
    ("categories[1].id", None, "categories[1]: 'id' is missing"),
    ("categories[1].id", 9.5, f"categories[1].id: 9.5 cannot be used\n  allowed: {WHOLE}"),
    ("categories[1].name", 7, "categories[1].name: 7 cannot be used\n  allowed: some text"),
    ("categories[1].name", "kind 2", "categories: 'kind 2' is the name of the ids 2 and 9"),
    ("images[1].id", 7, "images[1].id: the id 7 is used twice"),
    ("images[1].id", math.nan, f"images[1].id: nan cannot be used\n  allowed: {WHOLE}"),
    ("images[1].file_name", None, "images[1]: 'file_name' is missing"),
    (
        "images[2].height",
        "x",
        "images[2].height: 'x' cannot be used\n  allowed: a number of pixels",
    ),
    (
        "images[1].width",
        25.5,
        "images[1].width: 25.5 cannot be used\n  allowed: a number of pixels",
    ),
    ("images[1].height", 10**400, "images[1].height: 1000"),
    ("annotations[0].image_id", 8, "annotations[0].image_id: there is no image with the id 8"),
    ("annotations[2].image_id", 3.5, "annotations[2].image_id: 3.5 cannot be used"),
    (
        "annotations[2].image_id",
        "3a",
        "annotations[2].image_id: there is no image with the id '3a'",
    ),
    ("annotations[3].category_id", 3, "annotations[3].category_id: there is no category with the"),
    ("annotations[3].category_id", [], "annotations[3].category_id: [] cannot be used"),
    ("annotations[2].category_id", True, "annotations[2].category_id: True cannot be used"),
    ("annotations[1]", 3, "annotations[1]: 3 cannot be used\n  allowed: an object with fields"),
    ("annotations[2].bbox", None, "annotations[2]: 'bbox' is missing"),
    ("annotations[2].bbox", [1, 2, 3], f"annotations[2].bbox: [1, 2, 3] cannot {FOUR}"),
    ("annotations[2].bbox", [1, 2, 3, 4, 5], f"annotations[2].bbox: [1, 2, 3, 4, 5] cannot {FOUR}"),
    ("annotations[2].bbox", 5, f"annotations[2].bbox: 5 cannot {FOUR}"),
    ("annotations[2].bbox", [1, 2, math.nan, 3], "annotations[2].bbox[2]: nan cannot be used"),
    ("annotations[2].bbox", [1, 2, 3, math.inf], "annotations[2].bbox[3]: inf cannot be used"),
    ("annotations[2].bbox", [1, 2, 10**400, 3], "annotations[2].bbox[2]: 1000"),
    ("annotations[2].bbox", ["one", 2, 3, 4], "annotations[2].bbox[0]: 'one' cannot be used"),
    ("annotations[2].area", "big", "annotations[2].area: 'big' cannot be used"),
    ("annotations[2].area", math.nan, "annotations[2].area: nan cannot be used"),
    ("annotations[2].iscrowd", 2, "annotations[2].iscrowd: 2 cannot be used\n  allowed: 0 or 1"),
]
NOT_COCO = [
    ("{", "is not JSON: Expecting property name"),
    ("[" * 100_000, "is not JSON"),
    ('{"images": ' + "1" * 5000 + "}", "is not JSON"),
    ("[]", "has no list 'images'\n  allowed: a COCO file of instances"),
    ('{"images": [], "categories": []}', "has no list 'annotations'\n  allowed: a COCO file"),
]


def with_mistake(path, value):
    """A file whose field at `path` has another value, or is missing if that is None."""
    what = content()
    *parents, last = (int(p) if p.isdigit() else p for p in re.findall(r"\w+", path))
    entry = what
    for part in parents:
        entry = entry[part]
    if value is None:
        del entry[last]
    else:
        entry[last] = value
    return json.dumps(what)


def test_a_mistake_in_a_file_names_its_place(tmp_path):
    path = tmp_path / "instances.json"
    cases = [(with_mistake(field, value), text) for field, value, text in MISTAKES]
    wrong = []
    for text, expected in [*cases, *NOT_COCO]:
        path.write_text(text)
        try:
            read(path, tmp_path)
            wrong.append(f"no error, expected {expected}")
        except UserError as error:
            if not str(error).startswith(f"{path}: {expected}"):
                wrong.append(f"{error}, expected {expected}")
    assert wrong == []


ODD = [
    *(None, True, -1, 0, 2**53, 10**400, 0.5, math.nan, -math.inf),
    *("", "3", "\ud800", [], {}, [[1]]),
]


@given(st.randoms(use_true_random=False), st.sampled_from(ODD))
def test_any_value_anywhere_is_read_or_named(tmp_path_factory, draws, odd):
    """One value anywhere in a file is replaced."""
    what = content()
    fields = [(what, key) for key in what]
    for holder, key in fields:  # grows during the loop
        inner = holder[key]
        keys = inner if isinstance(inner, dict) else range(len(inner) if type(inner) is list else 0)
        fields += [(inner, one) for one in keys]
    holder, key = draws.choice(fields)
    holder[key] = odd
    path = tmp_path_factory.mktemp("odd") / "instances.json"
    path.write_text(json.dumps(what))
    with contextlib.suppress(UserError):  # and nothing else
        sound(read(path, path.parent))


def sound(annotations):
    for image in annotations.images:
        assert np.isfinite([one.box for one in image.objects]).all()
        assert all(one.area >= 0 for one in image.objects)
    str(annotations.categories).encode()


def test_a_name_that_no_file_has(tmp_path):
    what = content()
    options = write(tmp_path, what)
    for name in (None, 7, "", " ", "a\0b", "a\nb", "\ud800"):
        what["images"][1]["file_name"] = name
        options["annotations"].write_text(json.dumps(what))
        with pytest.raises(UserError) as raised:
            Dataset(**options).load(0)
        assert raised.value.problem == f"{name!r} cannot be used"
        assert raised.value.key == "images[1].file_name"
        assert raised.value.allowed == "some text"
    what["images"][1]["file_name"] = "x" * 5000
    options["annotations"].write_text(json.dumps(what))
    with pytest.raises(UserError, match="1 of 4 images are missing"):
        Dataset(**options).load(0)


def test_what_is_odd_and_right(tmp_path):
    """Ids of any kind and size, annotations of one id, names in any script, a missing `iscrowd`."""
    what = content()
    for image in what["images"]:
        if image["id"] == 3:
            image["file_name"] = "sub/Größe\u202f1 雪.png"
    options = write(tmp_path, what)
    for part, key in (("images", "id"), ("annotations", "image_id")):
        for one in what[part]:
            one[key] = {7: -4, 3: 2**53 - 1}.get(one[key], one[key])
    for one in what["annotations"]:
        one["id"] = 1
        one.pop("iscrowd", None)
    what["annotations"][0]["iscrowd"] = None
    what["annotations"][1]["iscrowd"] = True
    what["categories"][0]["name"] = "雪豹/кот"
    options["annotations"].write_text("\ufeff" + json.dumps(what, ensure_ascii=False))
    shutil.copytree(tmp_path / "images", tmp_path / "other")
    options |= {"validation_images": tmp_path / "other"}
    data = Dataset(**options, validation_annotations=options["annotations"]).load(0)
    assert data.classes[0] == "雪豹/кот"
    assert data.train.ids == (-4, 2**53 - 1, 0, 12)
    assert data.train.image(1).unique().tolist() == [3]
    assert [data.train.targets(i).crowd.tolist() for i in range(4)] == [
        *([False, True], [False], [False, False], [])
    ]


def test_classes_that_nothing_shows_are_noted(tmp_path):
    """A class of crowds alone cannot be learned either."""
    what = content()
    options = in_two(tmp_path, what)
    assert Dataset(**options).load(0).notes[-1] == "classes without a box to learn from: kind 9"
    what["annotations"][1]["iscrowd"] = 0
    write(tmp_path, what)
    assert not any("to learn from" in note for note in Dataset(**options).load(0).notes)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    options = write(tmp_path, content())

    def deny(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "read_bytes", deny)
    with pytest.raises(UserError, match=r"instances\.json: cannot be read: .*Permission denied"):
        Dataset(**options).load(0)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: annotations: there is no such file"):
        read(tmp_path / "none.json", tmp_path)


def test_missing_images_are_counted_and_the_first_named(tmp_path):
    options = write(tmp_path, content())
    for number in (7, 3, 0):
        (tmp_path / "images" / "sub" / f"{number}.png").unlink()
    with pytest.raises(UserError) as raised:
        Dataset(**options).load(0)
    folder = tmp_path / "images" / "sub"
    assert str(raised.value) == (
        f"images: 3 of 4 images are missing: {folder / '7.png'}, {folder / '3.png'}, "
        f"{folder / '0.png'}\n  are the file names relative to this folder? "
        f"1 images lie in {tmp_path / 'images'}"
    )


def test_a_file_that_is_no_image(tmp_path):
    options = write(tmp_path, content())
    bad = tmp_path / "images" / "sub" / "3.png"
    bad.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"1 of 4 files cannot be read as images: .*3\.png"):
        Dataset(**options).load(0)


def test_an_image_of_another_size_than_its_boxes(tmp_path):
    options = write(tmp_path, content())
    Image.new("RGB", (41, 30)).save(tmp_path / "images" / "sub" / "7.png")
    with pytest.raises(UserError) as raised:
        Dataset(**options).load(0)
    assert "7.png is 41 x 30, not 40 x 30" in str(raised.value)


def test_boxes_are_relative_to_the_upright_image(tmp_path):
    """As every tool for annotation shows it; 6 is a camera held on its side."""
    what = content()
    options = write(tmp_path, what)
    file = tmp_path / "images" / "sub" / "7.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("7.png", "7.jpg"):
        Image.new("RGB", (30, 40)).save(file.with_name(name), exif=exif)
        what["images"][0]["file_name"] = f"sub/{name}"
        options = write(tmp_path, what)
        data = Dataset(**options, validation=0.5).load(0)
        part = data.train if 7 in data.train.ids else data.validation
        assert part.image(part.ids.index(7)).shape == (3, 30, 40)


def test_an_image_that_breaks_off_is_found_before_any_trial(tmp_path):
    options = write(tmp_path, content())
    file = tmp_path / "images" / "sub" / "7.png"
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"1 of 4 files cannot be read as images: .*7\.png \("):
        Dataset(**options, validation=0.5).load(0)


def test_images_with_a_damaged_middle_are_all_named_by_the_trial_that_reads_one(tmp_path):
    """Their beginnings and their ends are right."""
    write(tmp_path, content())
    for number in (7, 3):
        file = tmp_path / "images" / "sub" / f"{number}.png"
        height, width = SIZES[number]
        noise = np.random.default_rng(number).integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(noise).save(file)
        content_before = bytearray(file.read_bytes())
        content_before[300:400] = bytes(100)
        file.write_bytes(content_before)
    data = Dataset(**in_two(tmp_path, content())).load(0)
    with pytest.raises(UserError) as raised:
        data.train.image(data.train.ids.index(7))
    assert "cannot decode 2 of 4 files" in str(raised.value)
    assert "7.png" in str(raised.value)
    assert "3.png" in str(raised.value)


def test_a_path_that_leads_out_of_the_folder(tmp_path):
    """Nothing beside the folder is read; a file of that name in the folder may be meant."""
    what = content()
    options = write(tmp_path, what)
    (tmp_path / "outside.png").write_bytes((tmp_path / "images/sub/7.png").read_bytes())
    for name in ("../outside.png", "/etc/passwd", "sub/../../outside.png"):
        what["images"][0]["file_name"] = name
        options["annotations"].write_text(json.dumps(what))
        with pytest.raises(UserError, match="1 of 4 images are missing"):
            Dataset(**options).load(0)


def test_nothing_to_validate_with(tmp_path):
    """A crowd is not an object to detect."""
    train = write(tmp_path, content())
    for boxes in ([], [entry(1, 3, 9, [0, 0, 5, 5], iscrowd=1)]):
        bare = content() | {"annotations": boxes}
        other = write(tmp_path, bare, "val.json")["annotations"]
        in_other = in_two(tmp_path, content()) | {"validation_annotations": other}
        with pytest.raises(UserError, match="annotations: no validation image has a box"):
            Dataset(**in_other).load(0)
        with pytest.raises(UserError, match="annotations: no training image has a box"):
            Dataset(**{**train, "annotations": other}, validation=0.5).load(0)


def test_files_with_other_categories_do_not_go_together(tmp_path):
    train = write(tmp_path, content())
    other = write(tmp_path, content((2, 9, 6)), "val.json")["annotations"]
    with pytest.raises(UserError, match="the two files have different categories"):
        Dataset(**train, validation_annotations=other).load(0)


def test_options_that_contradict_each_other():
    for options, text in (
        ({"validation": 1.0}, "validation: 1.0 cannot be used\n  allowed: between 0 and 1"),
        (
            {"validation": 0.2, "validation_annotations": "val.json"},
            "validation: validation_annotations are given already\n  leave one of the two out",
        ),
        ({"validation_images": "v"}, "validation_images: validation_annotations are missing"),
        (
            {"test": 0.5, "validation": 0.5},
            "test: 0.5 to test and 0.5 to validate leave nothing to "
            "train\n  allowed: two shares that add up to less than 1",
        ),
        (
            {"test": 0.2, "test_annotations": "test.json"},
            "test: test_annotations are given already\n  leave one of the two out",
        ),
        ({"test_images": "t"}, "test_images: test_annotations are missing"),
        ({"channels": 4}, "channels: 4 cannot be used\n  allowed: 1 or 3"),
        ({"limit": 3}, "limit: 3 cannot be used\n  allowed: 4 or more, or null"),
    ):
        with pytest.raises(UserError) as raised:
            Dataset(images="images", annotations="a.json", **options)
        assert str(raised.value) == text


def test_too_small_a_share(tmp_path):
    with pytest.raises(UserError, match=r"0\.01 of 4 images leaves nothing to train or"):
        loaded(tmp_path, content(), validation=0.01)


def test_what_workers_are_sent_is_small(tmp_path):
    """Paths and boxes, no pixels."""
    assert len(pickle.dumps(loaded(tmp_path, content()))) < 6000
