from __future__ import annotations

import pytest

from scalesearch.errors import UserError
from scalesearch.spaces.repeated import RepeatedSpace
from tests.pool import space


def test_every_candidate_once_before_any_again():
    networks = {7: space().sample(0), 2: space().sample(1)}
    repeated = RepeatedSpace(networks=networks, repeats=3)
    points = list(repeated.points())
    assert repeated.size == len(points) == 6
    assert [tuple(point.values()) for point in points] == [
        *((7, 1), (2, 1), (7, 2), (2, 2), (7, 3), (2, 3))
    ]
    assert all(repeated.decode(point) == networks[point["candidate"]] for point in points)
    assert repeated.encode(networks[2]) == {"candidate": 2, "repeat": 1}
    with pytest.raises(UserError, match="not a training of a candidate"):
        repeated.decode({"candidate": 7, "repeat": 4})
