"""Every study of `studies/` in a smoke size: the same path, with next to no training."""

from __future__ import annotations

_PAPER = [
    "dataset.limit=100",
    "evaluator.epochs=1",
    "evaluator.validate_every=1",
    "evaluator.seeds=2",
    "execution.executor=serial",
    "execution.workers=1",
]
# Name of a study to the settings in place of its own.
SMOKE = {
    "quickstart": [
        "search.trials=3",
        "grid.step=0.4",
        "grid.tolerance=0.5",
        "grid.trainings=8",
        "family.phi=[0,1]",
        "family.strategies=[compound,width]",
        "dataset.limit=500",
        "evaluator.epochs=1",
    ],
    "latency_quickstart": [
        "search.trials=2",
        "dataset.limit=400",
        "evaluator.epochs=1",
        "search.limits.latency.max=1s",
    ],
    "mnasnet_reward": [
        "search.trials=2",
        "search.stopping.rungs=[1]",
        "evaluator.epochs=2",
        "evaluator.batch_size=4",
        "search.limits.flops.max=200M",
        "grid.step=0.5",
        "grid.tolerance=0.5",
        "grid.limits.flops.max=450M",
        "grid.evaluator.epochs=1",
        "family.phi=[0]",
        "family.evaluator.epochs=1",
        "execution.executor=serial",
        "execution.workers=1",
        "execution.gpus=0",
    ],
    "detection_quickstart": [
        "dataset.train=64",
        "dataset.validation=32",
        "search.trials=2",
        "search.sampler.startup=2",
        "grid.alpha=[1.0]",
        "grid.beta=[1.0]",
        "grid.neck_width=[1.35]",
        "grid.budget=null",
        "grid.resolution=[32]",
        "evaluator.epochs=1",
        "grid.evaluator.epochs=1",
        "family.phi=[1]",
        "family.evaluator.epochs=1",
    ],
    "necks": [
        "dataset.train=32",
        "dataset.validation=16",
        "search.trials=2",
        "evaluator.epochs=1",
        "evaluator.seeds=2",
        "execution.workers=1",  # of Ray, with detectors
    ],
    "five_layers": [
        "dataset.limit=300",
        "evaluator.epochs=1",
        "grid.step=0.4",
        "family.phi=[1]",
        "family.strategies=[compound,width]",
        "execution.workers=1",
    ],
    "imagenet_mbconv": ["search.trials=20"],
    "efficientnet_figure3": [*_PAPER, "family.lines={by_width: {width: [1.0, 1.4]}}"],
    "efficientnet_figure4": [*_PAPER, "family.lines={d2_r1.3: {depth: 2, width: [1.0, 1.4]}}"],
    "efficientnet_figure8": [
        *_PAPER,
        "family.phi=[0]",
        "family.strategies=[compound, width]",
        "family.lines={by_width: {width: 2.0}}",
    ],
    "table3_mobilenet_v1": [*_PAPER, "family.lines={by_width: {width: [1.0, 2.0]}}"],
    "table3_mobilenet_v2": [*_PAPER, "family.lines={by_width: {width: [1.0, 2.0]}}"],
    "table3_resnet50": [*_PAPER, "family.lines={by_width: {width: [1.0, 2.0]}}"],
    "activation_law": [*_PAPER, "family.phi=[0, 1]", "family.strategies=[fast_compound]"],
    "wide_resnet_grid": [*_PAPER, "family.lines={d10: {networks: [wrn_10_1, wrn_10_2]}}"],
    "imagenet_mbconv_front": ["search.trials=20"],
}
# Studies of results that a user has in a folder of their own, and the file that they need there.
TABLES = {"imagenet_mbconv": "mbconv_imagenet.csv", "imagenet_mbconv_front": "mbconv_imagenet.csv"}
