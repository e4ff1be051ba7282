"""The layers of neck and heads on a tape, in the words and order of `nn/pyramid.py`."""

from __future__ import annotations

from collections.abc import Sequence

from scalesearch.arch.detector_walk import Frame
from scalesearch.arch.op import Size
from scalesearch.cost.memory import COPY, FULL, INDEX, Setting
from scalesearch.cost.tape import Tape


class Recorder:
    """Writes what runs on a tape, for a training step or for a forward pass without gradients.

    Attributes:
        tape: what was written.
        weights: bytes of the gradients of all weights.
        copies: bytes of the weights in low precision under autocast.
    """

    def __init__(self, frame: Frame, setting: Setting, *, train: bool) -> None:
        self.frame, self.setting, self.train = frame, setting, train
        self.batch = setting.training_batch if train else setting.inference_batch
        self.unit = self.batch * setting.value_bytes
        self.tape, self.weights, self.copies = Tape(), 0, 0

    def map(self, size: Size, *, counted: bool = True) -> int:
        """A feature map that is there before, whose bytes may be counted elsewhere."""
        values = self.bytes(self.frame.width, size)
        return self.tape.tensor(values if counted else 0, values)

    def weight(self, count: int, *, copied: bool = True) -> int:
        """Learnable parameters, of which autocast makes a copy where they are a convolution's."""
        self.weights += FULL * count
        if copied and self.setting.value_bytes < FULL:
            self.copies += COPY * count
        return self.tape.tensor(0, FULL * count)

    def separable(self, outputs: int, *, bias: bool) -> tuple[int, int]:
        """The weights of a depthwise and a 1x1 convolution."""
        width = self.frame.width
        return self.weight(9 * width), self.weight(outputs * (width + bias))

    def convolved(self, x: int, weights: tuple[int, int], outputs: int, size: Size) -> int:
        """A separable convolution; `x` stays."""
        deep = self.conv(x, weights[0], self.frame.width, size)
        out = self.conv(deep, weights[1], outputs, size)
        self.tape.free(deep)
        return out

    def normed(self, x: int, size: Size, *, counted: bool = True) -> int:
        """A norm in place of what it takes, with weights that may be counted elsewhere."""
        frame = self.frame
        weights = (self.weight(2 * frame.width, copied=False),) if counted else ()
        # Of each channel, or of each group of each image, the mean and the deviation.
        several = self.batch * frame.norm_groups if frame.norm_groups else frame.width
        about = {"saves": (x,), "extra": 2 * FULL * several}
        made = self.tape.make((x, *weights), self.bytes(frame.width, size), **about)
        self.tape.free(x)
        return made

    def active(self, x: int) -> int:
        """The activation in place of what it takes."""
        if not self.train:
            return x
        values = self.tape.sizes[x]
        if self.frame.activation == "relu":
            return self.tape.work((x,), x, saves=(x,), back=values)
        made = self.tape.make((x,), values, saves=(x,))
        self.tape.free(x)
        return made

    def projected(self, x: int, size: Size) -> int:
        """A map of the backbone at the width of the neck; both are counted where it was made."""
        made = self.tape.make((x,), self.bytes(self.frame.width, size))
        return self.normed(made, size, counted=False)

    def resized(self, x: int, before: Size, after: Size) -> int:
        """A map at the size of another level; `x` stays, and may be what comes out."""
        if before == after:
            return x
        if before[0] <= after[0] and before[1] <= after[1]:
            return self.tape.make((x,), self.bytes(self.frame.width, after))
        return self._pooled(x, before, after)

    def fused(self, maps: Sequence[int], size: Size) -> int:
        """The sum of maps of one size, which stay."""
        tape, full, several = self.tape, self.bytes(self.frame.width, size), len(maps)
        if not self.frame.learnt:
            total = tape.make(maps[:2], full, passes=True)
            for other in maps[2:]:
                tape.work((total, other), total, passes=True)
            return total
        # The gradient of a share is a sum over a product as large as the map.
        shares = self.weight(several, copied=False)
        total = tape.make((maps[0], shares), full, saves=(maps[0],), back=full)
        for other in maps[1:]:
            tape.work((total, other), total, saves=(other,), back=full)
        return total

    def bytes(self, width: int, size: Size) -> int:
        """Of `width` channels of `size`, for all images."""
        return self.unit * width * size[0] * size[1]

    def conv(self, x: int, weight: int, outputs: int, size: Size) -> int:
        """A convolution; `x` stays."""
        return self.tape.make((x, weight), self.bytes(outputs, size), saves=(x,))

    def _pooled(self, x: int, before: Size, after: Size) -> int:
        width, out = self.frame.width, self.bytes(self.frame.width, after)
        places = INDEX * self.batch * width * after[0] * after[1]
        about = {"extra": places, "temp": 0 if self.train else places}
        if not self.setting.same:
            return self.tape.make((x,), out, saves=(x,), **about)
        strides = [-(-side // wanted) for side, wanted in zip(before, after, strict=True)]
        rows, columns = (
            (wanted - 1) * stride + (stride + 1 if stride > 1 else 1)
            for wanted, stride in zip(after, strides, strict=True)
        )
        padded = self.tape.make((x,), self.bytes(width, (rows, columns)))
        made = self.tape.make((padded,), out, saves=(padded,), **about)
        self.tape.free(padded)
        return made
