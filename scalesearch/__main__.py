"""`python -m scalesearch`, and the command `scalesearch`: the command line."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

# An exception out of Python code that their C++ calls while they are imported aborts the process.
_NOT_TO_BE_LEFT_HALF_IMPORTED = ("torch", "torchvision", "ray")


def main() -> None:
    """Runs the command line; an interrupt ends it in one line, while it is imported as well."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _unraisable
    try:
        from scalesearch.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)  # the shell's code for Ctrl-C


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        library = frame.f_globals.get("__name__", "").partition(".")[0]
        if frame.f_code.co_name == "<module>" and library in _NOT_TO_BE_LEFT_HALF_IMPORTED:
            _interrupt_again(after=0.1)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    """Repeats an interrupt that came where Python cannot raise: in a destructor or a callback."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        _interrupt_again(after=0.02)  # once the callback has ended
    else:
        sys.__unraisablehook__(lost)


def _interrupt_again(after: float) -> None:
    if sys.platform == "win32":
        again = threading.Timer(after, _thread.interrupt_main)
    else:  # a signal, which wakes the main thread out of a system call
        main_thread = threading.main_thread().ident or 0
        again = threading.Timer(after, signal.pthread_kill, (main_thread, signal.SIGINT))
    again.daemon = True
    again.start()


if __name__ == "__main__":
    # Python puts the current folder first, where a `yaml.py` hides the real one. The command
    # `scalesearch` does not; `plugins.py` adds it, last.
    if sys.path and not sys.flags.safe_path and Path(sys.path[0]) == Path.cwd():
        sys.path.append(sys.path.pop(0))
    main()
