"""A training step with each neck of `search_spaces/necks.yaml`, beside that with `fpn sum`.

What `docs/detection.md` says of step times: here the networks take turns, while the trials of a
study run one after another on a machine that may also do something else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from scalesearch.arch.detector import Detector
from scalesearch.nn.anchors import AnchorBoxes
from scalesearch.nn.build import build
from scalesearch.nn.losses import detection_loss
from scalesearch.nn.matching import match
from scalesearch.spaces.detector import DetectorSpace
from scalesearch.training.depthwise import quick_depthwise
from scalesearch.training.device import prepare_worker
from tests.benchmarks.duels import row, take_turns

SPACE = Path(__file__).parents[2] / "search_spaces" / "necks.yaml"
BATCH, SIDE = 8, 128


def rows(rounds: int = 25) -> list[dict[str, Any]]:
    """The steps of all necks in turn, one thread."""
    prepare_worker(1)
    space = DetectorSpace.load(SPACE)
    nets = {str(point["neck"]): space.decode(point) for point in space.points()}
    times = take_turns({label: step(net) for label, net in nets.items()}, rounds)
    first, *others = nets
    return [
        row(f"training step, {label} (beside {first})", times, label, first, "shown")
        for label in others
    ]


def step(net: Detector) -> Callable[[], object]:
    """Targets, forward, loss, backward and an SGD step."""
    torch.manual_seed(0)
    model = build(net).train().to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, 1, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    boxes = torch.tensor([[16.0, 16.0, 48.0, 48.0], [64.0, 70.0, 84.0, 100.0]])
    labels, crowd = torch.tensor([3, 7]), torch.zeros(2, dtype=torch.bool)
    anchors, optimizer = AnchorBoxes(net), torch.optim.SGD(model.parameters(), lr=1e-6)

    def learn() -> None:
        with quick_depthwise(model):
            matches = [match(anchors(images), boxes, labels, crowd)] * BATCH
            loss = detection_loss(*model(images), matches).total
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return learn
