import platform
import subprocess
import sys

import pytest

from scalesearch.training import allocator

_FAULTS = """
import resource, torch
from scalesearch.training.allocator import prepare_worker
if {prepared}:
    prepare_worker(1)
torch.set_num_threads(1)

for _ in range(10):
    torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(prepared):
    """Page faults of twenty 40 MB tensors made and freed, in a process of their own."""
    code = _FAULTS.format(prepared=prepared)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting exists in glibc alone")
def test_freed_memory_stays_in_the_process():
    # 40 MB are 9,765 pages of 4 KiB: the kernel clears all of them anew for each tensor, unless
    # they are kept; then the heap grows a few times more at the most, as alignment may ask for.
    kept, anew = page_faults(True), page_faults(False)
    assert anew >= 15 * 9_765
    assert kept < anew / 4


def test_the_thresholds_are_those_of_mallocs_manual():
    # mallopt(3): M_TRIM_THRESHOLD -1, M_TOP_PAD -2, M_MMAP_THRESHOLD -3, M_ARENA_MAX -8.
    calls = []
    allocator._keep_freed_memory(lambda *call: calls.append(call) or 1)
    assert sorted(calls) == [(-8, 1), (-3, 2**30), (-2, 2**28), (-1, 2**31 - 1)]


def test_an_old_glibc_gets_the_largest_threshold_it_takes():
    calls = []

    def mallopt(parameter, value):
        calls.append((parameter, value))
        return int(parameter != -3 or value <= 32 * 2**20)

    allocator._keep_freed_memory(mallopt)
    assert (-3, 32 * 2**20) in calls


def test_other_systems_only_set_threads(monkeypatch):
    threads = []
    monkeypatch.setattr(allocator.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(allocator.torch, "set_num_threads", threads.append)
    monkeypatch.setattr(allocator, "_keep_freed_memory", lambda mallopt: pytest.fail("called"))
    allocator.prepare_worker(3)
    allocator.prepare_worker(0)
    assert threads == [3, 1]
