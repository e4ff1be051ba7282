"""What a network costs, by arithmetic over its description: no torch, about 0.1 ms.

Equal to the last unit to what fvcore counts on the built model in evaluation mode: convolutions
and linear layers one for each multiply-add (biases free), batch norm 2 for each value, group norm
5, average pooling 1 for each input value, upsampling 1 for each output value, everything else
nothing.
"""

from __future__ import annotations

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.op import Size
from scalesearch.arch.walk import walk
from scalesearch.cost.chain import added, first_setting
from scalesearch.cost.cost import Cost, Workload
from scalesearch.cost.detector import detector_sums
from scalesearch.cost.sums import Sums, price

_DEFAULT = Workload()


def cost(net: Architecture, *, size: Size | None = None, workload: Workload = _DEFAULT) -> Cost:
    """The cost of a network in closed form.

    Args:
        net: the described network.
        size: height and width of the image; by default its square resolution.
        workload: batches, optimizer and precision that memory is counted for.
    """
    height, width = size or (net.resolution, net.resolution)
    sums = sums_of(net, (height, width), workload)
    return price(sums, net.in_channels * height * width, logits_of(net), workload)


def sums_of(net: Architecture, size: Size, workload: Workload) -> Sums:
    """What the blocks of a network add up to for an image of `size`."""
    if isinstance(net, Detector):
        return detector_sums(net, size, workload)
    return added(walk(net, size), first_setting(net, workload))[0]


def logits_of(net: Architecture) -> int:
    """Outputs of the classifier for one image; a detector, which has none, has 0."""
    return 0 if isinstance(net, Detector) else net.num_classes
