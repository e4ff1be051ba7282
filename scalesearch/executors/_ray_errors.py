"""What keeps Ray from starting, from being joined, or from going on, each in one sentence."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scalesearch.errors import UserError, is_interrupt
from scalesearch.text import shortened

ADDRESSES = "local, auto, host:port, ray://host:port"
_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")
_TOKEN = re.compile(r"InvalidAuthToken|Unauthenticated|authentication token|AuthenticationError")
_MEMORY = re.compile(r"[Cc]annot allocate memory|amount of memory on this node|MemoryError")
_SLOW = re.compile(r"[Tt]imed out|raylet failed|[Ff]ailed to start|dead|terminated")


@contextmanager
def ray_installed() -> Iterator[None]:
    """Turns what importing Ray raises into a `UserError`: it is missing, or broken."""
    try:
        yield
    except Exception as error:  # a library that is half installed raises anything
        if is_interrupt(error):
            raise KeyboardInterrupt from error
        raise UserError(
            f"the package ray cannot be imported: {type(error).__name__}: {_first_line(error)}",
            key="executor",
            hint="install it anew (`pip install --force-reinstall ray`), or take "
            "`executor: serial`, which does without",
        ) from error


def start_error(error: BaseException) -> UserError:
    """Why no Ray could be started on this machine."""
    text, number = _all_text(error), getattr(error, "errno", None)
    root = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    elsewhere = "name another one: `RAY_TMPDIR=FOLDER scalesearch …`"
    problem, hint = _first_line(error), "`executor: serial` does without Ray"
    if "AF_UNIX path" in text or number == errno.ENAMETOOLONG:
        problem = f"its folder {root!r} is too long: a socket's path has at most 107 bytes"
        hint = "name a short one: `RAY_TMPDIR=/tmp scalesearch …`"
    elif number in (errno.ENOSPC, errno.EDQUOT):
        problem = f"no space is left on the disk of its folder {root!r}, or in /dev/shm"
        hint = f"free some, or {elsewhere}"
    elif number == errno.EADDRINUSE or "ddress already in use" in text:
        problem = f"a port that it needs is in use ({problem})"
        hint = "end the Ray that has it by `ray stop`, and run the same command again"
    elif number == errno.ENOMEM or isinstance(error, MemoryError) or _MEMORY.search(text):
        problem = f"too little memory is free ({problem})"
        hint = "ask for fewer workers, or end other programs; " + hint
    elif isinstance(error, OSError) and error.filename is not None:
        place = os.fsdecode(error.filename)
        problem, hint = f"{place!r}: {error.strerror}", f"its folder is {root!r}; {elsewhere}"
        # Any other place is the home folder.
        if not (Path(place).is_relative_to(root) or Path(root).is_relative_to(place)):
            hint = (
                "it keeps a token in the home folder: set HOME to one that can be written, or "
                "RAY_AUTH_MODE=disabled"
            )
    elif _SLOW.search(text):
        logs = Path(root) / "ray" / "session_latest" / "logs"
        problem = f"its processes ended or did not answer in time ({problem})"
        hint = f"{logs} says why; " + hint
    return UserError(f"Ray cannot start: {shortened(problem, 400)}", key="executor", hint=hint)


def join_error(address: str, error: BaseException) -> UserError:
    """Why the Ray cluster at an address could not be joined."""
    text = _all_text(error)
    versions = _VERSIONS.findall(text)
    if len(versions) >= 2:
        (their_ray, their_python), (our_ray, our_python) = versions[:2]
        hint = "use the same versions of both on all machines"
        if their_ray == our_ray and their_python.split(".")[:2] == our_python.split(".")[:2]:
            hint += ", or set RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL=minor"
        return UserError(
            f"the Ray cluster at {address!r} runs Ray {their_ray} on Python {their_python}, this "
            f"process Ray {our_ray} on Python {our_python}",
            key="address",
            hint=hint,
        )
    if _TOKEN.search(text):
        return UserError(
            f"the Ray cluster at {address!r} wants its authentication token",
            key="address",
            hint="set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to what `ray get-auth-token` prints "
            "there (or have it in ~/.ray/auth_token)",
        )
    return UserError(
        f"no Ray cluster answers at {address!r}: {_first_line(error)}",
        key="address",
        allowed=ADDRESSES,
        hint="start one with `ray start --head`, or leave address: local",
    )


def send_error(error: BaseException) -> UserError:
    """Why the evaluator and its data set cannot be sent to workers."""
    if type(error).__name__ in ("ObjectStoreFullError", "OutOfDiskError"):
        return UserError(
            f"the data set does not fit into Ray's memory: {_first_line(error)}",
            key="dataset",
            hint="free some of it (`ray memory` shows who has it), or take `executor: serial`",
        )
    return UserError(
        "the data set or the evaluator cannot be sent to workers: "
        f"{type(error).__name__}: {_first_line(error)}",
        hint="a plug-in must be picklable: open files, locks and connections when they are first "
        "used; `executor: serial` sends nothing",
    )


def lost_error(error: BaseException) -> UserError:
    """Why a run cannot go on, where Ray itself failed and not a worker."""
    return UserError(
        f"Ray failed: {type(error).__name__}: {_first_line(error)}",
        hint="every finished trial is recorded: run the same command again to resume",
    )


def _first_line(error: BaseException) -> str:
    """The first line of what an exception says, or its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return shortened(lines[0].strip(), 300) if lines else type(error).__name__


def _all_text(error: BaseException | None) -> str:
    """What an exception and all that led to it say."""
    texts = []
    while error is not None:
        texts.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    return "\n".join(texts)
