"""The IDX format of MNIST and its relatives, gzipped or not."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from scalesearch.errors import UserError

_BYTES = 0x08  # the only type of value that these data sets use


def find(folder: Path, name: str) -> Path | None:
    """The file `name` or `name`.gz in a folder."""
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def read(path: Path) -> np.ndarray:
    """The uint8 array of an IDX file: two zero bytes, the type, the number of sizes, sizes, values.

    Raises:
        UserError: the file is damaged or of another format.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error}", hint="fetch the file again") from error
    if len(raw) < 4 or raw[:3] != bytes((0, 0, _BYTES)):
        raise UserError(f"{path} is no IDX file of bytes", hint="fetch the file again")
    start = 4 + 4 * raw[3]
    whole = len(raw) >= start
    sizes = np.frombuffer(raw, dtype=">u4", count=raw[3], offset=4).tolist() if whole else []
    if not whole or len(raw) - start != math.prod(sizes):
        raise UserError(f"{path} is cut short", hint="fetch the file again")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(sizes)
