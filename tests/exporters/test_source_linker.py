"""The linker on a toy package whose joined text is written down by hand."""

from __future__ import annotations

import pytest

from scalesearch.exporters import _source_linker

FILES = {
    "__init__.py": "",
    "low.py": '''"""Not taken: a module's docstring."""

from __future__ import annotations

import math as maths
from dataclasses import dataclass
from os import path, sep, PathLike
import json
import torch.nn

# Not taken: a comment apart.

# Why it is two.
TWO = 2  # really


def unused() -> str:
    return json.dumps(TWO)


@dataclass(frozen=True)
class Record:
    """A record."""

    size: int

    def __post_init__(self) -> None:
        unused()

    @property
    def kept(self) -> float:
        return maths.sqrt(self.also)

    def dropped(self) -> str:
        return sep

    @property
    def also(self) -> int:
        return self.size * TWO


def late(place: PathLike) -> str:
    return path.join(place) + torch.__version__
''',
    "high.py": """from toy.low import Record, late


def first(record: Record) -> str:
    return second(record)


def second(record: Record) -> str:
    return late(record.kept)
""",
    "table.py": """from toy.low import TWO, late

KINDS = {
    "kept": late,
    # About what is dropped.
    "dropped": TWO,

    # About what is kept.
    "also": [
        late,
    ],
    "last": unknown(TWO),
}


def find(kind: str):
    return KINDS[kind]
""",
    "other.py": """from toy.low import Record


class Plain:
    def __init__(self, record: Record) -> None:
        self.kept = record.size
""",
    "clash.py": """from toy.high import first

TWO = 3


def both() -> str:
    return first(TWO)
""",
}
JOINED = '''# Why it is two.
TWO = 2  # really

@dataclass(frozen=True)
class Record:
    """A record."""

    size: int

    @property
    def kept(self) -> float:
        return maths.sqrt(self.also)

    @property
    def also(self) -> int:
        return self.size * TWO

def late(place: PathLike) -> str:
    return path.join(place) + torch.__version__

def first(record: Record) -> str:
    return second(record)

def second(record: Record) -> str:
    return late(record.kept)'''
IMPORTS = """from __future__ import annotations

import math as maths
from dataclasses import dataclass
from os import PathLike, path

import torch.nn"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy").mkdir()
    for name, text in FILES.items():
        (tmp_path / "toy" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_source_linker, "_OURS", "toy.")
    yield
    _source_linker.source.cache_clear()


@pytest.mark.usefixtures("toy")
def test_what_is_needed_is_taken_as_it_stands():
    imports, linked = _source_linker.link([("toy.high", "first")])
    assert "\n\n".join(linked.values()) == JOINED
    assert imports == IMPORTS


@pytest.mark.usefixtures("toy")
def test_several_names_come_in_the_order_of_their_modules():
    _, linked = _source_linker.link([("toy.high", "second"), ("toy.low", "unused")])
    names = ["TWO", "unused", "Record", "late", "second"]
    assert list(linked) == names


@pytest.mark.usefixtures("toy")
def test_what_another_class_calls_its_own_keeps_no_method_of_a_record():
    _, linked = _source_linker.link([("toy.other", "Plain")])
    assert list(linked) == ["Record", "Plain"]
    assert "def kept" not in linked["Record"]


@pytest.mark.usefixtures("toy")
def test_two_definitions_of_one_name_are_refused():
    with pytest.raises(AssertionError, match="two definitions of one name"):
        _source_linker.link([("toy.clash", "both")])


TABLE = """KINDS = {
    "kept": late,

    # About what is kept.
    "also": [
        late,
    ],
}"""


@pytest.mark.usefixtures("toy")
def test_a_table_keeps_the_entries_that_are_asked_for_and_what_they_need():
    _, linked = _source_linker.link([("toy.table", "find")], {"KINDS": {"kept", "also"}})
    assert list(linked) == ["late", "KINDS", "find"]
    assert linked["KINDS"] == TABLE
    _, whole = _source_linker.link([("toy.table", "find")])
    assert list(whole) == ["TWO", "late", "KINDS", "find"]
