"""Compact paths against plain ones."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.datasets._paths import Paths

# Also names that are not UTF-8, as Python has them.
NAMES = st.binary(max_size=12).filter(lambda name: b"\0" not in name).map(os.fsdecode)


@given(st.lists(NAMES), st.data())
def test_is_a_sequence_of_texts(names, data):
    paths = Paths(names)
    assert (len(paths), list(paths), [*reversed(paths)]) == (len(names), names, names[::-1])
    assert paths == names
    assert paths == tuple(names)
    assert paths != [*names, "one more"]
    assert [paths[index] for index in range(-len(names), len(names))] == names * 2
    for part in (slice(None), slice(1, None, 2), slice(None, None, -1), slice(-3, 99)):
        assert paths[part] == tuple(names[part])
    for index in (len(names), -len(names) - 1):
        with pytest.raises(IndexError):
            _ = paths[index]
    chosen = data.draw(st.lists(st.integers(0, len(names) - 1))) if names else []
    part = paths.choose(np.array(chosen, np.int64))
    assert part == [names[index] for index in chosen]
    assert pickle.loads(pickle.dumps(part)) == part
    assert all(paths[np.int64(index)] == names[index] for index in chosen)


def test_a_million_paths_are_two_arrays_to_pickle():
    names = [f"train/n{n % 1000:08}/{n}.JPEG" for n in range(100_000)]
    paths = Paths(names)
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(paths, protocol=5, buffer_callback=buffers.append)
    assert (len(buffers), len(pickled) < 1000) == (2, True)
    assert sum(buffer.raw().nbytes for buffer in buffers) == sum(len(n) + 1 + 8 for n in names)
    again = pickle.loads(pickled, buffers=buffers)
    assert again == paths == names
    assert repr(paths).endswith("100,000 in all)")


def test_equals_no_other_thing():
    assert Paths([]) == []
    assert Paths(["a"]) != 7
    assert "a" in Paths(["a", "b"])
    assert Paths(["a", "b"]).index("b") == 1
    with pytest.raises(TypeError):
        hash(Paths([]))
