import gzip
import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from scalesearch.datasets import _tar_index
from scalesearch.datasets.webdataset import Dataset
from scalesearch.errors import TrialError, UserError
from scalesearch.view import RandomCrop, View
from tests.pictures import noise


def encoded(seed, form="PNG"):
    file = io.BytesIO()
    noise(seed).save(file, form)
    return file.getvalue()


def write(path, members):
    """A shard with these members, name to content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def shard(path, seeds, classes=2, form="PNG"):
    """A picture of noise and its class for each seed."""
    members = []
    for seed in seeds:
        members.append((f"{seed:04d}.{form.lower()}", encoded(seed, form)))
        members.append((f"{seed:04d}.cls", str(seed % classes).encode()))
    return write(path, members)


@pytest.fixture
def shards(tmp_path):
    for number in range(3):
        shard(tmp_path / f"a-{number:03d}.tar", range(4 * number, 4 * number + 4))
    return tmp_path


def pixels(images):
    size = np.arange(len(images))
    return images.batch(size, View(20)).numpy()


def test_pixels_and_labels_are_those_of_the_samples(shards):
    data = Dataset(path=shards / "a-{000..002}.tar", validation=0.34, fit="stretch").load(0)
    assert (data.classes, len(data.train), len(data.validation)) == (("0", "1"), 8, 4)
    names = [data.train.store.name(n) for n in range(len(data.train))]
    for part in (data.train, data.validation):
        for index, got in enumerate(part.batch(np.arange(len(part)), View(20))):
            seed = int(part.store.name(index).split("/")[1].split(".")[0])
            wanted = np.asarray(noise(seed).resize((20, 20), Image.Resampling.BILINEAR))
            assert np.abs(got.permute(1, 2, 0).numpy().astype(int) - wanted).max() <= 1
            assert part.labels[index] == seed % 2
    assert names[0] == "a-000.tar/0000.png"
    assert data.files.taken == {".png": 12}
    assert data.notes[0] == "12 files seen, 12 taken (12 .png)"


def test_a_view_depends_on_index_and_seed_alone_in_every_process(shards):
    images = Dataset(path=shards).load(0).train
    view = View(16, RandomCrop(), seed=5)
    copy = pickle.loads(pickle.dumps(images))
    one = images.batch(np.array([6, 1]), view)
    two = copy.batch(np.array([1, 6]), view)
    assert (one[0] == two[1]).all()
    assert (one[1] == two[0]).all()


def test_so_many_unreadable_images_are_left_out(tmp_path):
    for part, seeds in (("train", range(8)), ("val", range(10, 14))):
        members = []
        for seed in seeds:
            content = b"<html>" if seed in (2, 11) else encoded(seed)
            members += [(f"{seed:04d}.png", content), (f"{seed:04d}.cls", str(seed % 2).encode())]
        write(tmp_path / f"{part}-0.tar", members)
    data = Dataset(path=tmp_path, skip_unreadable=2).load(0)
    for images, seeds in ((data.train, [0, 1, 3, 4, 5, 6, 7]), (data.validation, [10, 12, 13])):
        names = [images.store.name(n).split("/")[1] for n in range(len(images))]
        assert names == [f"{seed:04d}.png" for seed in seeds]
        assert images.labels.tolist() == [seed % 2 for seed in seeds]
    assert any("2 unreadable files are left out: train-0.tar/0002.png" in n for n in data.notes)
    assert "2 unreadable" in data.notes[0]
    assert (data.files.seen, data.files.taken) == (12, {".png": 10})
    with pytest.raises(UserError, match=r"2 of 12 files .*(\n.*)*1 of them, by `skip_unreadable`"):
        Dataset(path=tmp_path, skip_unreadable=1).load(0)


def test_a_replaced_shard_is_read_anew(shards):
    path = shards / "a-000.tar"
    old = Dataset(path=path, validation=0.5).load(0).train
    before = pixels(old)
    other = shard(shards / "other.tar", range(20, 28))
    other.replace(path)
    data = Dataset(path=path).load(0)
    assert len(data.train) + len(data.validation) == 8
    seeds = [int(data.train.store.name(n).split("/")[1][:4]) for n in range(len(data.train))]
    assert min(seeds) >= 20
    assert (pixels(old) == before).all()  # of the file that is open still
    elsewhere = pickle.loads(pickle.dumps(old))
    _tar_index.archive.cache_clear()  # as in another process, which opens what lies there now
    with pytest.raises(TrialError, match=r"a-000.tar was changed since its headers were read"):
        elsewhere.batch(np.arange(2), View(20))


def test_an_index_is_small(tmp_path):
    images = Dataset(path=shard(tmp_path / "a.tar", range(400))).load(0).train
    assert len(pickle.dumps(images)) < 60 * len(images)  # bytes


def test_shards_named_as_parts_are_the_split_and_a_second_pattern_is(tmp_path):
    shard(tmp_path / "im-train-0.tar", range(6))
    shard(tmp_path / "im-val-0.tar", range(10, 14))
    shard(tmp_path / "im-test-0.tar", range(20, 24))
    data = Dataset(path=tmp_path).load(0)
    assert (len(data.train), len(data.validation), len(data.test)) == (6, 4, 4)
    assert "4 images are kept for a test" in data.notes[1]
    assert data.notes[2] == "the parts train, validation and test are the split"
    kept = Dataset(path=tmp_path, test="val").load(0)
    assert (len(kept.train), len(kept.validation), len(kept.test)) == (4, 2, 4)
    assert "1 shards of another part" in kept.notes[0]
    drawn = Dataset(path=tmp_path / "im-train-0.tar", test_path=tmp_path / "im-test-0.tar").load(0)
    assert (len(drawn.train), len(drawn.test)) == (4, 4)
    given = Dataset(
        path=tmp_path / "im-train-*.tar", validation_path=tmp_path / "im-{test,val}-0.tar"
    ).load(0)
    assert (len(given.train), len(given.validation)) == (6, 8)
    limited = Dataset(path=tmp_path, limit=8).load(0)
    assert len(limited.train) + len(limited.validation) + len(limited.test) == 8
    with pytest.raises(UserError, match="holds its own split"):
        Dataset(path=tmp_path, validation=0.1).load(0)
    with pytest.raises(UserError, match="1 shards would be in two parts"):
        Dataset(path=tmp_path / "im-val-0.tar", validation_path=tmp_path / "im-*-0.tar").load(0)


def test_copies_stay_on_one_side(tmp_path):
    shard(tmp_path / "train-0.tar", range(8))
    shard(tmp_path / "val-0.tar", [0, 1, 12, 13])
    data = Dataset(path=tmp_path).load(0)
    assert (len(data.train), len(data.validation)) == (6, 4)
    assert "2 of the training images that validate, too" in data.notes[0]


def test_labels_of_json_words_and_names(tmp_path):
    members = []
    for seed in range(8):
        members.append((f"d/{seed}.jpg", encoded(seed, "JPEG")))
        about = {"meta": {"kind": ["cat", "dog"][seed % 2]}, "label": seed % 2}
        members.append((f"d/{seed}.json", json.dumps(about).encode()))
        members.append((f"d/{seed}.txt", b"a caption"))
    path = write(tmp_path / "a.tar", members)
    assert Dataset(path=path).load(0).classes == ("0", "1")
    named = Dataset(path=path, label="json.meta.kind").load(0)
    assert named.classes == ("cat", "dog")
    assert "8 of other fields of samples" in named.notes[0]
    assert Dataset(path=path, classes=("owl", "fox")).load(0).classes == ("owl", "fox")
    with pytest.raises(UserError, match=r"has no 'knid'\n.*kind\n.*did you mean 'kind'") as caught:
        Dataset(path=path, label="json.meta.knid").load(0)
    assert caught.value.key == "label"
    with pytest.raises(UserError, match="all 8 images are of the class 'a caption'"):
        Dataset(path=path, label="txt").load(0)


def test_of_several_images_one_is_named(tmp_path):
    members = []
    for seed in range(8):
        members += [(f"{seed}.left.png", encoded(seed)), (f"{seed}.right.png", encoded(100 + seed))]
        members.append((f"{seed}.cls", str(seed % 2).encode()))
    path = write(tmp_path / "a.tar", members)
    data = Dataset(path=path, image="right.png", validation=0.25, fit="stretch").load(0)
    wanted = np.asarray(noise(100).resize((20, 20), Image.Resampling.BILINEAR))
    assert data.train.store.name(0) == "a.tar/0.right.png"
    assert np.abs(pixels(data.train)[0].transpose(1, 2, 0).astype(int) - wanted).max() <= 1
    path = write(tmp_path / "b.tar", [("0.png", encoded(0)), ("0.jpg", encoded(0, "JPEG"))])
    with pytest.raises(UserError, match="has several images: jpg, png"):
        Dataset(path=path).load(0)


def test_names_of_members_are_data_alone(tmp_path):
    """No name leads anywhere, whatever it says: content comes from the shard."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (20, 24), "red").save(secret)
    members = []
    for seed in range(4):
        members += [(f"../{seed}.png", encoded(seed)), (f"../{seed}.cls", str(seed % 2).encode())]
    members += [(str(secret), encoded(9)), (f"{secret.with_suffix('')}.cls", b"1")]
    data = Dataset(path=write(tmp_path / "s" / "a.tar", members), validation=0.34).load(0)
    assert len(data.train) + len(data.validation) == 5
    assert (pixels(data.train).std((1, 2, 3)) > 30).all()
    with tarfile.open(tmp_path / "s" / "l.tar", "w") as tar:
        info = tarfile.TarInfo("0.png")
        info.type, info.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(info)
    with pytest.raises(UserError, match="no images in 1 shards"):
        Dataset(path=tmp_path / "s" / "l.tar").load(0)


def mistake(folder, **options):
    with pytest.raises(UserError) as caught:
        Dataset(path=folder, **options).load(0)
    return str(caught.value)


def test_compressed_torn_and_damaged_shards(shards):
    whole = (shards / "a-001.tar").read_bytes()
    (shards / "a-001.tar").write_bytes(whole[:1200])
    (shards / "a-002.tar").write_bytes(bytes(2) + whole[2:600] + b"\xff" * 40 + whole[640:])
    text = mistake(shards)
    assert "2 of 3 shards are damaged" in text
    assert "a-001.tar breaks off within '0004.png'" in text
    assert "a-002.tar has no header at byte 0: its checksum is wrong" in text
    (shards / "a-001.tar").write_bytes(gzip.compress(whole))
    text = mistake(shards / "a-001.tar")
    assert "is compressed with gzip" in text
    assert "gunzip it once" in text


def test_samples_without_label_or_image(tmp_path):
    members = [(f"{seed}.png", encoded(seed)) for seed in range(4)]
    assert "4 of 4 images have no label: a.tar/0.png, " in mistake(
        write(tmp_path / "a.tar", members)
    )
    members += [(f"{seed}.cls", str(seed % 2).encode()) for seed in range(5)]
    data = Dataset(path=write(tmp_path / "b.tar", members), validation=0.5).load(0)
    assert "1 in samples without an image" in data.notes[0]
    text = mistake(write(tmp_path / "c.tar", [("0.cls", b"1"), ("0.npy", b"")]))
    assert "no images in 1 shards" in text
    assert "their fields are cls, npy" in text
    members.append(("0.cls", b"0"))
    assert "has 0.cls twice" in mistake(write(tmp_path / "d.tar", members))
    assert "is not text" in mistake(write(tmp_path / "e.tar", [*members[:4], ("0.cls", b"\xff")]))


def test_damaged_images_are_named_before_and_while_training(tmp_path):
    members = [(f"{seed}.png", encoded(seed)) for seed in range(8)]
    labels = [(f"{seed}.cls", str(seed % 2).encode()) for seed in range(8)]
    broken = [*members[:7], ("7.png", b"<html>")]
    text = mistake(write(tmp_path / "a.tar", broken + labels))
    assert "1 of 8 files cannot be read as images: a.tar/7.png (a page of HTML)" in text
    content = bytearray(members[0][1])
    content[80:120] = bytes(40)
    path = write(tmp_path / "b.tar", [("0.png", bytes(content)), *members[1:], *labels])
    images = Dataset(path=path, validation=0.25).load(0)
    every = [images.train, images.validation]
    (part,) = [p for p in every if "b.tar/0.png" in map(p.store.name, range(len(p)))]
    with pytest.raises(UserError, match=rf"cannot decode 1 of {len(part)} images: b.tar/0.png \("):
        part.batch(np.arange(len(part)), View(8))


def test_a_shard_that_is_gone_is_no_fault_of_the_images(shards):
    images = Dataset(path=shards / "a-000.tar", validation=0.5).load(0).train
    moved = pickle.loads(
        pickle.dumps(images).replace(b"a-000.tar", b"b-000.tar")  # which this process never opened
    )
    with pytest.raises(TrialError, match=r"cannot read b-000.tar/byte \d+: No such file"):
        moved.batch(np.array([0]), View(8))


def test_sixteen_bits_are_scaled_as_in_files(tmp_path):
    members = []
    for seed in range(6):
        file = io.BytesIO()
        values = np.random.default_rng(seed).integers(0, 4096, (16, 16)).astype(np.uint16)
        Image.fromarray(values).save(file, "PNG")
        members += [(f"{seed}.png", file.getvalue()), (f"{seed}.cls", str(seed % 2).encode())]
    data = Dataset(path=write(tmp_path / "a.tar", members), channels=1).load(0)
    assert any("6 images have more than 8 bits a pixel" in note for note in data.notes)
    assert data.train.batch(np.arange(2), View(16)).max() == 255
