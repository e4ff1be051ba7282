"""EfficientDet on the CPU beside effdet's with the same weights: forward, step, fusion, selection.

Everything runs with two threads, channels last for both, and with the allocator as our workers set
it, which both sides gain from; a last row shows D0 without that (glibc then hands large tensors
back to the kernel, which costs both sides more than what they differ in).
`python -m tests.benchmarks detectors` from the repository prints the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from scalesearch.arch.detector import Detector
from scalesearch.arch.neck import FUSIONS
from scalesearch.arch.published import published
from scalesearch.nn.anchors import AnchorBoxes
from scalesearch.nn.build import build
from scalesearch.nn.losses import detection_loss
from scalesearch.nn.matching import match
from scalesearch.nn.postprocess import Letterbox, detect
from scalesearch.nn.weights import load_weights
from scalesearch.training.depthwise import quick_depthwise
from scalesearch.training.device import prepare_worker
from tests.benchmarks.duels import row, take_turns
from tests.effdets import config, effdet, effdet_bench, swapped

THREADS = 2
FORWARD, STEP, SHARE = 1.1, 1.0, 10
SIZES = {"efficientdet_d0": 512, "efficientdet_d1": 640}
STEP_SIDE, STEP_BATCH, OBJECTS = 256, 2, 7
LAST = torch.channels_last


def rows(rounds: int = 9) -> list[dict[str, Any]]:
    """As listed above; first what needs the allocator as it is."""
    torch.set_num_threads(THREADS)
    plain = list(forwards("efficientdet_d0", rounds, ", default allocator", "shown"))
    prepare_worker(THREADS)
    goal = f"at least {FORWARD} times as fast"
    found = [made for name in SIZES for made in forwards(name, rounds, "", goal)]
    return [*found, step(rounds), *fusions(rounds), *selections(rounds), *plain]


def forwards(name: str, rounds: int, note: str, goal: str) -> Iterator[dict[str, Any]]:
    """A forward pass of the official detector and of effdet's own, which pads both sides alike."""
    side, net = SIZES[name], published(name)
    own = replace(net, backbone=replace(net.backbone, padding="symmetric"), norm_bias=False)
    for peer, ours in ((f"tf_{name}", net), (name, own)):
        pair = [model.eval() for model in _pair(ours, peer, side)]
        for batch in (1, 4):
            images = _images(batch, side)
            ways = dict(zip(("ours", "peer"), (_look(m, images) for m in pair), strict=True))
            label = f"{peer} at {side} px, batch {batch}{note} (beside effdet's)"
            yield row(label, take_turns(ways, rounds), "ours", "peer", goal)


def step(rounds: int) -> dict[str, Any]:
    """Targets, forward, loss, backward and an SGD step."""
    net = published("efficientdet_d0", resolution=STEP_SIDE)
    ours, theirs = (model.train() for model in _pair(net, "tf_efficientdet_d0", STEP_SIDE))
    images, (boxes, labels) = _images(STEP_BATCH, STEP_SIDE), _objects()
    anchors, bench = AnchorBoxes(net), effdet_bench.DetBenchTrain(theirs)
    crowd = torch.zeros(OBJECTS, dtype=torch.bool)
    targets = {"bbox": swapped(boxes), "cls": labels + 1}

    def loss() -> torch.Tensor:
        logits, codes = ours(images)
        objects = zip(boxes, labels, strict=True)
        matches = [match(anchors(images), box, label, crowd) for box, label in objects]
        return detection_loss(logits, codes, matches).total

    ways = {
        "ours": _learn(ours, loss),
        "peer": _learn(theirs, lambda: bench(images, targets)["loss"]),
    }
    name = f"D0 training step at {STEP_SIDE} px, batch {STEP_BATCH} (beside effdet's)"
    with quick_depthwise(ours):
        times = take_turns(ways, rounds)
    return row(name, times, "ours", "peer", f"at least {STEP} times as fast")


def fusions(rounds: int) -> Iterator[dict[str, Any]]:
    """Fast fusion beside the other three in a forward pass of D0."""
    net, images = published("efficientdet_d0"), _images(1, 512)
    models = {
        kind: _last(build(replace(net, neck=replace(net.neck, fusion=kind)))).eval()
        for kind in FUSIONS
    }
    times = take_turns({kind: _look(model, images) for kind, model in models.items()}, rounds)
    for kind in FUSIONS:
        if kind != "fast":
            name = f"D0 at 512 px, batch 1: fast fusion (beside {kind})"
            yield row(name, times, "fast", kind, "shown (on a GPU 1.26 to 1.31 for softmax)")


def selections(rounds: int) -> Iterator[dict[str, Any]]:
    """From raw outputs to detections, beside the forward pass that makes them."""
    net = published("efficientdet_d0")
    model, anchors = _last(build(net)).eval(), AnchorBoxes(net)
    for batch in (1, 4):
        images = _images(batch, 512)
        with torch.no_grad():
            untrained = model(images)
        draw = torch.Generator().manual_seed(0)
        spread = [torch.randn(x.shape, generator=draw) for x in untrained]
        spread[0].mul_(2).sub_(5)  # as a trained one's: most far below 0, thousands above
        places = [Letterbox((512, 512), (512, 512))] * batch
        ways: dict[str, Callable[[], object]] = {"forward": _look(model, images)}
        for name, (logits, codes) in {"untrained": untrained, "spread out": spread}.items():
            ways[name] = _selected(logits, codes * 0.3, anchors(images), places)
        times = take_turns(ways, rounds)
        for name in ("untrained", "spread out"):
            label = f"D0 detections at 512 px, batch {batch}, {name} (beside the forward pass)"
            yield row(label, times, name, "forward", f"at least {SHARE} times as fast")


def _selected(
    logits: torch.Tensor, codes: torch.Tensor, anchors: torch.Tensor, places: list[Letterbox]
) -> Callable[[], object]:
    return lambda: detect(logits, codes, anchors, places)


def _pair(net: Detector, peer: str, side: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Ours and effdet's with the same weights."""
    torch.manual_seed(0)
    theirs = effdet.EfficientDet(config(peer, (side, side)), pretrained_backbone=False)
    ours = build(net)
    assert load_weights(ours, theirs.state_dict()).complete
    return _last(ours), _last(theirs)


def _last(model: Any) -> Any:
    return model.to(memory_format=LAST)


def _images(batch: int, side: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, side, side, generator=draw).contiguous(memory_format=LAST)


def _objects() -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes [N, M, 4] and labels [N, M], about as many as COCO has in an image."""
    draw = torch.Generator().manual_seed(2)
    corner = torch.rand(STEP_BATCH, OBJECTS, 2, generator=draw) * 0.6 * STEP_SIDE
    sides = (torch.rand(STEP_BATCH, OBJECTS, 2, generator=draw) * 0.35 + 0.03) * STEP_SIDE
    labels = torch.randint(0, 90, (STEP_BATCH, OBJECTS), generator=draw)
    return torch.cat([corner, corner + sides], -1), labels


def _look(model: Any, images: torch.Tensor) -> Callable[[], object]:
    """A forward pass without gradients."""
    return torch.no_grad()(lambda: model(images))


def _learn(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], object]:
    """A step of SGD, so small that the weights stay as they are."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)

    def learn() -> None:
        value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    return learn
