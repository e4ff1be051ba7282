"""The record of what a network costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scalesearch.arch import check
from scalesearch.units import format_bytes, format_count, format_latency

Precision = Literal["float32", "bf16", "float16"]
DEVICES = ("cpu", "cuda")  # where latency can be measured
# Every cost that can be limited or be an objective, with its unit as printed.
UNITS = {
    "flops": "multiply-adds",
    "flops_total": "multiply-adds",
    "params": "parameters",
    "activations": "values",
    "inference_bytes": "bytes",
    "training_bytes": "bytes",
    "latency": "seconds",
}
COUNTED = tuple(name for name in UNITS if name != "latency")  # what arithmetic gives
# What is a sum over blocks, and what the closed form and fvcore must agree on to the last unit.
ADDITIVE = ("flops", "flops_total", "params", "activations")
_FORMATS = {"bytes": format_bytes, "seconds": format_latency}


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
        latency: seconds of a forward pass under a `Deployment`; None where it was not measured,
            as no arithmetic gives it.

    Of a network that is known by a table alone, a cost that the table does not give is 0.
    """

    flops: int
    flops_total: int
    params: int
    activations: int
    inference_bytes: int
    training_bytes: int
    latency: float | None = None

    @classmethod
    def of_columns(cls, columns: Mapping[str, Any]) -> Cost:
        """The costs that a table gives, by name; the others are not known."""
        return cls(**dict.fromkeys(COUNTED, 0) | dict(columns))

    def known(self) -> dict[str, float]:
        """Every cost by name, latency where it was measured."""
        every = ((name, getattr(self, name)) for name in UNITS)
        return {name: value for name, value in every if not (value is None or _is_zero(value))}

    def counts(self) -> dict[str, int]:
        """The four costs that the closed form and fvcore must agree on to the last unit."""
        return {key: getattr(self, key) for key in ADDITIVE}


def _is_zero(value: object) -> bool:
    """Of one network: many at once are an array."""
    return isinstance(value, int) and value == 0


def format_cost(name: str, value: float) -> str:
    """A cost with its prefix: `385.8 M`, bytes as `64.0 MiB`, latency as `12.3 ms`."""
    return _FORMATS.get(UNITS[name], format_count)(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What memory is counted for.

    Attributes:
        inference_batch: images in a forward pass without gradients.
        training_batch: images in a training step.
        optimizer_copies: values the optimizer keeps for each parameter: 0 for plain SGD,
            1 for momentum, 2 for Adam and for RMSProp with momentum.
        ema: a moving average of all weights is kept beside them.
        precision: `float32`, or `bf16` or `float16` for mixed precision by autocast: what
            convolutions and linear layers output takes 2 bytes a value, while weights, their
            gradients, the optimizer's state and the average stay in float32.
    """

    inference_batch: int = 1
    training_batch: int = 32
    optimizer_copies: int = 1
    ema: bool = False
    precision: Precision = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What latency is measured for, always in float32, channels last and evaluation mode.

    Attributes:
        device: `cpu` or `cuda`.
        batch: images in a forward pass.
        threads: of a CPU that torch may use.
    """

    device: str = "cpu"
    batch: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        check.one_of("device", self.device, DEVICES)
        for key in ("batch", "threads"):
            check.whole(key, getattr(self, key))

    def __str__(self) -> str:
        """`cpu, batch 1, 2 threads`; a GPU's work does not depend on threads."""
        threads = f", {self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.device}, batch {self.batch}{threads if self.device == 'cpu' else ''}"
