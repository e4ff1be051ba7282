"""The index of a tar file against the standard library's reader."""

import io
import tarfile

import numpy as np
import pytest

from scalesearch.datasets._tar_index import ArchiveFile, Torn, member_name, read_members

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
NAMES = ["a.jpg", "deep/" * 20 + "b.jpg", "x" * 120 + ".jpg", "\u00e9t\u00e9.png", "../../e.jpg"]


def write(path, names, form=tarfile.PAX_FORMAT, size=700):
    with tarfile.open(path, "w", format=form) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = size + number, 1.5  # not whole: pax attributes
            tar.addfile(info, io.BytesIO(bytes([number]) * info.size))
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_equals_the_standard_librarys(tmp_path, form):
    names = [name for name in NAMES if form != tarfile.USTAR_FORMAT or "xxx" not in name]
    path = write(tmp_path / "a.tar", names, form)
    file = ArchiveFile(str(path))
    ours = list(read_members(file))
    with tarfile.open(path) as tar:
        theirs = [(m.name, m.offset, m.offset_data, m.size) for m in tar.getmembers()]
    assert [(m.name, m.header, m.data, m.size) for m in ours] == theirs
    assert [member_name(file, m.header) for m in ours] == names
    for number, member in enumerate(ours):
        assert member.is_file
        assert file.read(member.data, member.size) == bytes([number]) * member.size


def test_folders_links_and_sparse_files_are_no_files(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("l", tarfile.SYMTYPE), ("h", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("s.jpg")
        info.size, info.pax_headers = 0, {"GNU.sparse.major": "1"}
        tar.addfile(info)
    members = list(read_members(ArchiveFile(str(tmp_path / "a.tar"))))
    assert [m.is_file for m in members] == [False] * 4


def test_links_have_no_content_whatever_size_they_claim(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(1, 7):
            info = tarfile.TarInfo(f"l{number}")
            info.type, info.linkname, info.size = str(number).encode(), "a.jpg", 700
            tar.addfile(info)
        info = tarfile.TarInfo("b.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    file = ArchiveFile(str(tmp_path / "a.tar"))
    *links, picture = read_members(file)
    assert [(m.size, m.is_file) for m in links] == [(0, False)] * 6
    assert file.read(picture.data, picture.size) == b"abc"


def test_large_sizes_and_binary_numbers():
    """A size of 2^33 in binary, as GNU tar writes it, which the file does not have."""
    info = tarfile.TarInfo("a.jpg")
    info.size = 1 << 33
    block = info.tobuf(tarfile.GNU_FORMAT)
    assert block[124] == 0x80
    file = fake(block)
    with pytest.raises(Torn, match="has 8,589,934,592 bytes from byte 512"):
        list(read_members(file))


def fake(content):
    """An archive that lies in memory."""
    file = ArchiveFile.__new__(ArchiveFile)
    file.size = len(content)
    file.read = lambda start, count: content[start : start + count]
    return file


def test_an_archive_that_breaks_off_anywhere_is_found(tmp_path):
    content = write(tmp_path / "a.tar", NAMES[:3], tarfile.GNU_FORMAT).read_bytes()
    end = content.rindex(bytes([2]) * 100) + 100  # of the last content; then padding and the mark
    whole = [m.name for m in read_members(fake(content))]
    for length in range(0, len(content), 97):
        if length >= -(-end // 512) * 512 + 512:
            assert [m.name for m in read_members(fake(content[:length]))] == whole
        else:
            with pytest.raises(Torn, match="breaks off"):
                list(read_members(fake(content[:length])))


def test_damaged_headers_are_found_and_none_hangs_or_takes_memory(tmp_path):
    content = bytearray(write(tmp_path / "a.tar", NAMES).read_bytes())
    draws = np.random.default_rng(0)
    found = 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in draws.integers(0, len(content), 3).tolist():
            damaged[place] = int(draws.integers(0, 256))
        try:
            list(read_members(fake(bytes(damaged))))
        except Torn:
            found += 1
    assert found > 100  # the others are in the content
