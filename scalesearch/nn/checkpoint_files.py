"""What a file of weights holds: its content decides how it is read, never its ending.

No code in a file is run, and reading takes memory in proportion to its size: a zip archive that
unpacks to far more than it weighs is refused.
"""

from __future__ import annotations

import itertools
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from scalesearch.errors import UserError, nearest
from scalesearch.nn.foreign_files import described
from scalesearch.nn.harmless_pickles import harmless
from scalesearch.text import shortened

_AGAIN = "it is cut short or damaged: copy or download it again"
_STATE_ALONE = (
    "in the program that wrote it, save the weights alone: torch.save(model.state_dict(), FILE)"
)
_HEAD = 4096  # bytes from which a file is recognised
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # a pickle of torch's own magic number
_HEADER = 8  # bytes that say how long the header of a safetensors file is
_GROWTH, _SLACK = 20, 1 << 20  # torch.save does not compress; some programs pack its files again
_TABLE = 64 << 20  # bytes of the pickle that names the tensors; each may become an object of 64
_GLOBAL = re.compile(r"GLOBAL (\S+)")


def read_checkpoint(path: Path) -> object:
    """The content of a file of safetensors or of `torch.save` (also of before 1.6), on the CPU.

    Raises:
        UserError: no such file, one that is cut short or damaged, of another kind, or with objects
            of classes beside its tensors.
    """
    try:
        size = _size(path)
        with path.open("rb") as file:
            head = file.read(_HEAD)
            kind = _kind(head, size)
            if kind == "zip":
                _check_archive(file, path, size)
            if kind in ("zip", "legacy"):
                file.seek(0)  # the file and not its path: torch.load looks at a path's ending
                with torch.serialization.safe_globals(harmless()):
                    return torch.load(file, map_location="cpu", weights_only=True)
        if kind == "safetensors":
            return load_file(path)
        problem, hint = described(head, path)
        raise UserError(problem, file=str(path), hint=hint)
    except UserError:
        raise
    except MemoryError as error:
        raise UserError("does not fit into memory", file=str(path), hint=_STATE_ALONE) from error
    # A damaged pickle is a sequence of wrong instructions, which may fail in any way.
    except Exception as error:
        raise _explained(error, path) from error


def _size(path: Path) -> int:
    if path.is_dir():
        inside = next((f"name a file in it: {p}" for p in sorted(path.iterdir()) if _usual(p)), "")
        raise UserError("is a folder, not a file of weights", file=str(path), hint=inside)
    if not path.is_file():
        if path.exists():
            raise UserError("is no regular file", file=str(path))
        raise UserError("there is no such file", file=str(path), hint=_way_to_file(path))
    return path.stat().st_size


def _way_to_file(path: Path) -> str:
    if {"http:", "https:"} & {*path.parts}:
        return "addresses are not read: download it first"
    names = (p.name for p in path.parent.iterdir()) if path.parent.is_dir() else ()
    return nearest(path.name, itertools.islice(names, 1000))


def _usual(path: Path) -> bool:
    return path.suffix.lower() in (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")


def _kind(head: bytes, size: int) -> str:
    """`zip`, `legacy` or `safetensors`; an empty word for anything else."""
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(_LEGACY[: max(len(head), 1)]) and head:
        return "legacy"
    length = int.from_bytes(head[:_HEADER], "little")
    if head[_HEADER : _HEADER + 1] == b"{" and 0 < length <= max(size, 100 << 20):
        return "safetensors"
    return ""


def _check_archive(file: BinaryIO, path: Path, size: int) -> None:
    """Raises `UserError` unless a zip archive is one of torch's, undamaged and not inflated."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            last = {name.rpartition("/")[2] for name in names}
            if "constants.pkl" in last:
                raise UserError(
                    "is a TorchScript program, not weights",
                    file=str(path),
                    hint="save its weights: torch.save(torch.jit.load(FILE).state_dict(), OTHER)",
                )
            if "archive_format" in last or "serialized_exported_program.json" in last:
                raise UserError(
                    "is a program of torch.export, not weights",
                    file=str(path),
                    hint="save its weights: torch.save(torch.export.load(FILE).state_dict, OTHER)",
                )
            if "data.pkl" not in last:
                raise UserError(
                    f"is a zip archive without weights of torch.save; {_holding(names)}",
                    file=str(path),
                    hint=_way_out_of_zip(last),
                )
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > _GROWTH * size + _SLACK:
                raise UserError(
                    f"would unpack from {size:,} to {unpacked:,} bytes, which no weights do",
                    file=str(path),
                    hint="take it from where it was published, and do not compress it",
                )
            if (table := max(e.file_size for e in entries if e.filename.endswith(".pkl"))) > _TABLE:
                raise UserError(
                    f"describes its tensors in {table:,} bytes, which no weights need",
                    file=str(path),
                    hint=_STATE_ALONE,
                )
            if damaged := _damaged(archive):
                raise UserError(
                    f"the checksum of {shortened(damaged)!r} in it is wrong",
                    file=str(path),
                    hint=_AGAIN,
                )
    except zipfile.BadZipFile as error:
        reason = "is a zip archive without its end" if size < 1 << 40 else str(error)
        raise UserError(reason, file=str(path), hint=_AGAIN) from error


def _damaged(archive: zipfile.ZipFile) -> str:
    """The first record with a wrong checksum, if it is damaged: torch does not look at them.

    torch can save without checksums; then none is right, not even that of the version.
    """
    first = archive.testzip()
    if first is None:
        return ""
    whole = 0
    for entry in archive.infolist():
        if entry.file_size > 1 << 16:
            continue
        try:
            archive.read(entry)
            whole += entry.file_size > 0
        except zipfile.BadZipFile:
            pass
    return first if whole else ""


def _holding(names: list[str]) -> str:
    if not names:
        return "it is empty"
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"it holds {shortened(names[0], 80)!r}{more}"


def _way_out_of_zip(last: set[str]) -> str:
    if any(name.endswith((".h5", ".keras")) for name in last):
        return "it is one of Keras: weights of TensorFlow are not read"
    if any(name.endswith(".npy") for name in last):
        return "it is one of NumPy: save a state dict with torch.save or safetensors"
    if any(_usual(Path(name)) for name in last):
        return "unpack it and name the file in it"
    return "name a file of safetensors or of torch.save(model.state_dict(), FILE)"


def _explained(error: Exception, path: Path) -> UserError:
    """What a library could not read, in one sentence."""
    file, text = str(path), str(error)
    if isinstance(error, OSError):
        reason = os.strerror(error.errno) if error.errno else text.partition("\n")[0]
        return UserError(f"cannot be read: {reason}", file=file)
    if isinstance(error, pickle.UnpicklingError) and (match := _GLOBAL.search(text)):
        return UserError(
            f"holds more than tensors: a pickled {shortened(match[1])}, which is not loaded",
            file=file,
            hint=_STATE_ALONE,
        )
    if "not enough memory" in text or "can't allocate memory" in text:
        return UserError("asks for more memory than there is", file=file, hint=_AGAIN)
    about = ""
    if isinstance(error, SafetensorError):
        reason = text.partition("\n")[0].removeprefix("Error while deserializing header: ")
        about = f" ({shortened(reason, 120)})"
    return UserError(f"cannot be read{about}", file=file, hint=_AGAIN)
