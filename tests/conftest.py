"""What every test shares: the same drawn examples on every run, and one thread for torch."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# Small tensors: threads would spend their time waiting for each other. Read when torch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before anything is imported, for the processes that tests start, too: the user's cache is his.
os.environ["SCALESEARCH_CACHE"] = tempfile.mkdtemp(prefix="scalesearch-tests-")
atexit.register(shutil.rmtree, os.environ["SCALESEARCH_CACHE"], ignore_errors=True)

settings.register_profile(
    "scalesearch",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("scalesearch")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
