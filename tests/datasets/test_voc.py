"""Pascal VOC against hand-made XML and torchvision's parser."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import VOCDetection

from scalesearch.datasets.voc import Dataset
from scalesearch.errors import UserError
from tests.pictures import noise

# Name, difficult, xmin, ymin, xmax, ymax; VOC counts pixels from 1 and includes the last.
OBJECTS = {
    "2007_000027": ("dog", 0, 1, 1, 40, 30),
    "2007_000032": ("cat", 1, 5, 6, 8, 9),
    "2007_000033": None,
    "2007_000039": ("person", 0, 10, 3, 20, 30),
}
PART = (
    "<part><name>head</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>4</xmax><ymax>5</ymax>"
    "</bndbox></part>"
)


def page(name, thing, size=(30, 40)):
    annotated = ""
    if thing:
        label, difficult, *corners = thing
        keys = ("xmin", "ymin", "xmax", "ymax")
        box = "".join(f"<{k}>{v}</{k}>" for k, v in zip(keys, corners, strict=True))
        annotated = (
            f"<object>{PART}<name>{label}</name><pose>Left</pose><truncated>1</truncated>"
            f"<difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"
        )
    return (
        f"<annotation><folder>VOC2007</folder><filename>{name}.jpg</filename><size>"
        f"<width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>{annotated}"
        "</annotation>"
    )


def fill(root, objects=OBJECTS):
    """A folder as the archives have it: VOCdevkit/VOC2007."""
    folder = root / "VOCdevkit" / "VOC2007"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for name, thing in objects.items():
        (folder / "Annotations" / f"{name}.xml").write_text(page(name, thing))
        Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / f"{name}.jpg")
    names = list(objects)
    lists = {"train": names[:2], "val": names[2:], "trainval": names}
    for name, members in lists.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(members) + "\n")
    return folder


def test_objects_by_hand(tmp_path):
    data = Dataset(path=fill(tmp_path), train="train", val="val").load(0)
    assert data.classes == ("cat", "dog", "person")
    assert data.category_ids == (1, 2, 3)
    assert (len(data.train), len(data.validation)) == (2, 2)
    assert set(data.train.ids) | set(data.validation.ids) == {1, 2, 3, 4}
    dog, cat = data.train.targets(0), data.train.targets(1)
    assert dog.boxes.tolist() == [[0, 0, 40, 30]]
    assert (dog.labels.tolist(), dog.crowd.tolist(), dog.areas.tolist()) == ([1], [False], [1200])
    assert cat.boxes.tolist() == [[4, 5, 8, 9]]
    assert (cat.labels.tolist(), cat.crowd.tolist()) == ([0], [True])
    assert data.validation.targets(0).boxes.shape == (0, 4)
    assert data.train.image(0).shape == (3, 30, 40)


def test_is_what_torchvision_reads(tmp_path):
    folder = fill(tmp_path)
    theirs = VOCDetection(str(tmp_path), year="2007", image_set="trainval")
    data = Dataset(path=folder, train="train", val="val").load(0)
    every = [(part, index) for part in (data.train, data.validation) for index in range(len(part))]
    assert len(every) == len(theirs)
    for (part, index), (image, target) in zip(every, theirs, strict=True):
        ours = part.targets(index)
        assert part.size(index) == (image.height, image.width)
        theirs_here = target["annotation"].get("object", [])
        assert len(theirs_here) == len(ours.labels)
        for i, one in enumerate(theirs_here):
            box = {key: float(value) for key, value in one["bndbox"].items()}
            corners = [box["xmin"] - 1, box["ymin"] - 1, box["xmax"], box["ymax"]]
            assert ours.boxes[i].tolist() == corners
            assert data.classes[ours.labels[i]] == one["name"]
            assert ours.crowd[i] == (one["difficult"] == "1")


def test_without_lists_a_share_is_drawn(tmp_path):
    folder = fill(tmp_path, dict.fromkeys("abcdefghij", ("dog", 0, 1, 1, 9, 9)))
    data = Dataset(path=folder, validation=0.3).load(0)
    assert (len(data.train), len(data.validation)) == (7, 3)
    assert Dataset(path=folder, validation=0.3).load(0).validation.ids == data.validation.ids
    assert not set(data.train.ids) & set(data.validation.ids)


def test_odd_boxes_are_clipped_or_left_out(tmp_path):
    corners = {"a": (30, 1, 60, 9), "b": (9, 9, 8, 9), "c": (1, 1, 9, 9), "d": (50, 50, 60, 60)}
    folder = fill(tmp_path, {name: ("dog", 0, *box) for name, box in corners.items()})
    (folder / "ImageSets" / "Main" / "val.txt").write_text("c\n")
    data = Dataset(path=folder, train="trainval", val="val").load(0)
    assert data.notes == (
        "5 files seen, 4 taken (4 .jpg), left out: 1 of the training images that validate, too "
        "(JPEGImages/c.jpg)",
        "1 of 5 boxes are left out, as they are outside of their image",
        "1 of 5 boxes are left out, as they are without area",
        "1 of 5 boxes reach over their image and are clipped at its border",
        "1 of 5 images are copies of others: none validates what one trains",
    )


def test_a_mistake_in_a_file_names_it(tmp_path):
    folder = fill(tmp_path)
    file = folder / "Annotations" / "2007_000033.xml"
    for text, problem in (
        ("<annotation>", "no element found"),
        ("<html></html>", "it begins with <html>, not with <annotation>"),
        (page("a", ("dog", 0, 1, 1, "right", 9)), "could not convert string to float: 'right'"),
        (page("a", ("dog", 0, 1, 1, "nan", 9)), "<bndbox/xmax> is nan"),
        (page("a", ("dog", 0, 1, "1e999", 5, 9)), "<bndbox/ymin> is 1e999"),
        (page("a", None, ("x", 4)), "could not convert string to float: 'x'"),
        (page("a", None, (30.5, 4)), "<size/height> is 30.5"),
        ('<?xml version="1.0" encoding="klingon"?>' + page("a", None), "unknown encoding"),
        (page("a", ("", 0, 1, 1, 9, 9)).replace("<name></name>", ""), "<name> is missing"),
    ):
        file.write_text(text)
        with pytest.raises(UserError) as raised:
            Dataset(path=folder).load(0)
        start = f"{file}: is not an annotation of Pascal VOC: {problem}"
        assert str(raised.value).startswith(start)


def test_missing_things_are_named(tmp_path):
    with pytest.raises(UserError, match=r"path: there is no \.xml file in .*Annotations"):
        Dataset(path=tmp_path / "nowhere").load(0)
    folder = fill(tmp_path)
    with pytest.raises(UserError, match=r"val: there is no .*Main/test\.txt"):
        Dataset(path=folder, train="train", val="test").load(0)
    (folder / "JPEGImages" / "2007_000027.jpg").unlink()
    with pytest.raises(UserError, match=r"1 of 4 images are missing: .*000027\.jpg"):
        Dataset(path=folder).load(0)
    lists = folder / "ImageSets" / "Main" / "train.txt"
    lists.write_text("2007_000027 1\n2009_1 -1\n\n")  # a list of one class says which have it
    with pytest.raises(UserError, match=r"2009_1\.xml: Annotations: there is no such file"):
        Dataset(path=folder, train="train", val="val").load(0)


def test_classes_are_those_of_the_files_whatever_their_names(tmp_path):
    things = {name: (name * 2, 0, 1, 1, 9, 9) for name in "baü"} | {"c": ("雪豹", 0, 1, 1, 9, 9)}
    folder = fill(tmp_path, things)
    data = Dataset(path=folder, train="train", val="val").load(0)
    assert data.classes == ("aa", "bb", "üü", "雪豹")
    assert data.notes[1:] == ("classes without a box to learn from: üü, 雪豹",)


def test_a_list_in_another_encoding_names_files_that_are_not_there(tmp_path):
    folder = fill(tmp_path)
    (folder / "ImageSets" / "Main" / "val.txt").write_bytes("Größe\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"Gr.+e\.xml: Annotations: there is no such file"):
        Dataset(path=folder, train="train", val="val").load(0)


def test_a_name_that_leads_elsewhere_stays_in_the_folder(tmp_path):
    """Some tools write the path of the machine where boxes were drawn."""
    folder = fill(tmp_path)
    file = folder / "Annotations" / "2007_000027.xml"
    file.write_text(file.read_text().replace("2007_000027.jpg", "/home/me/../2007_000027.jpg"))
    data = Dataset(path=folder, train="train", val="val").load(0)
    assert data.train.images[0].path == str(folder / "JPEGImages" / "2007_000027.jpg")


def test_options_that_contradict_each_other():
    for options, text in (
        (
            {"train": "train"},
            "val: train and val are given together or not at all\n"
            "  or name a list of test images: `test: test`",
        ),
        ({"val": "val"}, "train: train and val are given together or not at all"),
        (
            {"train": "train", "val": "val", "validation": 0.2},
            "validation: train and val are given already\n  leave it out, or leave both lists out",
        ),
        ({"validation": 0}, "validation: 0 cannot be used\n  allowed: between 0 and 1"),
        ({"limit": 0}, "limit: 0 cannot be used\n  allowed: 4 or more, or null"),
    ):
        with pytest.raises(UserError) as raised:
            Dataset(path="voc", **options)
        assert str(raised.value) == text


def test_a_limit_holds_for_each_part(tmp_path):
    folder = fill(tmp_path, dict.fromkeys("abcdefghijklmnopqrst", ("dog", 0, 1, 1, 9, 9)))
    data = Dataset(path=folder, validation=0.5, limit=5).load(3)
    assert (len(data.train), len(data.validation)) == (5, 5)
    assert np.array_equal(data.train.ids, sorted(data.train.ids))


def test_names_with_spaces_stand_in_lists_too(tmp_path):
    corners = {f"im {number}": ("dog", 0, 1, 1, 9, 9) for number in range(4)}
    folder = fill(tmp_path, corners)
    # A list of one class has an answer behind each name: "im 2" is in the image, "im 3" is not.
    (folder / "ImageSets" / "Main" / "val.txt").write_text("im 2  1\nim 3 -1\n")
    (folder / "ImageSets" / "Main" / "train.txt").write_text("im 0  1\nim 1 -1\n")
    data = Dataset(path=folder, train="train", val="val").load(0)
    assert (len(data.train), len(data.validation)) == (2, 2)


SIZE = "<size><width>40</width><height>30</height><depth>3</depth></size>"


def write_size(width, height):
    return f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"


def flat(folder):
    """XML files beside their pictures."""
    for part in ("Annotations", "JPEGImages"):
        for file in (folder / part).iterdir():
            file.rename(folder / file.name)
        (folder / part).rmdir()


def renamed(folder):
    for number, file in enumerate(sorted((folder / "JPEGImages").iterdir())):
        xml = folder / "Annotations" / f"{file.stem}.xml"
        xml.rename(xml.with_stem(f"n{number}"))
        file.rename(file.with_stem(f"n{number}"))


def in_each(change):
    """An edit of the text of every XML file, which may use the name of its picture."""

    def edit(folder):
        for file in (folder / "Annotations").glob("*.xml"):
            file.write_text(change(file.read_text(), f"{file.stem}.jpg"))

    return edit


def sized(size):
    return in_each(lambda text, name: text.replace(SIZE, size))


def png(folder):
    for file in (folder / "JPEGImages").iterdir():
        Image.open(file).save(file.with_suffix(".PNG"))
        file.unlink()


def encoded(name):
    """Every file in an encoding that only Python knows."""

    def edit(folder):
        for file in (folder / "Annotations").glob("*.xml"):
            head = f'<?xml version="1.0" encoding="{name}"?>'
            text = file.read_text().replace("Left", "左")
            file.write_bytes((head + text).encode(name))

    return edit


DIALECTS = {
    "gb2312": encoded("gb2312"),
    "shift_jis": encoded("shift_jis"),
    "no ending": in_each(lambda text, name: text.replace(name, name[:-4])),
    "another ending": png,
    "no file name": in_each(lambda text, name: text.replace(f"<filename>{name}</filename>", "")),
    "one file name for all": in_each(lambda text, name: text.replace(name, "first.jpg")),
    "renamed": renamed,
    "Windows": in_each(lambda text, name: text.replace(name, f"C:\\data\\{name}")),
    "a path": in_each(lambda text, name: text.replace(name, f"../../me/{name}")),
    "no size": in_each(lambda text, name: text.replace(SIZE, "")),
    "a size of 0": in_each(lambda text, name: text.replace(SIZE, write_size(0, 0))),
    "a size with a point": in_each(
        lambda text, name: text.replace(SIZE, write_size("40.0", "30.0"))
    ),
    "a size of -1": in_each(lambda text, name: text.replace(SIZE, write_size(-1, -1))),
    "one size of none": in_each(
        lambda text, name: text.replace(SIZE, "<size><width>40</width></size>")
    ),
    "difficult in words": in_each(
        lambda text, name: text.replace("<difficult>0<", "<difficult>Unspecified<")
    ),
    "numbers with a point": in_each(lambda text, name: text.replace("</xmin>", ".0</xmin>")),
    "corners swapped": in_each(
        lambda text, name: (
            text.replace("xmin", "left").replace("xmax", "xmin").replace("left", "xmax")
        )
    ),
    "flat": flat,
    "other names of folders": lambda folder: (
        (folder / "Annotations").rename(folder / "annotations"),
        (folder / "JPEGImages").rename(folder / "images"),
    ),
}


def distinct(folder):
    for number, file in enumerate(sorted((folder / "JPEGImages").iterdir())):
        noise(number, (30, 40)).save(file)
    return folder


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_mean_the_same(tmp_path, dialect):
    objects = OBJECTS | {"2007_000045": ("dog", 0, 2, 2, 9, 9)}
    (tmp_path / "theirs").mkdir()
    theirs = Dataset(path=distinct(fill(tmp_path / "theirs", objects)), validation=0.4).load(0)
    folder = distinct(fill(tmp_path, objects))
    DIALECTS[dialect](folder)
    ours = Dataset(path=folder, validation=0.4).load(0)
    assert ours.classes == theirs.classes
    for part, expected in ((ours.train, theirs.train), (ours.validation, theirs.validation)):
        assert part.ids == expected.ids
        for index in range(len(expected)):
            mine, wanted = part.targets(index), expected.targets(index)
            assert np.array_equal(mine.boxes, wanted.boxes)
            assert np.array_equal(mine.labels, wanted.labels)
            assert np.array_equal(mine.crowd, wanted.crowd)
            assert part.size(index) == expected.size(index)


def test_shares_of_the_image_are_refused(tmp_path):
    things = dict.fromkeys("abcd", ("dog", 0, 0.1, 0.2, 0.6, 0.7))
    with pytest.raises(UserError, match="all 4 boxes lie within 0 to 1: are they shares"):
        Dataset(path=fill(tmp_path, things)).load(0)


def test_folders_of_train_and_valid_are_the_split(tmp_path):
    for number, part in enumerate(("train", "valid")):
        folder = fill(tmp_path / part)
        for file in (folder / "JPEGImages").iterdir():
            noise(100 * number + len(file.name) + int(file.stem[-2:]), (30, 40)).save(file)
        flat(folder)
        for file in folder.iterdir():
            if file.is_file():
                file.rename(tmp_path / part / file.name)
    data = Dataset(path=tmp_path).load(0)
    assert (len(data.train), len(data.validation)) == (4, 4)
    assert all("/valid/" in path for path in data.validation.paths)
    with pytest.raises(UserError, match="holds its own split, train and valid"):
        Dataset(path=tmp_path, validation=0.5).load(0)


def test_a_list_of_test_images_is_kept_for_the_end(tmp_path):
    folder = distinct(fill(tmp_path, dict.fromkeys("abcdefgh", ("dog", 0, 1, 1, 9, 9))))
    for name, members in {"trainval": "abcde", "train": "abc", "val": "de", "test": "fgh"}.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(members) + "\n")

    def names(part):
        return "".join(sorted(path[-5] for path in part.paths))

    data = Dataset(path=folder, train="train", val="val", test="test").load(0)
    assert [names(part) for part in (data.train, data.validation, data.test)] == [
        "abc",
        "de",
        "fgh",
    ]
    data = Dataset(path=folder, train="trainval", test="test", validation=0.4).load(0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [3, 2, 3]
    assert names(data.test) == "fgh"
    assert "3 images are kept for a test" in data.notes[1]
    data = Dataset(path=folder, test=0.25, validation=0.25).load(0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [4, 2, 2]
    with pytest.raises(UserError, match="has no part 'test'") as caught:
        Dataset(path=folder, test="test").load(0)
    assert caught.value.key == "test"


def test_a_folder_of_test_images_is_kept_for_the_end(tmp_path):
    for number, part in enumerate(("train", "valid", "test")):
        for one in "abcd":
            (tmp_path / part).mkdir(exist_ok=True)
            noise(10 * number + ord(one), (30, 40)).save(tmp_path / part / f"{one}.jpg")
            (tmp_path / part / f"{one}.xml").write_text(page(one, ("dog", 0, 1, 1, 9, 9)))
    data = Dataset(path=tmp_path).load(0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [4, 4, 4]
    assert all("/test/" in path for path in data.test.paths)
    data = Dataset(path=tmp_path, test="valid", validation=0.25).load(0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [3, 1, 4]
    assert all("/valid/" in path for path in data.test.paths)
    assert "8 in folders beside the split" in data.notes[0]  # pictures and pages
    for file in (tmp_path / "test").glob("*.xml"):
        file.unlink()
    data = Dataset(path=tmp_path).load(0)
    assert data.test is None
    assert all("/valid/" in path for path in data.validation.paths)


def test_names_of_classes_that_look_alike_are_one(tmp_path):
    names = ["caf\u00e9", "cafe\u0301", "caf\u00e9", "caf\u00e9\u00a0"]
    things = {str(n): (name, 0, 1, 1, 9, 9) for n, name in enumerate(names)}
    data = Dataset(path=fill(tmp_path, things)).load(0)
    assert data.classes == ("caf\u00e9",)
    assert any("look alike are one class" in n and "U+0301" in n for n in data.notes)


def test_a_name_that_stands_twice_in_a_list_is_read_once(tmp_path):
    folder = fill(tmp_path)
    (folder / "ImageSets" / "Main" / "train.txt").write_text("2007_000027\n" * 3 + "2007_000032\n")
    data = Dataset(path=folder, train="train", val="val").load(0)
    assert (len(data.train), len(data.validation)) == (2, 2)


def test_entities_do_not_grow(tmp_path):
    """A billion laughs is a mistake, not an hour."""
    folder = fill(tmp_path)
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    head = f'<!DOCTYPE a [<!ENTITY l0 "lol">{entities}]>'
    text = f"{head}<annotation><filename>&l11;</filename></annotation>"
    (folder / "Annotations" / "2007_000033.xml").write_text(text)
    with pytest.raises(UserError, match="is not an annotation of Pascal VOC"):
        Dataset(path=folder).load(0)


def test_a_picture_of_its_own_name_is_taken_before_the_one_inside(tmp_path):
    """Pairs were renumbered, and what the pages say inside was not."""
    folder = distinct(fill(tmp_path, dict.fromkeys("1356", ("dog", 0, 1, 1, 9, 9))))
    for new, old in enumerate("1356", start=1):
        for part, ending in (("Annotations", "xml"), ("JPEGImages", "jpg")):
            (folder / part / f"{old}.{ending}").rename(folder / part / f"{new}.{ending}")
    data = Dataset(path=folder, validation=0.5).load(0)
    for part in (data.train, data.validation):
        for index, number in enumerate(part.ids):
            assert part.paths[index] == str(folder / "JPEGImages" / f"{number}.jpg")
    note = next(note for note in data.notes if "own names" in note)
    assert note.startswith("3 annotations name another picture than their own names")
    assert "2.xml names 3.jpg" in note


def test_corners_counted_from_0_are_taken_as_they_are(tmp_path):
    corners = {"a": (0, 4.5, 20, 20), "b": (3, 5.5, 9, 9), "c": (2, 0, 40, 30)}
    folder = distinct(fill(tmp_path, {name: ("dog", 0, *box) for name, box in corners.items()}))
    data = Dataset(path=folder, validation=0.4).load(0)
    boxes = {
        "abc"[number - 1]: tuple(part.targets(index).boxes[0].tolist())
        for part in (data.train, data.validation)
        for index, number in enumerate(part.ids)
    }
    assert boxes == corners
    assert "corners are counted from 0, not from 1: some lie below 1" in data.notes


def test_a_width_and_a_height_for_the_second_corner_are_refused(tmp_path):
    sides = {str(n): ("dog", 0, 21 + n, 16 + n, 9, 8) for n in range(8)}
    with pytest.raises(UserError, match=r"8 of 8 boxes have xmax below xmin.*widths and heights"):
        Dataset(path=distinct(fill(tmp_path, sides))).load(0)


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "{}.jpg",
        "{}.xml",
        "JPEGImages/{}.jpg",
        "./Annotations/{}.xml",
        "JPEGImages/{}.jpg Annotations/{}.xml",
        "C:\\VOC\\JPEGImages\\{}.JPG",
        "\ufeff{}",
        "{}  1",
    ],
)
def test_lines_of_lists_as_programs_write_them(tmp_path, line):
    folder = distinct(fill(tmp_path))
    names = list(OBJECTS)
    for name, members in (("train", names[:2]), ("val", names[2:])):
        text = "\n".join(line.format(member, member) for member in members)
        text = text[:1] + text[1:].replace("\ufeff", "")  # a mark of the order of bytes is first
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text(text, encoding="utf-8")
    data = Dataset(path=folder, train="train.txt", val="val").load(0)
    assert (len(data.train), len(data.validation)) == (2, 2)


def test_parts_inside_of_both_folders_are_the_split_and_the_rest_is_counted(tmp_path):
    folder = distinct(fill(tmp_path, dict.fromkeys("abcdef", ("dog", 0, 1, 1, 9, 9))))
    for part, name, ending in (
        ("Annotations", "annotations", "xml"),
        ("JPEGImages", "images", "jpg"),
    ):
        (folder / part).rename(folder / name)
        for one, place in zip("abcdef", ("train", "val", "test") * 2, strict=True):
            (folder / name / place).mkdir(exist_ok=True)
            (folder / name / f"{one}.{ending}").rename(folder / name / place / f"{one}.{ending}")
    data = Dataset(path=folder).load(0)
    assert [len(data.train), len(data.validation)] == [2, 2]
    assert all("/images/val/" in path for path in data.validation.paths)
    assert all("/images/test/" in path for path in data.test.paths)
    data = Dataset(path=folder, test="val", validation=0.5).load(0)
    assert all("/images/val/" in path for path in data.test.paths)
    assert "4 in folders beside the split" in data.notes[0]
