"""The figure of classes: AP of each by the best network of each phase."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalesearch.report.contents import Contents
from scalesearch.report.numbers import OF_CLASS, factor, metric_name, score
from scalesearch.report.style import FAINT, INK, new_figure, style

# Distinguished by shape and fill; the last phase has the darkest.
_MARKS: dict[str, dict[str, Any]] = {
    "search": {"marker": "s", "color": "#6f9fd8", "fillstyle": "none"},
    "grid": {"marker": "^", "color": "#d8572a", "fillstyle": "none"},
    "family": {"marker": "o", "color": INK},
}
MOST = 150  # classes; of more the best and the worst are drawn


@style()
def draw(contents: Contents) -> Figure | None:
    """A line for each class, best first, with a mark for each phase; None without such scores."""
    scores = by_class(contents)
    if scores.empty:
        return None
    half = MOST // 2
    drawn = scores if len(scores) <= MOST else pd.concat([scores[:half], scores[-half:]])
    columns = 1 + (len(drawn) > 14) + (len(drawn) > 45)
    lines = -(-len(drawn) // columns)
    figure = new_figure(11, 0.19 * lines + 1.3)
    panels = figure.subplots(1, columns, sharex=True, squeeze=False)[0]
    numbers = {phase: f"{row['number']:.0f}" for phase, row in best_by_phase(contents).items()}
    labels = [f"best of the {phase}: trial {numbers[phase]}" for phase in map(str, scores)]
    for column, axes in enumerate(panels):
        _draw_classes(axes, drawn[column * lines : (column + 1) * lines], labels)
        axes.set_ylim(lines - 0.4, -0.6)
    high = factor("ap") * float(scores.max().max()) or 1.0
    panels[0].set_xlim(-0.03 * high, 1.03 * high)  # a mark at 0 stands beside its class's name
    ends = f": the {half} best and the {half} worst" if len(drawn) < len(scores) else ""
    panels[0].set_title(f"{metric_name('ap')} by class{ends}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def by_class(contents: Contents) -> pd.DataFrame:
    """AP of each class (0 to 1; rows) by the best network of each phase (columns).

    The best class of the last phase comes first; ties are broken by name.
    """
    phases = {phase: _scores(row) for phase, row in best_by_phase(contents).items()}
    scores = pd.DataFrame({phase: each for phase, each in phases.items() if len(each)})
    if scores.empty:
        return scores
    return scores.sort_index().sort_values(scores.columns[-1], ascending=False, kind="stable")


def best_by_phase(contents: Contents) -> dict[str, pd.Series]:
    """Phase to the row of its best network, of those phases that have one."""
    rankings = {phase: contents.ranking(phase) for phase in _MARKS}
    return {phase: rows.iloc[0] for phase, rows in rankings.items() if len(rows)}


def summary(contents: Contents) -> str:
    """The figure in words, for those who cannot see it."""
    scores = by_class(contents)
    last = scores[scores.columns[-1]].dropna()
    ends = (f"{last.index[i]} with {score(last.iloc[i], 'ap')}" for i in (0, -1))
    return f"{metric_name('ap')} of {len(scores)} classes: from {' down to '.join(ends)}."


def _scores(row: pd.Series) -> pd.Series:
    columns = [name for name in row.index if str(name).startswith(OF_CLASS)]
    return row[columns].astype(float).dropna().rename(lambda name: name.removeprefix(OF_CLASS))


def _draw_classes(axes: Axes, scores: pd.DataFrame, labels: list[str]) -> None:
    heights = list(range(len(scores)))
    times = factor("ap")
    if scores.shape[1] > 1:
        ends = (scores.min(axis=1) * times, scores.max(axis=1) * times)
        axes.hlines(heights, *ends, color=FAINT, linewidth=1, zorder=1)
    for phase, label in zip(map(str, scores), labels, strict=True):
        values = scores[phase] * times
        axes.plot(values, heights, ls="none", markersize=6, label=label, **_MARKS[phase])
    axes.set_yticks(heights, scores.index)
    axes.set_xlabel(f"{metric_name('ap')} (%)")
    axes.tick_params(axis="y", length=0)
