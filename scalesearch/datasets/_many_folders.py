"""Many folders listed one after the other, or at once where a disk in a network answers slowly."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scalesearch.datasets._listing import LeftOutFiles, Listing

# Threads slow down what need not wait: on a local disk, a file takes microseconds of computing.
_SLOW = 100e-6  # seconds of waiting for each file
_PATIENCE = 1.0  # seconds of waiting before it is called slow
_AT_ONCE = 32

Listed = tuple[Listing, LeftOutFiles]


def list_folders(folders: Sequence[Path], listed: Callable[[Path], Listed]) -> list[Listed]:
    """What `listed` gives for each folder."""
    results: list[Listed] = []
    waited, files = 0.0, 0
    for folder in folders:
        wall, computed = time.perf_counter(), time.thread_time()
        results.append(listed(folder))
        waited += time.perf_counter() - wall - (time.thread_time() - computed)
        files += len(results[-1][0].paths)
        if waited > max(_PATIENCE, _SLOW * files):
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                return results + list(pool.map(listed, folders[len(results) :]))
    return results
