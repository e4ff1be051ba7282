"""`scalesearch profile --measured`: the built model beside the closed form."""

from __future__ import annotations

from time import perf_counter
from typing import NamedTuple

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.graph import Size
from scalesearch.cli.tables import print_table
from scalesearch.cost.cost import Cost, Workload
from scalesearch.units import format_seconds


class Measured(NamedTuple):
    """Costs of a built model, and the seconds that building, fvcore and counted runs took."""

    cost: Cost
    built: float
    counted: float
    followed: float


def measure_network(net: Architecture, size: Size, workload: Workload) -> Measured:
    """Builds a network, counts it by fvcore and follows its memory in counted runs."""
    # Here and not above: the closed form must not wait for torch.
    from scalesearch.cost.measured import measure_counts
    from scalesearch.cost.measured_memory import measure_inference_bytes, measure_training_bytes
    from scalesearch.nn.build import build
    from scalesearch.training.detect import loss_without_objects

    shape = (1, net.in_channels, *size)
    began = perf_counter()
    model = build(net)
    built = perf_counter()
    counts = measure_counts(model, shape)
    counted = perf_counter()
    inference = measure_inference_bytes(model, shape, workload)
    loss = loss_without_objects if isinstance(net, Detector) else None
    training = measure_training_bytes(model, shape, workload, loss)
    spent = Cost(**counts, inference_bytes=inference, training_bytes=training)
    return Measured(spent, built - began, counted - built, perf_counter() - counted)


def print_measured(arithmetic: Cost, seconds: float, found: Measured) -> None:
    """Both numbers of each cost; counts are equal or wrong, memory may differ a little."""
    known = arithmetic.known()
    rows = []
    for key, count in found.cost.known().items():
        verdict = "equal" if known[key] == count else f"{known[key] / count - 1:+.2%}"
        rows.append((key, f"{known[key]:,}", f"{count:,}", verdict))
    print_table("", ("cost", "closed form", "measured", "difference"), rows)
    print(
        f"closed form in {format_seconds(seconds)}; built in {format_seconds(found.built)}, "
        f"counted by fvcore in {format_seconds(found.counted)}, "
        f"memory followed in {format_seconds(found.followed)}"
    )
