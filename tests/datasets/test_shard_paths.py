import pytest

from scalesearch.datasets._shard_paths import files_of, named_parts
from scalesearch.errors import UserError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names_of(folder, pattern, ending=".tar"):
    return [file.name for file in files_of(folder / pattern, ending, "path")]


def test_braces_globs_folders_and_single_files(tmp_path):
    touch(tmp_path, "a-008.tar", "a-009.tar", "a-010.tar", "b-1.tar", ".c.tar", "x.txt")
    assert names_of(tmp_path, "a-{008..010}.tar") == ["a-008.tar", "a-009.tar", "a-010.tar"]
    assert names_of(tmp_path, "{b-1,a-009}.tar") == [
        "b-1.tar",
        "a-009.tar",
    ]
    assert names_of(tmp_path, "a-*.tar") == ["a-008.tar", "a-009.tar", "a-010.tar"]
    assert names_of(tmp_path, "a-00[89].tar") == ["a-008.tar", "a-009.tar"]
    assert names_of(tmp_path, "") == ["a-008.tar", "a-009.tar", "a-010.tar", "b-1.tar"]
    assert names_of(tmp_path, "x.txt") == ["x.txt"]


MISTAKES = [
    ("a-{000..002}.tar", "2 of the 3 files that .* names are missing: .*a-001.tar"),
    ("b-*.tar", "there is no file .*b-"),
    ("nothing.tar", "there is no file .*nothing.tar"),
    ("a-{3..1}.tar", r"\{3..1\} is not a range"),
    ("a-{0..999999999}.tar", "is not a range"),
    ("a-{0..9999}-{0..9999}.tar", "names more than 100,000 files"),
    ("empty", r"there is no .tar file in .*empty\n  it holds c.tar.gz"),
    ("outer", r"there is no .tar file in .*outer\n  is one of its folders meant, train"),
]


@pytest.mark.parametrize(("pattern", "message"), MISTAKES)
def test_what_is_missing_is_said(tmp_path, pattern, message):
    touch(tmp_path, "a-000.tar", "empty/c.tar.gz", "outer/train/a.tar")
    with pytest.raises(UserError, match=message):
        files_of(tmp_path / pattern, ".tar", "path")


def test_parts_of_a_split_by_the_names_of_files(tmp_path):
    folder = touch(
        tmp_path, "im-train-00.tar", "im-train-01.tar", "im-val-00.tar", "test-00000-of-00001.tar"
    )
    parts = named_parts(files_of(folder, ".tar", "path"))
    assert {part: len(files) for part, files in parts.items()} == {
        "train": 2,
        "validation": 1,
        "test": 1,
    }
    assert named_parts(files_of(folder / "im-train-*.tar", ".tar", "path")) == {}
    touch(tmp_path, "more.tar")
    with pytest.raises(UserError, match=r"1 are not: more.tar"):
        named_parts(files_of(folder, ".tar", "path"))
