import contextlib
import platform
import subprocess
import sys

import pytest
import torch

from scalesearch.errors import UserError
from scalesearch.training import device
from scalesearch.training.device import (
    autocast_dtype,
    cuda_math,
    isolated,
    pick_device,
    reproducible_cudnn,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")


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


@pytest.mark.parametrize(
    ("capability", "native", "expected"),
    [((9, 0), True, torch.bfloat16), ((7, 5), False, torch.float16), ((6, 1), False, None)],
)
def test_auto_takes_what_the_gpu_computes_in(monkeypatch, capability, native, expected):
    def supported(including_emulation=True):
        return native or including_emulation  # as torch: any GPU can emulate it

    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert autocast_dtype("auto", GPU) is expected


def test_a_precision_is_what_it_says():
    assert autocast_dtype("auto", CPU) is None
    for place in (CPU, GPU):
        assert autocast_dtype("float32", place) is None
        assert autocast_dtype("bf16", place) is torch.bfloat16
    assert autocast_dtype("fp16", GPU) is torch.float16
    with pytest.raises(UserError, match="'fp16' cannot be used on the device 'cpu'") as told:
        autocast_dtype("fp16", CPU)
    assert told.value.key == "precision"


def cuda_settings():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark


@pytest.mark.parametrize(("tf32", "benchmark"), [(False, False), (True, True), (True, False)])
def test_cudas_settings_hold_inside_and_are_as_before_outside(tf32, benchmark):
    before = cuda_settings()
    with (
        contextlib.suppress(KeyError),  # an error inside restores, too
        cuda_math(GPU, tf32=tf32, cudnn_benchmark=benchmark),
    ):
        assert cuda_settings() == (tf32, tf32, benchmark)
        raise KeyError
    assert cuda_settings() == before
    with cuda_math(CPU, tf32=tf32, cudnn_benchmark=benchmark):
        assert cuda_settings() == before


def test_what_is_deterministic_takes_no_algorithm_by_its_time(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    with cuda_math(GPU, tf32=False, cudnn_benchmark=False):
        pass
    with (
        pytest.raises(UserError, match="may differ from run to run") as told,
        cuda_math(GPU, tf32=False, cudnn_benchmark=True),
    ):
        pass
    assert told.value.key == "cudnn_benchmark"


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
    before = torch.backends.cudnn.deterministic
    try:
        for mine in (False, True):
            torch.backends.cudnn.deterministic = mine
            for wanted in (False, True):
                with contextlib.suppress(KeyError), reproducible_cudnn(wanted=wanted):
                    assert torch.backends.cudnn.deterministic is (wanted or mine)
                    raise KeyError
                assert torch.backends.cudnn.deterministic is mine
    finally:
        torch.backends.cudnn.deterministic = before


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
