"""Numbers and names as the report prints them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scalesearch.cost.cost import format_cost

# A cost's name in a sentence or at the head of a column.
NAMES = {
    "flops": "FLOPs",
    "flops_total": "FLOPs with norm and pooling",
    "params": "parameters",
    "activations": "activations",
    "inference_bytes": "inference memory",
    "training_bytes": "training memory",
    "latency": "latency",
}
# COCO's metrics of detectors, as papers print them.
_PRECISIONS = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP small",
    "ap_medium": "AP medium",
    "ap_large": "AP large",
    "ap50_voc": "AP50 (VOC)",
    "ap_spread": "AP spread",
}
OF_CLASS = "ap/"  # before a class's name: the metric that is its AP
NONE = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def cost(name: str, value: float) -> str:
    """A cost with its prefix: `385.8 M`, bytes as `64.0 MiB`, latency as `12.3 ms`."""
    if not math.isfinite(value):
        return NONE
    return format_cost(name, value)


def is_share(metric: str) -> bool:
    """Whether a metric is printed in percent: any accuracy, also that of one class."""
    return metric.partition("/")[0].endswith("accuracy")


def is_precision(metric: str) -> bool:
    """Whether a metric is an average precision, which papers print from 0 to 100."""
    return metric in _PRECISIONS or metric.startswith(OF_CLASS)


def factor(metric: str) -> int:
    """What a metric is multiplied by when printed: 100 for shares and average precisions."""
    return 100 if is_share(metric) or is_precision(metric) else 1


def score(value: float, metric: str) -> str:
    """A metric: `94.31 %` for an accuracy, `34.62` for an AP, four digits for any other."""
    if not math.isfinite(value):
        return NONE
    if is_precision(metric):
        return f"{100 * value:.2f}"
    return f"{100 * value:.2f} %" if is_share(metric) else f"{value:.4g}"


def percent(share: float) -> str:
    """A share as `12.3 %`."""
    return f"{100 * share:.1f} %" if math.isfinite(share) else NONE


def metric_word(metric: str) -> str:
    """A metric in a table or a sentence: `accuracy`, `AP small`."""
    return _PRECISIONS.get(metric, metric)


def metric_name(metric: str) -> str:
    """A metric at the head of a title: `Accuracy`, `AP50`."""
    words = metric_word(metric).replace("_", " ")
    return words[:1].upper() + words[1:]


def metric_label(metric: str) -> str:
    """A metric as the label of an axis, with its unit: `validation accuracy (%)`."""
    unit = " (%)" if factor(metric) == 100 else ""
    return f"validation {metric_word(metric).replace('_', ' ')}{unit}"


def objective_words(objective: str, metric: str) -> str:
    """What a search maximised: `AP * (flops / 2,000,000) ^ -0.07`."""
    starts = objective.split(" ")[0] == metric
    return metric_word(metric) + objective.removeprefix(metric) if starts else objective


def prefix(values: Sequence[float]) -> tuple[float, str]:
    """What to divide values by, and the prefix of their unit, so that they lie around 1 to 1000."""
    middle = math.sqrt(min(values) * max(values)) if values else 1.0
    return next(((size, word) for size, word in _PREFIXES if middle >= size), (1.0, ""))
