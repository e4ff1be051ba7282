"""Where files are kept that only save time: all of them may be deleted."""

from __future__ import annotations

import os
from pathlib import Path

from scalesearch.errors import UserError


def cache_folder() -> Path:
    """`$SCALESEARCH_CACHE`; else `scalesearch` in `$XDG_CACHE_HOME` or in `~/.cache`.

    Raises:
        UserError: the user has no home.
    """
    if own := os.environ.get("SCALESEARCH_CACHE"):
        return Path(own)
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if shared.is_absolute():  # as the standard has it: other values count as none
        return shared / "scalesearch"
    try:
        return Path.home() / ".cache" / "scalesearch"
    except RuntimeError as error:
        raise UserError(
            "there is no home folder", hint="set SCALESEARCH_CACHE to a folder for the cache"
        ) from error
