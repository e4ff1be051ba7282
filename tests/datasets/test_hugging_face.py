"""Folders as `datasets` 5 writes them (`save_to_disk`, `to_parquet`), made here with pyarrow."""

import io
import json
import os
import pickle
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from scalesearch.datasets import _arrow_images
from scalesearch.datasets.hugging_face import Dataset
from scalesearch.errors import UserError
from scalesearch.view import View
from tests.pictures import noise

FEATURES = {
    "image": {"_type": "Image"},
    "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encoded(seed, form="PNG"):
    file = io.BytesIO()
    noise(seed).save(file, form)
    return file.getvalue()


def table(seeds, features=None, labels=None):
    """Pictures of noise and their classes, with the features of `datasets` in the metadata."""
    images = [{"bytes": encoded(seed), "path": None} for seed in seeds]
    labels = [seed % 2 for seed in seeds] if labels is None else labels
    noted = {"info": {"features": FEATURES if features is None else features}}
    schema = pa.schema(
        [("image", IMAGE), ("label", pa.array(labels).type)],
        metadata={"huggingface": json.dumps(noted)},
    )
    return pa.table({"image": pa.array(images, IMAGE), "label": labels}, schema=schema)


def stream(path, content, batch=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, content.schema) as writer:
        writer.write_table(content, max_chunksize=batch)
    return path


def saved(folder, tables):
    """What `Dataset.save_to_disk` writes, a file for each table."""
    names = [f"data-{n:05d}-of-{len(tables):05d}.arrow" for n in range(len(tables))]
    for name, content in zip(names, tables, strict=True):
        stream(folder / name, content)
    state = {"_data_files": [{"filename": name} for name in names], "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return folder


def saved_dict(folder, **splits):
    for name, content in splits.items():
        saved(folder / name, [content])
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return folder


def check(data):
    """Pixels and labels are those of the rows."""
    wanted = {noise(seed).tobytes(): seed for seed in range(30)}
    for part in filter(None, (data.train, data.validation, data.test)):
        batch = part.batch(np.arange(len(part)), View(20)).permute(0, 2, 3, 1).numpy()
        for index, got in enumerate(batch):
            image = Image.open(io.BytesIO(part.store.read(index)))
            seed = wanted[image.tobytes()]
            assert data.classes[part.labels[index]] == ["cat", "dog"][seed % 2]
            assert (got == np.asarray(image.crop((2, 0, 22, 20)))).all()


def test_a_saved_data_set_of_several_files_and_batches(tmp_path):
    folder = saved(tmp_path / "one", [table(range(7)), table(range(7, 12))])
    data = Dataset(path=folder, validation=0.34).load(0)
    assert (data.classes, len(data.train), len(data.validation)) == (("cat", "dog"), 8, 4)
    check(data)
    assert data.files.taken == {".png": 12}
    assert data.train.store.name(0) == "data-00000-of-00002.arrow, row 1"
    copy = pickle.loads(pickle.dumps(data.train))
    assert len(pickle.dumps(data.train)) < 1500  # no image travels
    assert (copy.batch(np.array([3]), View(9)) == data.train.batch(np.array([3]), View(9))).all()


def test_splits_of_a_saved_dictionary(tmp_path):
    folder = saved_dict(
        tmp_path / "d",
        train=table(range(8)),
        validation=table(range(10, 14)),
        test=table(range(20, 24)),
        extra=table(range(24, 26)),
    )
    data = Dataset(path=folder).load(0)
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 4, 4)
    check(data)
    assert "1 in splits of other names" in data.notes[0]
    assert len(Dataset(path=folder / "train", validation=0.26).load(0).validation) == 2
    other = saved_dict(tmp_path / "o", fit=table(range(8)), check=table(range(8, 12)))
    with pytest.raises(UserError, match=r"no split of .* is named train: fit, check"):
        Dataset(path=other).load(0)


@pytest.mark.parametrize("compression", ["snappy", "none"])
def test_parquet_is_unpacked_once(tmp_path, compression):
    data_folder = tmp_path / "p" / "data"
    data_folder.mkdir(parents=True)
    for name, seeds in (("train", range(8)), ("validation", range(10, 14)), ("test", [20, 21])):
        path = data_folder / f"{name}-00000-of-00001.parquet"
        pq.write_table(table(seeds), path, row_group_size=3, compression=compression)
    cache = tmp_path / "cache"
    data = Dataset(path=tmp_path / "p", unpacked=cache).load(0)
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 4, 2)
    check(data)
    files = {file: file.stat().st_mtime_ns for file in cache.glob("*.arrow")}
    assert len(files) == 3
    assert any(f"unpacked: {cache}" in note for note in data.notes)
    Dataset(path=tmp_path / "p", unpacked=cache).load(0)
    assert {file: file.stat().st_mtime_ns for file in cache.glob("*.arrow")} == files
    assert {file.suffix for file in cache.iterdir()} == {".arrow", ".lock"}
    # A changed file is unpacked anew.
    pq.write_table(table(range(14, 22)), data_folder / "train-00000-of-00001.parquet")
    check(Dataset(path=tmp_path / "p", unpacked=cache).load(0))
    one = Dataset(path=data_folder / "train-*.parquet", unpacked=cache, validation=0.26).load(0)
    assert (len(one.train), len(one.validation)) == (6, 2)


def test_a_damaged_stream_is_unpacked_again(tmp_path):
    pq.write_table(table(range(8)), tmp_path / "x.parquet")
    wanted = Dataset(path=tmp_path / "x.parquet", unpacked=tmp_path / "cache", validation=0.26)
    wanted.load(0)
    (unpacked,) = (tmp_path / "cache").glob("*.arrow")
    os.truncate(unpacked, unpacked.stat().st_size - 300)
    check(wanted.load(0))
    assert unpacked.stat().st_size > 8 * 1200


def test_of_several_that_unpack_a_file_one_writes(tmp_path, monkeypatch):
    path = tmp_path / "x.parquet"
    pq.write_table(table(range(8)), path)
    columns, written = _arrow_images.find_columns(path, None, None), []
    iterate = pq.ParquetFile.iter_batches

    def counted(self, **options):
        written.append(threading.get_ident())
        return iterate(self, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    monkeypatch.setattr(os, "getpid", lambda: 7)  # as in two containers
    with ThreadPoolExecutor(4) as pool:
        streams = [
            pool.submit(_arrow_images.unpack, path, columns, tmp_path / "cache") for _ in range(4)
        ]
    assert len({one.result() for one in streams}) == 1
    assert len(written) == 1


def test_without_room_nothing_is_unpacked(tmp_path, monkeypatch):
    # Eight pictures of 1.5 kB need more than 9 kB.
    pq.write_table(table(range(8)), tmp_path / "x.parquet")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 9000))
    with pytest.raises(UserError, match=r"cannot unpack .*x.parquet into .*KiB are needed") as got:
        Dataset(path=tmp_path / "x.parquet", unpacked=tmp_path / "cache").load(0)
    assert got.value.key == "unpacked"
    assert [*(tmp_path / "cache").glob("*.arrow")] == []


def test_so_many_unreadable_images_are_left_out(tmp_path):
    content = table(range(8)).to_pydict()
    content["image"][3]["bytes"] = b"text"
    path = stream(tmp_path / "x.arrow", pa.table(content, table([0]).schema))
    data = Dataset(path=path, validation=0.26, skip_unreadable=1).load(0)
    assert len(data.train) + len(data.validation) == 7
    check(data)
    assert "1 unreadable files are left out: x.arrow, row 4 (not an image)" in data.notes


def test_a_replaced_file_is_read_anew(tmp_path):
    path = stream(tmp_path / "x.arrow", table(range(8)))
    Dataset(path=path, validation=0.26).load(0).train.batch(np.array([0]), View(20))
    stream(tmp_path / "y.arrow", table(range(10, 22))).replace(path)
    data = Dataset(path=path, validation=0.26).load(0)
    assert len(data.train) + len(data.validation) == 12
    check(data)


def test_columns_by_type_and_name_where_no_features_are_noted(tmp_path):
    plain = pa.table(
        {
            "picture": pa.array([encoded(seed) for seed in range(8)], pa.binary()),
            "category": ["cat", "dog"] * 4,
        }
    )
    path = stream(tmp_path / "a" / "x.arrow", plain)
    data = Dataset(path=path.parent, validation=0.26).load(0)
    assert data.classes == ("cat", "dog")
    check(data)
    named = pa.table({"a": plain["picture"], "b": plain["picture"], "kind": plain["category"]})
    path = stream(tmp_path / "b" / "x.arrow", named)
    with pytest.raises(
        UserError, match=r"is the image\? it has several columns .*: a, b"
    ) as caught:
        Dataset(path=path).load(0)
    assert caught.value.key == "image"
    with pytest.raises(UserError, match=r"is the label\? it has none"):
        Dataset(path=path, image="b").load(0)
    data = Dataset(path=path, image="b", label="kind", classes=("dog", "cat")).load(0)
    assert data.classes == ("dog", "cat")


def test_two_columns_of_classes(tmp_path):
    fine = {"_type": "ClassLabel", "names": ["1", "2", "3"]}
    both = table(range(8), {**FEATURES, "fine": fine}).append_column("fine", [[1, 2] * 4])
    path = stream(tmp_path / "x.arrow", both)
    with pytest.raises(UserError, match=r"which column of .* is the label"):
        Dataset(path=path).load(0)
    # Numbers are positions in the names, which may be numbers themselves.
    data = Dataset(path=path, label="fine").load(0)
    assert data.classes == ("2", "3")
    assert "1 classes have no image and are left out: 1" in data.notes


def named(*names):
    return {**FEATURES, "label": {"names": names, "_type": "ClassLabel"}}


def parts(tmp_path, validation):
    for name, content in (("train", table(range(8))), ("validation", validation)):
        pq.write_table(content, tmp_path / f"{name}-0.parquet")
    return Dataset(path=tmp_path, unpacked=tmp_path / "cache")


def test_parts_whose_classes_are_numbered_otherwise(tmp_path):
    # Seed 11 is a dog, which has the number 0 there.
    other = table(range(10, 14), named("dog", "cat"), [1, 0, 1, 0])
    data = parts(tmp_path, other).load(0)
    assert data.classes == ("cat", "dog")
    assert data.validation.labels.tolist() == [0, 1, 0, 1]
    check(data)
    unlabelled = table(range(10, 14), named("dog", "cat"), [1, 0, 1, -1])
    with pytest.raises(UserError, match=r"1 of 12 images have no label, or one like -1"):
        parts(tmp_path, unlabelled).load(0)


def test_parts_that_do_not_go_together(tmp_path):
    def error(validation, **options):
        with pytest.raises(UserError) as caught:
            replace(parts(tmp_path, validation), **options).load(0)
        return str(caught.value)

    words = table(range(4), labels=["cat", "dog"] * 2)
    assert re.search(r"labels are words in .*validation-0.* and numbers in .*train-0", error(words))
    text = error(table(range(4), named("cat", "dog", "owl")))
    assert re.search(r"validation-0.parquet have other names than .*: owl in one of them", text)
    assert "have other names than" in error(table(range(4), {}))
    other = table(range(4)).rename_columns(["picture", "label"])
    text = error(other)
    assert re.search(r"image is the column 'image' in .*train-0.* and 'picture' in .*val", text)
    assert "has no column 'image'" in error(other, image="image")


MISTAKES = {
    "torn": "cannot be read as an Arrow stream",
    "offsets": "cannot be read as an Arrow stream: .*[Oo]ffset",
    "closed early": "it breaks off before its end",
    "unlabelled": "8 of 8 images have no label, or one like -1 that is none of the 2 classes",
    "paths": "2 of 2 images are not in .*, at most their paths",
    "elsewhere": "names '../../x.arrow', which is no file in it",
    "gone": "1 of 1 files are missing",
    "state": "state.json: path: cannot be read",
    "list": "an image has one class",
    "no image": "1 of 8 files cannot be read as images: x.arrow, row 1 \\(not an image\\)",
    "parquet": "x.parquet cannot be read as Parquet",
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes(tmp_path, kind):
    path = tmp_path / "x.arrow"
    content = stream(tmp_path / "y" / "x.arrow", table(range(8))).read_bytes()
    if kind in ("torn", "closed early"):
        path.write_bytes(content[: len(content) // 2 if kind == "torn" else -8])
    elif kind == "offsets":
        # An image that would lie far behind the end of the file.
        starts = np.cumsum([0, *(len(encoded(seed)) for seed in range(3))]).astype("<i4")
        damaged = starts + np.array([0, 0, 2_000_000_000, 2_000_000_000], "<i4")
        path.write_bytes(content.replace(starts.tobytes(), damaged.tobytes()))
    elif kind == "unlabelled":
        stream(path, table(range(8), labels=[-1] * 8))
    elif kind == "paths":
        images = pa.array([{"bytes": None, "path": f"/{n}.png"} for n in range(2)], IMAGE)
        stream(path, pa.table({"image": images, "label": [0, 1]}))
    elif kind in ("elsewhere", "gone", "state"):
        path = saved(tmp_path / "s", [table(range(2))])
        name = {"elsewhere": "../../x.arrow", "gone": "data-1.arrow"}.get(kind)
        state = {"_data_files": [{"filename": name}]} if name else []
        (path / "state.json").write_text(json.dumps(state))
    elif kind == "list":
        stream(path, table(range(2), labels=[[0], [1]]))
    elif kind == "no image":
        images = [b"text", *map(encoded, range(7))]
        stream(path, pa.table({"image": pa.array(images, pa.binary()), "label": [0, 1] * 4}))
    else:
        path = tmp_path / "x.parquet"
        path.write_bytes(b"PAR1" + content[:100])
    with pytest.raises(UserError, match=MISTAKES[kind]):
        Dataset(path=path, unpacked=tmp_path / "cache").load(0)
