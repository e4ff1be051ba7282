"""Files are written whole or not at all."""

import errno
import os

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.errors import UserError
from scalesearch.files.write import format_yaml, safe_name, write_bytes, write_text, write_yaml


def test_a_file_and_its_folders_are_made(tmp_path):
    path = write_text(tmp_path / "a" / "b.txt", "grün\n")
    assert path.read_bytes() == "grün\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_permissions_follow_the_umask(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    assert write_text(tmp_path / "ours", "").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.ENOSPC, "the disk is full\n  finished trials are safe"),
        (errno.EDQUOT, "the disk quota is used up\n  finished trials are safe"),
        (errno.EIO, "cannot be written"),
    ],
)
def test_a_failing_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, code, text):
    path = write_text(tmp_path / "record.yaml", "old")

    def fail(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError) as caught:
        write_bytes(path, b"new")
    assert str(caught.value).startswith(f"{path}: {text}")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_disk_that_cannot_flush_takes_the_file_all_the_same(tmp_path, monkeypatch, code):
    def missing(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", missing)
    assert write_bytes(tmp_path / "file", b"new").read_bytes() == b"new"


def test_a_name_that_is_no_text_is_written_readably(tmp_path):
    assert write_text(tmp_path / "file", "caf\udce9").read_bytes() == rb"caf\udce9"


def test_a_place_that_is_a_file_cannot_hold_files(tmp_path):
    write_text(tmp_path / "file", "")
    with pytest.raises(UserError, match="cannot be written"):
        write_text(tmp_path / "file" / "below", "")


def test_yaml_is_written_as_people_write_it(tmp_path):
    plain = {
        "resolution": 224,
        "stem": {"width": 32, "kernel": 3},
        "stages": [
            {"block": "mbconv", "width": 16, "se": 0.25},
            {"block": "identity", "width": 24, "stride": 2},
        ],
        "limits": {"flops": {"max": 2000000}},
    }
    text = write_yaml(tmp_path / "a.yaml", plain, {"trial": 7, "note": "two\nlines"}).read_text()
    assert text == (
        "# trial: 7\n# note: two\n# lines\n"
        "resolution: 224\n"
        "stem: {width: 32, kernel: 3}\n"
        "stages:\n"
        "  - {block: mbconv, width: 16, se: 0.25}\n"
        "  - {block: identity, width: 24, stride: 2}\n"
        "limits: {flops: {max: 2000000}}\n"
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text(max_size=9), values, max_size=4))
def test_what_is_written_is_read_back_in_order(plain):
    back = yaml.safe_load(format_yaml(plain))
    assert back == plain
    assert list(back) == list(plain)


def test_equal_parts_are_written_out_and_not_aliased():
    part = {"width": 8}
    assert "&" not in format_yaml({"a": part, "b": part, "c": [part, part]})


@pytest.mark.parametrize("name", ["quickstart", "B0 at 96", "a-b_c+d.yaml", "größe", "x"])
def test_good_names(name):
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a\\b", "../up", "a..b", "a\n", "a ", "x" * 101, "/"]
)
def test_names_that_lead_elsewhere(name):
    with pytest.raises(UserError, match="cannot name a file"):
        safe_name(name)
