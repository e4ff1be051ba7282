"""From an exception to the outcome that the record holds: the only place that decides this."""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path

from scalesearch.errors import TrialError, UserError
from scalesearch.history.jobs import Failure

_LONGEST_TEXT = 1000
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
_WORKER_EXIT = re.compile(r"Worker exit detail: (.*?)(?: Some common causes|$)")
_LIBRARIES = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")})


def failure_of(error: BaseException) -> Failure:
    """The outcome of a job that raised this."""
    if isinstance(error, TrialError):
        return Failure("error", str(error))
    if isinstance(error, UserError):
        return Failure("user", str(error))
    text = str(error).strip()
    if len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT] + " …"
    reason = ": ".join(part for part in (type(error).__name__, text) if part) + _location(error)
    return Failure("memory" if _is_out_of_memory(error) else "error", reason)


def failure_of_ray(error: Exception) -> tuple[Failure, bool]:
    """The outcome of a job whose worker answered with this, and whether that worker is lost.

    `RayTaskError` is raised by the job (say by a result that cannot be pickled): a retry would
    raise it again. All else (a dead process or node, a lost object) says that the worker is gone.
    """
    from ray.exceptions import OutOfMemoryError, RayTaskError

    if isinstance(error, RayTaskError):
        return failure_of(error.cause), False
    text = " ".join(str(error).split())
    if isinstance(error, OutOfMemoryError) or "running low on memory" in text:
        return Failure("memory", "Ray ended the worker as its machine ran low on memory"), True
    detail = _WORKER_EXIT.search(text)  # the core of Ray's long message
    return Failure("died", f"the worker died: {detail[1] if detail else text}"), True


def timeout_failure(limit: float) -> Failure:
    """The outcome of a trial that took longer than so many seconds."""
    return Failure("timeout", f"took longer than its deadline of {limit:g} s")


def _is_out_of_memory(error: BaseException) -> bool:
    # By name, as torch and Ray have an OutOfMemoryError each and neither is imported for this.
    if any(kind.__name__ in ("MemoryError", "OutOfMemoryError") for kind in type(error).__mro__):
        return True
    text = str(error).lower()
    return isinstance(error, (RuntimeError, OSError)) and any(w in text for w in _OUT_OF_MEMORY)


def _location(error: BaseException) -> str:
    """` (folder/file.py:12)` of the innermost line outside of libraries and executors, or ''."""
    executors = Path(__file__).parent
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        path = Path(frame.f_code.co_filename)
        library = "scalesearch" not in str(path) and str(path).startswith(_LIBRARIES)
        if path.parent != executors and not library:
            return f" ({'/'.join(path.parts[-2:])}:{line})"
    return ""
