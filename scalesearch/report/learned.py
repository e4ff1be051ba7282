"""What the search learned: predictions against measurements, and which choices matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from scalesearch.report.style import FAINT, INK, new_figure, style

if TYPE_CHECKING:
    from scalesearch.report.contents import Contents


@dataclass(frozen=True, slots=True)
class Effect:
    """What one choice of a parameter gains over another, all others being equal.

    Attributes:
        parameter: `stage3.kernel`.
        best, worst: its choices.
        gain: of the objective, from the worst to the best.
        low, high: the 95 % interval of the gain.
    """

    parameter: str
    best: str
    worst: str
    gain: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Learned:
    """What a model of the results says.

    Attributes:
        measured: objectives of assessed networks.
        predicted: the same networks, each predicted from all others.
        inside: share of them within the model's 95 % interval.
        spearman, tau: rank correlations of both.
        bound: how much better another network may be (97.5 %), if the objective is one number.
        effects: of each parameter, the largest gain first.
    """

    measured: tuple[float, ...]
    predicted: tuple[float, ...]
    inside: float
    spearman: float
    tau: float
    bound: float | None
    effects: tuple[Effect, ...]


@style()
def draw(contents: Contents) -> Figure | None:
    """Each network's prediction from all others against its measured objective."""
    found = contents.learned
    if found is None:
        return None
    figure = new_figure(5.2, 4.6)
    axes = figure.subplots()
    low, high = min(found.measured), max(found.measured)
    margin = 0.05 * (high - low)
    low, high = low - margin, high + margin
    # A prediction far off, as of a network that learned nothing, stands at the edge.
    shown = [min(max(value, low), high) for value in found.predicted]
    axes.plot((low, high), (low, high), color=FAINT, linewidth=1)
    axes.plot(found.measured, shown, ".", color=INK, markersize=5, alpha=0.6, clip_on=False)
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set(
        title="Predicted from all others, against measured",
        xlabel="measured objective",
        ylabel="predicted objective",
    )
    return figure


def summary(contents: Contents) -> str:
    """The figure in words."""
    found = contents.learned
    assert found is not None
    return (
        f"Predicted against measured objective of {len(found.measured)} networks, each predicted "
        f"from all others: Spearman's rank correlation {found.spearman:.2f}."
    )
