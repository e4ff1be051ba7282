"""Large files: what other processes see of them while they are written."""

import errno
import fcntl

import pytest

from scalesearch.files.large import large_file, one_at_a_time, remove_abandoned


def test_a_file_is_there_once_it_is_whole(tmp_path):
    path = tmp_path / "a" / "b.bin"
    with large_file(path, 3) as file:
        file.write(b"abc", 0)
        assert not path.exists()
    assert [each.name for each in path.parent.iterdir()] == ["b.bin"]
    assert path.read_bytes() == b"abc"


def test_abandoned_files_are_locked_as_nfs_locks_them(tmp_path, monkeypatch):
    """There an exclusive lock takes a file that is open for writing: EBADF of others."""
    real = fcntl.flock

    def flock(descriptor, kind):
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & 3 == 0:  # O_RDONLY
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    left = tmp_path / ".b.bin.0.part"
    left.write_bytes(b"x")
    with large_file(tmp_path / "b.bin", 1):
        assert not left.exists()


def test_what_is_written_is_not_taken_for_abandoned(tmp_path, monkeypatch):
    """Also between the making of the file and its lock."""
    real, calls = fcntl.flock, []

    def flock(descriptor, kind):
        calls.append(kind)
        if len(calls) == 1:
            remove_abandoned(tmp_path, "*")
        real(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    with large_file(tmp_path / "b.bin", 1) as file:
        remove_abandoned(tmp_path, "*")
        file.write(b"x", 0)
    assert (tmp_path / "b.bin").read_bytes() == b"x"


def test_who_waits_is_told_once(tmp_path):
    told, path = [], tmp_path / "lock"
    with one_at_a_time(path, lambda: told.append("alone")):
        pass
    other = path.open("w")
    fcntl.flock(other.fileno(), fcntl.LOCK_EX)
    with one_at_a_time(path, lambda: (told.append("waits"), other.close())):
        pass
    assert told == ["waits"]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_where_files_cannot_be_locked_nothing_waits(tmp_path, monkeypatch, code):
    def flock(descriptor, kind):
        raise OSError(code, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    with one_at_a_time(tmp_path / "lock"), large_file(tmp_path / "b.bin", 1) as file:
        file.write(b"x", 0)
    assert (tmp_path / "b.bin").read_bytes() == b"x"
