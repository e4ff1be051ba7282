"""The record of what a network costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass

# Every cost that can be limited or be an objective, with its unit as printed.
UNITS = {
    "flops": "multiply-adds",
    "flops_total": "multiply-adds",
    "params": "parameters",
    "activations": "values",
    "inference_bytes": "bytes",
    "training_bytes": "bytes",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one network costs, counted as fvcore counts (one multiply-add = 1).

    Attributes:
        flops: multiply-adds of convolutions and linear layers for one image.
        flops_total: everything fvcore counts for one image: also batch norm and average pooling.
        params: learnable parameters.
        activations: output values of convolutions and linear layers for one image.
        inference_bytes, training_bytes: peak memory of a forward pass and of a training step
            under a `Workload`.
    """

    flops: int
    flops_total: int
    params: int
    activations: int
    inference_bytes: int
    training_bytes: int

    def counts(self) -> dict[str, int]:
        """The four costs that the closed form and fvcore must agree on to the last unit."""
        every = asdict(self)
        return {key: every[key] for key in ("flops", "flops_total", "params", "activations")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What memory is counted for.

    Attributes:
        inference_batch: images in a forward pass without gradients.
        training_batch: images in a training step.
        optimizer_copies: values the optimizer keeps for each parameter: 0 for plain SGD,
            1 for momentum, 2 for Adam and for RMSProp with momentum.
        ema: a moving average of all weights is kept beside them.
        value_bytes: bytes of one value: 4 in float32.
    """

    inference_batch: int = 1
    training_batch: int = 32
    optimizer_copies: int = 1
    ema: bool = False
    value_bytes: int = 4
