"""What a detector costs in closed form: its backbone's blocks in a row, then neck and heads.

A stage that feeds the neck is followed by what its map is to the neck (`neck.tap`). From then on a
forward pass holds that map, and in backward its gradient waits, until the neck's first layer has
used it or made it: the four last fields of `Sums`.
"""

from __future__ import annotations

from functools import reduce

from scalesearch.arch.detector import Detector
from scalesearch.arch.detector_walk import Frame, level_sizes, walk_backbone
from scalesearch.arch.op import Size
from scalesearch.cost.chain import added, first_setting
from scalesearch.cost.cost import Workload
from scalesearch.cost.heads import heads
from scalesearch.cost.memory import Setting
from scalesearch.cost.neck import first_layer, next_layer, tap
from scalesearch.cost.sums import NOTHING, Sums, join, repeat


def detector_sums(net: Detector, size: Size, workload: Workload) -> Sums:
    """The sums of a detector for an image of `size`, with its loss in a training step."""
    frame, sizes = Frame.of(net), level_sizes(net.neck.levels, size)
    sums, setting, narrow = NOTHING, first_setting(net.backbone, workload), list[bool]()
    for parts, of, tapped in walk_backbone(net, size):
        block, setting = added(parts, setting)
        sums = join(sums, block)
        if tapped:
            last = len(narrow) + 1 == len(net.sources)
            block, setting = tap(frame, len(narrow), of, sizes, last, setting)
            sums = join(sums, block)
            narrow.append(of[0] == frame.width)
    last_layers = (net.num_classes * net.anchors.count, 4 * net.anchors.count)
    shape = (net.neck.depth, net.heads.depth, *last_layers)
    return join(sums, ends(frame, shape, tuple(narrow), sizes, setting))


def ends(
    frame: Frame,
    shape: tuple[int, int, int, int],
    narrow: tuple[bool, ...],
    sizes: tuple[Size, ...],
    setting: Setting,
) -> Sums:
    """The sums of neck, heads and loss.

    Args:
        frame: what neck and heads are made of.
        shape: layers of the neck, depth of the heads, channels that class and box head put out.
        narrow: for each map of the backbone whether it is as wide as the neck.
        sizes: of each level.
        setting: of which batches, bytes and padding matter.
    """
    depth, deep, classes, boxes = shape
    plain = Setting(*setting[:5], in_place=False, drop_path=False)
    first, kept = first_layer(frame, narrow, sizes, plain)
    blocks = [first, heads(frame, deep, (classes, boxes), kept, sizes, plain)]
    if depth > 1:
        blocks.insert(1, repeat(next_layer(frame, kept, sizes, plain), depth - 1))
    # Only in the first layer do gradients of the backbone's maps wait.
    return reduce(join, blocks)._replace(rise=first.rise)
