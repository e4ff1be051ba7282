"""Files of weights with any ending, and files that are none."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import fractions
import io
import os
import pathlib
import pickle
import random
import zipfile
from collections import defaultdict

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch.serialization import set_crc32_options

from scalesearch.errors import UserError
from scalesearch.nn.checkpoint_files import read_checkpoint

STATE = {"stem.conv.weight": torch.arange(12.0).view(3, 4), "classifier.bias": torch.ones(700)}


def saved(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


FORMS = {
    "zip": saved(STATE),
    "legacy": saved(STATE, _use_new_zipfile_serialization=False),
    "safetensors": save(STATE),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name",
    ["w.safetensors", "w.pth", "w.pth.tar", "w.ckpt", "w.bin", "w.PTH", "w", "w.h5", "w.zip"],
)
def test_the_content_decides_and_not_the_ending(form, name, tmp_path):
    (tmp_path / name).write_bytes(FORMS[form])
    content = read_checkpoint(tmp_path / name)
    assert content.keys() == STATE.keys()
    assert all(torch.equal(content[key], value) for key, value in STATE.items())


def refusal(path, content=None):
    """What is said of a file: one sentence with its name, and a next step, short."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as told:
        read_checkpoint(path)
    assert told.value.file == str(path)
    assert "\n" not in told.value.problem
    assert len(str(told.value)) - len(str(path)) < 300
    return told.value


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_a_file_that_is_cut_short(form, share, tmp_path):
    whole = FORMS[form]
    told = refusal(tmp_path / "w.pth", whole[: 10 + int(share * (len(whole) - 11))])
    assert told.hint == "it is cut short or damaged: copy or download it again"


def test_one_bit_of_a_weight(tmp_path):
    content = bytearray(FORMS["zip"])
    content[content.find(STATE["stem.conv.weight"].numpy().tobytes()) + 5] ^= 1
    told = refusal(tmp_path / "w.pth", bytes(content))
    assert told.problem.startswith("the checksum of '")


def test_weights_that_were_saved_without_checksums(tmp_path):
    set_crc32_options(False)
    try:
        torch.save(STATE, tmp_path / "w.pth")
    finally:
        set_crc32_options(True)
    assert read_checkpoint(tmp_path / "w.pth").keys() == STATE.keys()


def test_another_program_may_have_packed_the_archive_again(tmp_path):
    with zipfile.ZipFile(io.BytesIO(FORMS["zip"])) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    (tmp_path / "w.pth").write_bytes(zipped(files))
    assert read_checkpoint(tmp_path / "w.pth").keys() == STATE.keys()


def test_an_archive_that_unpacks_to_far_more_than_it_weighs(tmp_path):
    zeros = {"w/data.pkl": pickle.dumps({}, 2), "w/data/0": bytes(100 << 20), "w/version": "3"}
    told = refusal(tmp_path / "w.pth", zipped(zeros))
    assert "to 104,857,6" in told.problem


TEXT = "is a text that begins with"
FOREIGN = {
    "empty": (b"", "is empty"),
    "zeros": (bytes(9000), "holds nothing but zeros where weights begin"),
    "page": (b"\n <!DOCTYPE html>\n<html>404", "is a page of HTML, not weights"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 7\n",
        "is a pointer of Git LFS to the file, not the file",
    ),
    "text": (b"hello\nworld", f"{TEXT} 'hello', not weights"),
    "umlauts": ("größe: 1".encode(), f"{TEXT} 'größe: 1', not weights"),
    "utf16": ("some text".encode("utf-16"), f"{TEXT} 'some text', not weights"),
    "long": (b"x" * 9000, f"{TEXT} 'xxx"),
    "index": (b'{"weight_map": {}}', "is the index of weights in several files"),
    "gzip": (b"\x1f\x8b\x08" + bytes(20), "is compressed with gzip"),
    "xz": (b"\xfd7zXZ\x00\x00", "is compressed with xz"),
    "tar": (b"w.pth".ljust(257, b"\0") + b"ustar", "is a tar archive"),
    "word": (
        zipped({"word/document.xml": "<x/>"}),
        "is a zip archive without weights of torch.save; it holds 'word/document.xml'",
    ),
    "zip of it": (
        zipped({"a/w.pth": FORMS["zip"], "b": ""}),
        "is a zip archive without weights of torch.save; it holds 'a/w.pth' and 1 more",
    ),
    "keras 3": (zipped({"model.weights.h5": ""}), "is a zip archive without weights of torch.save"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(9), "is an HDF5 file, as Keras writes them"),
    "tflite": (b"\x1c\0\0\0TFL3", "is a network of TensorFlow Lite"),
    "x.pb": (b"\x08\x01\xff\xfe", "is a graph of TensorFlow"),
    "x.onnx": (b"\x08\x07\xff\xfe", "is a network of ONNX"),
    "checkpoint": (b'model_checkpoint_path: "x"', "names a checkpoint of TensorFlow"),
    "npy": (b"\x93NUMPY\x01\0", "is an array of NumPy"),
    "pickle": (pickle.dumps({"a": 1}), "is a pickle that torch.save did not write"),
    "noise": (
        random.Random(0).randbytes(999),
        "is no file of safetensors or of torch.save, or its beginning is damaged",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_another_kind_is_told_by_its_kind(name, tmp_path):
    content, problem = FOREIGN[name]
    told = refusal(tmp_path / name, content)
    assert told.problem.startswith(problem)
    assert told.hint


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_a_program_of_torchscript(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "w.pt")
    told = refusal(tmp_path / "w.pt")
    assert told.problem == "is a TorchScript program, not weights"


def test_a_program_of_torch_export(tmp_path):
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "w.pt2")
    told = refusal(tmp_path / "w.pt2")
    assert told.problem == "is a program of torch.export, not weights"


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (argparse.Namespace(lr=0.1), "argparse.Namespace"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        (fractions.Fraction(1, 2), "fractions.Fraction"),
        (len, "len"),
    ],
)
def test_what_is_pickled_beside_tensors_is_named_and_not_run(thing, name, legacy, tmp_path):
    content = saved({"model": STATE, "args": thing}, _use_new_zipfile_serialization=not legacy)
    told = refusal(tmp_path / "w.pth", content)
    assert told.problem == f"holds more than tensors: a pickled {name}, which is not loaded"
    assert "torch.save(model.state_dict(), FILE)" in told.hint


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "thing",
    [
        *(np.float64(0.9), np.int32(3), np.bool_(True), np.str_("best")),
        *(np.arange(6.0).reshape(2, 3), np.array(["a", "b"]), np.random.default_rng(0).bytes(9)),
        *(pathlib.Path("runs/one"), pathlib.PureWindowsPath("C:\\runs")),
        *(datetime.datetime(2026, 11, 27, 5), datetime.timedelta(hours=3)),
        *(defaultdict(int, epochs=3), defaultdict(list, {"loss": [0.5]})),
    ],
    ids=repr,
)
def test_plain_values_beside_tensors_are_read(thing, legacy, tmp_path):
    content = saved({"model": STATE, "thing": thing}, _use_new_zipfile_serialization=not legacy)
    (tmp_path / "w.pth").write_bytes(content)
    read = read_checkpoint(tmp_path / "w.pth")["thing"]
    assert np.array_equal(read, thing) if isinstance(thing, np.ndarray) else read == thing


def test_an_array_of_objects_is_not_read(tmp_path):
    told = refusal(tmp_path / "w.pth", saved({"w": np.array([{}], dtype=object)}))
    assert told.hint


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def test_no_code_in_a_file_is_run(tmp_path):
    refusal(tmp_path / "w.pth", saved({"w": Harmful(tmp_path / "harm")}))
    assert not (tmp_path / "harm").exists()


def test_what_is_no_file(tmp_path):
    assert refusal(tmp_path / "none").problem == "there is no such file"
    (tmp_path / "weights.pth").write_bytes(FORMS["zip"])
    assert refusal(tmp_path / "wieghts.pth").hint == "did you mean 'weights.pth'?"
    (tmp_path / "weights.pth").unlink()
    hint = "addresses are not read: download it first"
    assert refusal(pathlib.Path("https://example.org/w.pth")).hint == hint
    assert refusal(tmp_path).problem == "is a folder, not a file of weights"
    (tmp_path / "model.safetensors").write_bytes(FORMS["safetensors"])
    assert refusal(tmp_path).hint == f"name a file in it: {tmp_path / 'model.safetensors'}"
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "fifo").problem == "is no regular file"
    assert "name too long" in refusal(tmp_path / ("x" * 300)).problem.lower()


def test_damage_anywhere_ends_in_a_sentence_or_in_a_mapping(tmp_path):
    draws = random.Random(1)
    for _ in range(150):
        content = bytearray(draws.choice([*FORMS.values()]))
        for _ in range(draws.choice([1, 3, 30])):
            content[draws.randrange(min(len(content), draws.choice([100, 10**6])))] = (
                draws.randrange(256)
            )
        (tmp_path / "w.pth").write_bytes(content)
        with contextlib.suppress(UserError):
            read_checkpoint(tmp_path / "w.pth")
