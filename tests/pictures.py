"""Small pictures for tests of data sets: each seed another one."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

from scalesearch.datasets._pixels import read_view
from scalesearch.view import View


def noise(seed, size=(20, 24), mode="RGB"):
    """A picture of noise, height and width in `size`."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    shape = size if channels == 1 else (*size, channels)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8), mode)


def save(file, seed, **options):
    """A picture of noise in a file, whose folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise(seed).save(file, **options)
    return file


def classes(root, names=("cat", "dog"), count=4, suffix=".png", seed=0):
    """A folder for each class, with pictures that all differ."""
    for label, name in enumerate(names):
        for number in range(count):
            save(root / name / f"{number}{suffix}", seed + 1000 * label + number)
    return root


def deep_png(values):
    """A PNG of 16 bits a channel, uint16 [H, W, 3], which Pillow cannot write."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def read_square(path, side, reading):
    """All of an image file's square as uint8 [side, side, channels]."""
    return read_view(path, 0, View(side), reading).permute(1, 2, 0).numpy()
