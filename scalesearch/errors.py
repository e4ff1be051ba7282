"""What can go wrong by a user's doing, and what can go wrong inside one trial."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from scalesearch.text import shortened


class UserError(ValueError):
    """A mistake the user can mend: one message; the command line prints it and exits with code 2.

    Args:
        problem: what is wrong, in one sentence that holds the offending value.
        key: dotted path of the setting, such as `stages[2].kernel`.
        allowed: what would have been right.
        hint: the next step.
        file, line: where the setting was read from.
    """

    def __init__(
        self,
        problem: str,
        *,
        key: str = "",
        allowed: str = "",
        hint: str = "",
        file: str = "",
        line: int = 0,
    ) -> None:
        # A value may be as long as a file: no message repeats it.
        self.problem, self.allowed = shortened(problem, 1200), shortened(allowed, 1200)
        self.key, self.hint = shortened(key), hint
        self.file, self.line = file, line
        super().__init__(str(self))

    def __str__(self) -> str:
        position = self.file + (f":{self.line}" if self.file and self.line else "")
        head = ": ".join(part for part in (position, self.key, self.problem) if part)
        tail = [f"allowed: {self.allowed}"] if self.allowed else []
        return "\n  ".join([head, *tail, *([self.hint] if self.hint else [])])

    def moved(self, key: str) -> UserError:
        """The same mistake at another key."""
        return UserError(
            self.problem,
            key=key,
            allowed=self.allowed,
            hint=self.hint,
            file=self.file,
            line=self.line,
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.problem, self.key, self.allowed, self.hint, self.file, self.line)

    def at(self, *, file: str = "", line: int = 0, under: str = "") -> UserError:
        """The same mistake, placed in a file and below a key; what is already known stays."""
        joint = "" if not (under and self.key) or self.key.startswith("[") else "."
        return UserError(
            self.problem,
            key=f"{under}{joint}{self.key}",
            allowed=self.allowed,
            hint=self.hint,
            file=self.file or file,
            line=self.line or line,
        )


def _rebuild(problem: str, key: str, allowed: str, hint: str, file: str, line: int) -> UserError:
    return UserError(problem, key=key, allowed=allowed, hint=hint, file=file, line=line)


_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "cublas_status_alloc_failed",  # a library that finds no memory on a GPU for its workspace
    "cudnn_status_alloc_failed",
)


class TrialError(RuntimeError):
    """One trial cannot be scored; the text is recorded as its reason and the study goes on."""


def nearest(word: str, words: Iterable[str]) -> str:
    """`did you mean 'kernel'?` for a misspelt word, or an empty string when nothing is close."""
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, of the machine or of a GPU."""
    # By name, as torch and Ray have an OutOfMemoryError each and neither is imported for this.
    if any(kind.__name__ in ("MemoryError", "OutOfMemoryError") for kind in type(error).__mro__):
        return True
    text = str(error).lower()
    return isinstance(error, (RuntimeError, OSError)) and any(w in text for w in _OUT_OF_MEMORY)


def is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an exception: what is interrupted may raise another one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
