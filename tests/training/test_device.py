import platform
import subprocess
import sys

import pytest
import torch

from scalesearch.errors import UserError
from scalesearch.training import device
from scalesearch.training.device import isolated, pick_device, prepare_worker, uses_bf16

CPU = torch.device("cpu")


def test_auto_follows_what_the_process_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("auto").type == "cuda"


@pytest.mark.parametrize(("name", "gpus"), [("cuda", 0), ("cuda:1", 1)])
def test_a_missing_gpu_is_the_users_to_mend(monkeypatch, name, gpus):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(UserError, match=f"'{name}' cannot be used: this process sees {gpus} GPUs"):
        pick_device(name)


def test_bf16_is_automatic_on_gpus_that_have_it_alone(monkeypatch):
    assert not uses_bf16("auto", CPU)
    assert uses_bf16("bf16", CPU)
    gpu = torch.device("cuda")
    for supported in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda answer=supported: answer)
        assert uses_bf16("auto", gpu) is supported
    assert not uses_bf16("float32", gpu)


def test_random_numbers_follow_the_seed_inside_and_stay_untouched_outside():
    before = torch.get_rng_state()
    drawn = []
    for seed in (1, 1, 2):
        with isolated(seed, CPU):
            drawn.append(torch.rand(3))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(before, torch.get_rng_state())


def test_an_error_inside_restores_too():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="size"), isolated(1, CPU):
        torch.rand(3) + torch.rand(2)
    assert torch.equal(before, torch.get_rng_state())


def test_cudnn_is_deterministic_where_the_study_asks_for_it():
    before, threads = torch.backends.cudnn.deterministic, torch.get_num_threads()
    try:
        for mine in (False, True):
            torch.backends.cudnn.deterministic = mine
            prepare_worker(1)
            with isolated(1, CPU):  # training itself leaves it alone, too
                assert torch.backends.cudnn.deterministic is mine
        torch.backends.cudnn.deterministic = False
        prepare_worker(1, deterministic=True)
        assert torch.backends.cudnn.deterministic
    finally:
        torch.backends.cudnn.deterministic = before
        torch.set_num_threads(threads)


_FAULTS = """
import resource, torch
from scalesearch.training.device import prepare_worker
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
    device._keep_freed_memory(lambda *call: calls.append(call) or 1)
    assert sorted(calls) == [(-8, 1), (-3, 2**30), (-2, 2**28), (-1, 2**31 - 1)]


def test_an_old_glibc_gets_the_largest_threshold_it_takes():
    calls = []

    def mallopt(parameter, value):
        calls.append((parameter, value))
        return int(parameter != -3 or value <= 32 * 2**20)

    device._keep_freed_memory(mallopt)
    assert (-3, 32 * 2**20) in calls


def test_other_systems_only_set_threads(monkeypatch):
    threads = []
    monkeypatch.setattr(device.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(device.torch, "set_num_threads", threads.append)
    monkeypatch.setattr(device, "_keep_freed_memory", lambda mallopt: pytest.fail("called"))
    device.prepare_worker(3)
    device.prepare_worker(0)
    assert threads == [3, 1]
