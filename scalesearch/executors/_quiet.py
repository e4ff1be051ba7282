"""The environment variables that Ray reads when it is imported or started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# A dead worker is told in the record; Ray would print a page about it on standard output as well.
_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}


def quiet_ray() -> None:
    """Sends no usage statistics and prints no worker logs, unless the user's environment says so.

    To be called before Ray is imported, as it reads these once.
    """
    for name, value in _RAY.items():
        os.environ.setdefault(name, value)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets those variables that the user has not set, for a while."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
