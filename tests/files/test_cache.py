import re
from pathlib import Path

import pytest

from scalesearch.errors import UserError
from scalesearch.files.cache import cache_folder


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "/home/me/.cache/scalesearch"),
        ({"XDG_CACHE_HOME": "/fast"}, "/fast/scalesearch"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/scalesearch"),
        ({"XDG_CACHE_HOME": "/fast", "SCALESEARCH_CACHE": "/mine"}, "/mine"),
        ({"SCALESEARCH_CACHE": ""}, "/home/me/.cache/scalesearch"),
    ],
)
def test_the_first_variable_that_is_set_says_where_the_cache_is(monkeypatch, variables, expected):
    for name in ("XDG_CACHE_HOME", "SCALESEARCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    for name in ("XDG_CACHE_HOME", "SCALESEARCH_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    with pytest.raises(UserError, match=re.escape("no home folder\n  set SCALESEARCH_CACHE")):
        cache_folder()
