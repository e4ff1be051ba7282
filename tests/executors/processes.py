"""Whether processes are still there."""

from __future__ import annotations

import time
from pathlib import Path


def gone(pids: list[int]) -> bool:
    """Whether these processes end within a few seconds."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and any(map(_alive, pids)):
        time.sleep(0.05)
    return not any(map(_alive, pids))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
