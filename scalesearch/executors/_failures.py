"""From an exception to the outcome that the record holds: the only place that decides this.

The network's own failures are recorded at once. A failure of the machine is none of a trial until
the same network has met one on several workers.
"""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

from scalesearch.errors import TrialError, UserError, is_out_of_memory
from scalesearch.history.jobs import Failure

# Kinds of failures that a machine may be the cause of, and not the network.
OF_MACHINES = ("machine", "device", "died", "lost")
_LONGEST_TEXT = 1000
# What a GPU says that failed, by its driver or a library on it: its context is of no use any more.
_DEVICE = re.compile(
    r"CUDA error|CUDA driver|cudaError|CUBLAS_STATUS|cuDNN error|CUDNN_STATUS|NCCL|HIP error"
    r"|device-side assert|ECC error|Xid"
)
_WORKER_EXIT = re.compile(r"Worker exit detail: (.*?)(?: Some common causes|$)")
_NODE_LOST = re.compile(r"node (?:has )?died|preempt|raylet (?:has )?died", re.IGNORECASE)
_LIBRARIES = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")})


def failure_of(error: BaseException) -> Failure:
    """The outcome of a job that raised this."""
    kind = _kind(error)
    if isinstance(error, TrialError | UserError):
        return Failure(kind, str(error))
    text = str(error).strip()
    if len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT] + " …"
    named = ": ".join(part for part in (type(error).__name__, text) if part)
    return Failure(kind, named + _location(error))


def failure_of_ray(error: Exception) -> tuple[Failure, bool]:
    """The outcome of a job whose worker answered with this, and whether that worker is lost.

    `RayTaskError` is raised by the job (say by a result that cannot be pickled). All else (a dead
    process or node, a lost object, an actor that does not answer) says that the worker is gone.
    """
    from ray.exceptions import (
        ActorUnavailableError,
        NodeDiedError,
        OutOfMemoryError,
        RayTaskError,
    )

    if isinstance(error, RayTaskError):
        return failure_of(error.cause), False
    text = " ".join(str(error).split())
    if isinstance(error, OutOfMemoryError) or "running low on memory" in text:
        return Failure("memory", "Ray ended the worker as its machine ran low on memory"), True
    if isinstance(error, NodeDiedError | ActorUnavailableError) or _NODE_LOST.search(text):
        return Failure("lost", f"its node went away: {text[:_LONGEST_TEXT]}"), True
    detail = _WORKER_EXIT.search(text)  # the core of Ray's long message
    return Failure("died", f"the worker died: {detail[1] if detail else text}"), True


def timeout_failure(limit: float) -> Failure:
    """The outcome of a trial that took longer than so many seconds."""
    return Failure("timeout", f"took longer than its deadline of {limit:g} s")


def _kind(error: BaseException) -> str:
    """Whose fault it is: an error of a trial or a user may stand for one of the machine."""
    if isinstance(error, TrialError | UserError):
        own = "error" if isinstance(error, TrialError) else "user"
        cause = error.__cause__
        failing = isinstance(cause, OSError) and cause.errno is not None
        return _kind(cause) if cause is not None and (failing or is_out_of_memory(cause)) else own
    if any(map(is_out_of_memory, _chain(error))):
        return "memory"
    if any(map(_is_device, _chain(error))):
        return "device"
    return "machine" if any(isinstance(each, OSError) for each in _chain(error)) else "error"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that it was raised from, the outermost first."""
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__


def _is_device(error: BaseException) -> bool:
    if any(kind.__name__ == "AcceleratorError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and _DEVICE.search(str(error)) is not None


def _location(error: BaseException) -> str:
    """` (folder/file.py:12)` of the innermost line outside of libraries and executors, or ''."""
    executors = Path(__file__).parent
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        path = Path(frame.f_code.co_filename)
        library = "scalesearch" not in str(path) and str(path).startswith(_LIBRARIES)
        if path.parent != executors and not library:
            return f" ({'/'.join(path.parts[-2:])}:{line})"
    return ""
