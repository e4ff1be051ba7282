from __future__ import annotations

import pytest
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, RayTaskError

from scalesearch.errors import TrialError, UserError
from scalesearch.executors._failures import failure_of, failure_of_ray, timeout_failure
from scalesearch.history.jobs import Failure

# Found by its name, as torch is not imported to look for it.
TorchOutOfMemory = type("OutOfMemoryError", (RuntimeError,), {})


def test_kinds_of_failure():
    kinds = {
        MemoryError(): "memory",
        TorchOutOfMemory("Tried to allocate 2.00 GiB"): "memory",
        RuntimeError("CUDA out of memory."): "memory",
        RuntimeError("DefaultCPUAllocator: can't allocate memory"): "memory",
        OSError(12, "Cannot allocate memory"): "memory",
        ValueError("out of memory"): "error",
        RuntimeError("shape mismatch"): "error",
        TrialError("loss is nan"): "error",
        UserError("no data"): "user",
    }
    assert {error: failure_of(error).kind for error in kinds} == kinds


def test_torch_reports_missing_memory_in_a_way_that_is_known():
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**55, dtype=torch.uint8)
    assert failure_of(raised.value).kind == "memory"


def test_reasons_are_short_and_name_the_line():
    assert failure_of(TrialError("loss is nan")).reason == "loss is nan"
    assert failure_of(MemoryError()).reason == "MemoryError"
    assert len(failure_of(ValueError("x" * 5000)).reason) < 1100
    try:
        int("three")
    except ValueError as error:
        reason = failure_of(error).reason
    assert reason.startswith("ValueError: invalid literal for int() with base 10: 'three' (exec")
    assert timeout_failure(90.0) == Failure("timeout", "took longer than its deadline of 90 s")


def test_exceptions_of_ray():
    text = """The actor died unexpectedly before finishing this task.
        class_name: Worker
    The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker
    exit detail: Worker unexpectedly exits with a connection error code 2. End of file. Some common
    causes include: (1) the process was killed by the OOM killer by high memory usage, ..."""
    core = "the worker died: Worker unexpectedly exits with a connection error code 2. End of file."
    assert failure_of_ray(RuntimeError(text)) == (Failure("died", core), True)
    low = "2 workers were killed due to the node running low on memory."
    cases = {
        RayActorError(): ("died", True),
        NodeDiedError("the node is gone"): ("lost", True),
        OutOfMemoryError(low): ("memory", True),
        RayTaskError("step", "", TypeError("cannot pickle")): ("error", False),
    }
    found = {error: failure_of_ray(error) for error in cases}
    assert {error: (failure.kind, lost) for error, (failure, lost) in found.items()} == cases


def raised_from(error, cause):
    """An exception with a cause, as `raise error from cause` gives it."""
    error.__cause__ = cause
    return error


class AcceleratorError(RuntimeError):
    """Of that name in torch."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TrialError("loss is nan in epoch 2"), "error"),
        (ValueError("no such layer"), "error"),
        (OSError(5, "Input/output error"), "machine"),
        (FileNotFoundError(2, "No such file", "/data/a.png"), "machine"),
        (OSError(28, "No space left on device"), "machine"),
        (ConnectionResetError("peer"), "machine"),
        (OSError(12, "Cannot allocate memory"), "memory"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "device"),
        (RuntimeError("CUDA error: device-side assert triggered"), "device"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "device"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "device"),
        (AcceleratorError("an illegal instruction was encountered"), "device"),
        (RuntimeError("CUDA error: out of memory"), "memory"),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling it"),
            "memory",
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "memory"),
        (RuntimeError("shape mismatch"), "error"),
        (raised_from(TrialError("cannot decode a.png"), OSError(5, "I/O")), "machine"),
        (raised_from(TrialError("cannot decode a.png"), MemoryError()), "memory"),
        (raised_from(TrialError("cannot decode a.png"), OSError("truncated")), "error"),
        (raised_from(UserError("cannot read w.pt"), OSError(116, "Stale file")), "machine"),
        (raised_from(UserError("cannot read w.pt"), KeyError("a")), "user"),
        (raised_from(RuntimeError("loader failed"), OSError(5, "I/O")), "machine"),
        (raised_from(ValueError("it"), RuntimeError("CUDA error: unknown error")), "device"),
    ],
)
def test_whose_fault_a_failure_is(error, kind):
    assert failure_of(error).kind == kind
