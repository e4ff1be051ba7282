"""Where a model is trained: device, precision, random numbers, and a worker's process."""

from __future__ import annotations

import ctypes
import functools
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from scalesearch.cost.latency import machine
from scalesearch.errors import UserError
from scalesearch.history.jobs import Whereabouts

# Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
# glibc before 2.35 rejects a larger threshold.
_OLD_LIMIT = 32 * 2**20


def pick_device(name: str) -> torch.device:
    """The torch device of a recipe's word; Ray shows a worker only the GPUs it was given.

    Raises:
        UserError: a GPU is asked for and the process sees none of that number.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    seen = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= seen:
        raise UserError(
            f"{name!r} cannot be used: this process sees {seen} GPUs",
            key="device",
            hint="give workers a GPU (execution.gpus), or set device: auto",
        )
    return device


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The 16-bit type of mixed precision in forward passes; None is float32 throughout.

    `auto` is bf16 on GPUs that compute in it (not those that emulate it), fp16 on others that have
    tensor cores (compute capability 7 or more), and float32 on all else.

    Raises:
        UserError: fp16 is asked for without a GPU.
    """
    if precision == "fp16" and device.type != "cuda":
        raise UserError(
            f"'fp16' cannot be used on the device {device.type!r}: it is for GPUs",
            key="precision",
            hint="set precision: auto, or train on a GPU",
        )
    if precision != "auto":
        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    if device.type != "cuda":
        return None
    with torch.cuda.device(device):  # which is asked about the current one
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        return torch.float16 if torch.cuda.get_device_capability()[0] >= 7 else None


@contextmanager
def cuda_math(device: torch.device, *, tf32: bool, cudnn_benchmark: bool) -> Iterator[None]:
    """How CUDA computes inside, and as before outside; on other devices nothing is changed.

    Args:
        device: of the training.
        tf32: float32 products and convolutions may round their factors to TF32's 10 bits.
        cudnn_benchmark: cuDNN times its algorithms for each new shape and takes the fastest.

    Raises:
        UserError: cuDNN is to be timed in a process that is to be deterministic.
    """
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if cudnn_benchmark and cudnn.deterministic:
        raise UserError(
            "which algorithm is the fastest may differ from run to run",
            key="cudnn_benchmark",
            allowed="false with `execution: {deterministic: true}`",
        )
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    try:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = tf32, tf32, cudnn_benchmark
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


@contextmanager
def isolated(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers that follow from `seed` inside, and the caller's own untouched outside."""
    devices = list(range(torch.cuda.device_count())) if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def reproducible_cudnn(*, wanted: bool) -> Iterator[None]:
    """Whether cuDNN may only take algorithms that give the same result each time, which are slower.

    Inside, and as before outside; where it is not wanted the process has its own way. A CPU's
    results are the same each time anyway.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic
    cudnn.deterministic = wanted or before
    try:
        yield
    finally:
        cudnn.deterministic = before


def prepare_worker(threads: int) -> None:
    """Sets up a process that trains: its threads, and where glibc rules its memory.

    Training frees and asks for the same large tensors in every step. By default glibc hands each
    back to the kernel, which then clears its pages again: keeping them makes channels-last
    training 1.4 to 1.5 times faster at the same peak memory. Elsewhere (macOS, Windows, musl)
    nothing is done about it. Calling it again changes nothing.

    Args:
        threads: that torch may use.
    """
    torch.set_num_threads(max(1, threads))
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        _keep_freed_memory(ctypes.CDLL(None).mallopt)


def seen_gpus() -> int:
    """How many GPUs torch could use here; asking does not begin to."""
    return torch.cuda.device_count()


def uses_gpu() -> bool:
    """Whether this process has used a GPU; asking does not begin to."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def begin_job() -> None:
    """Starts to count the most memory that a job takes on a GPU, if this process has used one."""
    if uses_gpu():
        torch.cuda.reset_peak_memory_stats()


def whereabouts() -> Whereabouts:
    """The machine and device of this process, and the memory that its job took there."""
    node = platform.node()
    if not uses_gpu():
        return Whereabouts(node, _processor())
    try:
        return Whereabouts(
            node,
            torch.cuda.get_device_name(),
            peak_memory=torch.cuda.max_memory_allocated(),
            device_memory=torch.cuda.get_device_properties(0).total_memory,
        )
    except RuntimeError:  # a GPU that has failed answers nothing any more
        return Whereabouts(node, "a GPU that does not answer")


@functools.cache
def _processor() -> str:
    return machine("cpu")


def give_memory_back() -> None:
    """Returns what no tensor holds to the system, so that others may have it."""
    gc.collect()
    if uses_gpu():
        torch.cuda.empty_cache()


def _keep_freed_memory(mallopt: ctypes._NamedFuncPointer) -> None:
    if not mallopt(_MMAP_THRESHOLD, 2**30):
        mallopt(_MMAP_THRESHOLD, _OLD_LIMIT)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_TOP_PAD, 2**28)
    # The arenas of further threads are too small for large tensors: threads that have none yet
    # use the first. Workers train in their main thread, which always does.
    mallopt(_ARENA_MAX, 1)
