"""Files that are given as weights and are something else, recognised by how they begin."""

from __future__ import annotations

from pathlib import Path

from scalesearch.text import shortened

_WANTED = "name a file of safetensors or of torch.save(model.state_dict(), FILE)"
_TENSORFLOW = "weights of TensorFlow and Keras are not read; timm has many of them for PyTorch"
_ONNX = "export the weights where the network was made: torch.save(model.state_dict(), FILE)"

# How files begin, from which byte on, what they are, and the next step.
_KNOWN: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x1f\x8b", "is compressed with gzip", "unpack it with `gunzip` or `tar -xzf`"),
    (0, b"BZh", "is compressed with bzip2", "unpack it with `bunzip2` or `tar -xjf`"),
    (0, b"\xfd7zXZ\x00", "is compressed with xz", "unpack it with `unxz` or `tar -xJf`"),
    (0, b"\x28\xb5\x2f\xfd", "is compressed with Zstandard", "unpack it with `unzstd`"),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7z archive", "unpack it and name the file in it"),
    (0, b"Rar!", "is a RAR archive", "unpack it and name the file in it"),
    (257, b"ustar", "is a tar archive", "unpack it with `tar -xf` and name the file in it"),
    (0, b"PK\x05\x06", "is an empty zip archive", _WANTED),
    (0, b"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras writes them", _TENSORFLOW),
    (4, b"TFL3", "is a network of TensorFlow Lite", _TENSORFLOW),
    (0, b"\x93NUMPY", "is an array of NumPy", _WANTED),
    (0, b"GGUF", "is a GGUF file", _WANTED),
    (4, b"PTMF", "is a program of PyTorch Mobile", _ONNX),
    (
        0,
        b"version https://git-lfs",
        "is a pointer of Git LFS to the file, not the file",
        "fetch it with `git lfs pull`",
    ),
)
_SUFFIXES = {
    ".onnx": ("is a network of ONNX", _ONNX),
    ".pb": ("is a graph of TensorFlow", _TENSORFLOW),
    ".h5": ("is no HDF5 file, though it is named as one", _WANTED),
    ".index": ("is a part of a checkpoint of TensorFlow", _TENSORFLOW),
}


def described(head: bytes, path: Path) -> tuple[str, str]:
    """What a file that begins so is, and the next step."""
    if not head:
        return "is empty", "copy or download it again"
    for start, magic, what, hint in _KNOWN:
        if head[start:].startswith(magic):
            return what, hint
    if not head.strip(b"\0"):
        return (
            "holds nothing but zeros where weights begin",
            "its download did not end: get it again",
        )
    if (text := _text(head)) is not None:
        return _described_text(text)
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    if ".data-0" in path.name or b"tensorflow" in head:
        return "is a part of a checkpoint of TensorFlow", _TENSORFLOW
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "is a pickle that torch.save did not write", _WANTED
    return "is no file of safetensors or of torch.save, or its beginning is damaged", _WANTED


def _text(head: bytes) -> str | None:
    """The beginning as text; None if it is none."""
    for encoding in ("utf-8-sig", "utf-16"):
        if encoding == "utf-16" and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            continue
        try:
            # A character may be cut at the end of what was read.
            text = head[: len(head) - len(head) % 2].decode(encoding, "ignore")
        except UnicodeError:
            continue
        lost = len(head) - len(text.encode("utf-8")) > 8 and encoding != "utf-16"
        if not lost and all(c.isprintable() or c.isspace() for c in text):
            return text.strip()
    return None


def _described_text(text: str) -> tuple[str, str]:
    lower = text.lower()
    if lower.startswith(("<!doctype html", "<html", "<head")):
        hint = "a download gave a page about the file: take the link of the file itself"
        return "is a page of HTML, not weights", hint
    if '"weight_map"' in text:
        return (
            "is the index of weights in several files",
            "save them into one file: torch.save(model.state_dict(), FILE)",
        )
    if lower.startswith("model_checkpoint_path"):
        return "names a checkpoint of TensorFlow", _TENSORFLOW
    line = next(iter(text.splitlines()), "")
    return f"is a text that begins with {shortened(line, 60)!r}, not weights", _WANTED
