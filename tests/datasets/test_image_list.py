import json

import numpy as np
import pandas as pd
import pytest

from scalesearch.datasets.image_list import Columns, Dataset
from scalesearch.errors import UserError
from scalesearch.study.load import load_study
from scalesearch.view import View
from tests.pictures import noise, read_square, save


@pytest.fixture
def images(tmp_path):
    """Twelve pictures, a list of them to write, and how."""
    for seed in range(12):
        save(tmp_path / "im" / f"{seed}.png", seed)
    return tmp_path


ROWS = [(f"im/{seed}.png", ["cat", "dog"][seed % 2]) for seed in range(12)]


def listed(folder, rows=ROWS, names=("path", "label"), file="list.csv"):
    """A list with these columns, as text."""
    mark = "\t" if file.endswith(".tsv") else ","
    lines = [mark.join(map(str, row)) for row in (names, *rows)]
    (folder / file).write_text("\n".join(lines) + "\n")
    return folder / file


def test_pixels_are_those_of_the_files(images):
    data = Dataset(path=listed(images), validation=0.34).load(0)
    assert (data.classes, len(data.train), len(data.validation)) == (("cat", "dog"), 8, 4)
    for part in (data.train, data.validation):
        batch = part.batch(np.arange(len(part)), View(12)).permute(0, 2, 3, 1).numpy()
        for path, label, got in zip(part.paths, part.labels, batch, strict=True):
            seed = int(path.rpartition("/")[2].removesuffix(".png"))
            assert label == seed % 2
            assert (got == read_square(path, 12, part.reading)).all()
    assert data.notes[0] == "12 files seen, 12 taken (12 .png)"


FORMS = ["list.csv", "list.tsv", "list.jsonl", "list.json", "list.parquet", "list.csv.gz"]


@pytest.mark.parametrize("file", FORMS)
def test_every_form_of_a_table_and_usual_names(images, file):
    frame = pd.DataFrame(ROWS, columns=["FileName", "Class"])
    path = images / file
    if ".csv" in file or ".tsv" in file:
        frame.to_csv(path, index=False, sep="\t" if "tsv" in file else ",")
    elif ".json" in file:
        frame.to_json(path, orient="records", lines=file.endswith("l"))
    else:
        frame.to_parquet(path)
    assert Dataset(path=path).load(0).classes == ("cat", "dog")


def test_other_names_another_folder_and_numbers(images):
    (images / "lists").mkdir()
    rows = [(f"{seed}.png", f"C:\\x\\{seed}.png", 3 + seed % 2) for seed in range(12)]
    path = listed(images, rows, ("name", "file", "kind"), "lists/all.csv")
    columns = Columns(path="name", label="kind")
    data = Dataset(path=path, folder=images / "im", columns=columns).load(0)
    assert data.classes == ("3", "4")
    assert any("labels are numbers from 3 to 4" in note for note in data.notes)
    named = Dataset(
        path=listed(images, [(f"..\\im\\{n}.png", n % 2) for n in range(12)], file="lists/b.csv"),
        classes=("cat", "dog"),
    ).load(0)
    assert named.classes == ("cat", "dog")


def test_a_column_or_a_second_list_is_the_split(images):
    words = ["train"] * 6 + ["Valid"] * 4 + ["test"] * 2
    rows = [(*row, word) for row, word in zip(ROWS, words, strict=True)]
    path = listed(images, rows, ("path", "label", "split"))
    data = Dataset(path=path).load(0)
    assert (len(data.train), len(data.validation), len(data.test)) == (6, 4, 2)
    assert any("2 images are kept for a test" in note for note in data.notes)
    own = r"list\.csv holds its own split, train, validation and test"
    with pytest.raises(UserError, match=own) as caught:
        Dataset(path=path, validation=0.2).load(0)
    assert caught.value.key == "validation"
    others = listed(images, ROWS[6:], file="val.csv")
    first = listed(images, ROWS[:8], file="train.csv")
    data = Dataset(path=first, validation_list=others).load(0)
    assert (len(data.train), len(data.validation)) == (6, 6)
    assert "2 of the training images that validate, too" in data.notes[0]
    data = Dataset(path=first, test_list=others, validation=0.34).load(0)
    assert (len(data.train), len(data.validation), len(data.test)) == (4, 2, 6)
    assert "2 of the training images that test, too" in data.notes[0]
    only = listed(images, [(*row, "train") for row in ROWS], ("path", "label", "split"))
    assert len(Dataset(path=only, validation=0.34).load(0).validation) == 4


def mistake(path, **options):
    with pytest.raises(UserError) as caught:
        Dataset(path=path, **options).load(0)
    return str(caught.value)


def test_files_that_are_missing(images):
    rows = [*ROWS, ("im/12.png", "cat"), ("im/13.png", "dog")]
    text = mistake(listed(images, rows))
    assert f"2 of 14 files are missing in {images}: im/12.png, im/13.png" in text
    text = mistake(listed(images, [(f"/data/ann/{name}", label) for name, label in ROWS]))
    assert "12 of 12 files are missing" in text
    assert "im/0.png is there: remove '/data/ann/' from the paths" in text
    text = mistake(listed(images, [(f"/data/{n}.png", "cat") for n in range(3)]))
    assert "absolute paths, perhaps of another machine" in text
    text = mistake(listed(images, [(name[:-4], label) for name, label in ROWS]))
    assert "im/0.png is there: add '.png' to the paths" in text
    assert "there is no folder" in mistake(listed(images), folder=images / "nowhere")


def test_cells_that_are_empty_and_labels_that_contradict(images):
    assert "1 of 12 images have no label: row 1 of list.csv" in mistake(
        listed(images, [("im/0.png", ""), *ROWS[1:]])
    )
    assert "2 of 12 rows have no path: 2, 3" in mistake(
        listed(images, [ROWS[0], ("", "cat"), (" ", "dog"), *ROWS[3:]])
    )
    data = Dataset(path=listed(images, [*ROWS, ROWS[3]])).load(0)
    assert "1 listed again" in data.notes[0]
    text = mistake(listed(images, [*ROWS, ("im/../im/3.png", "cat")]))
    assert "1 files are listed with several labels" in text
    assert "'dog' in row 4 of list.csv, 'cat' in row 13 of list.csv" in text
    rows = [(*row, "train") for row in ROWS]
    text = mistake(listed(images, [*rows, (*ROWS[0], "val")], ("path", "label", "split")))
    assert "1 files are listed in several parts" in text
    assert "all 12 images are of the class 'cat'" in mistake(
        listed(images, [(name, "cat") for name, _ in ROWS])
    )


def test_columns_and_words_that_are_not_there(images):
    text = mistake(listed(images, names=("picture", "label")))
    assert "columns.path: the table list.csv has no column of the usual names: path, file" in text
    assert "columns: {path: NAME}" in text
    text = mistake(listed(images), columns=Columns(label="lable"))
    assert "has no column 'lable'" in text
    assert "did you mean 'label'" in text
    rows = [(*row, "fold1") for row in ROWS]
    text = mistake(listed(images, rows, ("path", "label", "split")))
    assert "'fold1' is no part of a split (row 1, 12 in all)" in text
    rows = [(name, [1, 2]) for name, _ in ROWS]
    (images / "a.jsonl").write_text(
        "\n".join(json.dumps({"path": name, "label": label}) for name, label in rows)
    )
    assert "the column 'label' holds" in mistake(images / "a.jsonl")


def test_files_that_are_no_images_and_pictures_in_two_classes(images):
    (images / "im" / "5.png").write_bytes(b"no image")
    assert "1 of 12 files cannot be read as images" in mistake(listed(images))
    noise(4).save(images / "im" / "5.png")
    notes = Dataset(path=listed(images)).load(0).notes
    assert any("pictures in several classes" in note for note in notes)


def test_so_many_unreadable_files_are_left_out(images):
    for seed in (2, 5):
        (images / "im" / f"{seed}.png").write_bytes(b"no image")
    rows = [(*row, "val" if n < 4 else "train") for n, row in enumerate(ROWS)]
    path = listed(images, rows, ("path", "label", "split"))
    data = Dataset(path=path, skip_unreadable=2).load(0)
    for part, seeds in ((data.train, [4, 6, 7, 8, 9, 10, 11]), (data.validation, [0, 1, 3])):
        assert [path.rpartition("/")[2] for path in part.paths] == [f"{n}.png" for n in seeds]
        assert part.labels.tolist() == [seed % 2 for seed in seeds]
    assert any(note.startswith("2 unreadable files are left out: ") for note in data.notes)
    (left,) = data.files.left_out
    assert (left.reason, left.names) == ("unreadable", ("im/5.png", "im/2.png"))
    said = mistake(path, skip_unreadable=1)
    assert "2 of 12 files cannot be read as images" in said
    assert "allowed: 1 of them, by `skip_unreadable`" in said
    (images / "im" / "0.png").write_bytes(b"no image")
    assert "no validation image of cat can be read" in mistake(path, skip_unreadable=3)
    assert "skip_unreadable: -1 cannot be used" in mistake(path, skip_unreadable=-1)


def test_an_unknown_name_of_a_column_is_not_passed_over(tmp_path):
    study = "name: s\ndataset: {name: image_list, path: a.csv, columns: {lable: kind}}\n"
    (tmp_path / "study.yaml").write_text(study + "baseline: efficientnet_b0\ngrid: {step: 0.2}\n")
    with pytest.raises(UserError, match=r"dataset\.columns\.lable: unknown key") as caught:
        load_study(tmp_path / "study.yaml")
    assert "did you mean 'label'" in str(caught.value)
