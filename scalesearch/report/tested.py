"""What the reported networks score on the test images, which nothing was chosen by."""

from __future__ import annotations

import math

import pandas as pd

from scalesearch.report.contents import Contents
from scalesearch.report.family import COMPOUND, words
from scalesearch.report.numbers import NONE, factor, is_share, metric_word, score
from scalesearch.report.tables import Table


def table(contents: Contents) -> Table:
    """Validation and test scores of each reported network, and their difference."""
    word, rows = metric_word(contents.metric), []
    for _, row in contents.reported().iterrows():
        test = contents.test_score(row)
        error = standard_error(contents, test)
        rows.append(
            [
                name_of(row),
                score(row[contents.metric], contents.metric),
                score(test, contents.metric),
                _points(test - row[contents.metric], contents.metric, sign="+"),
                NONE if error is None else _points(error, contents.metric),
            ]
        )
    return Table(
        caption="Scores on images that no phase has seen",
        head=["network", f"validation {word}", f"test {word}", "difference", "standard error"],
        rows=rows,
        words=frozenset({0}),
        note="Test scores are of the weights that are kept"
        + ", and validation scores the mean of several trainings" * _has_several(contents)
        + ". Standard error: of the test accuracy, by the binomial distribution.",
    )


def sentences(contents: Contents) -> list[str]:
    """How many images there are, and what the selected network scores on them."""
    count = contents.test_images
    images = "The test images" if count is None else f"{count:,} test images"
    text = [
        f"{images} were read once, after everything was chosen, to score the networks that are "
        "reported.",
    ]
    row = selected(contents)
    if row is None:
        return text
    test, metric = contents.test_score(row), contents.metric
    gap = row[metric] - test
    word, unit = metric_word(metric), _points(abs(gap), metric)
    cost = (
        "which is what selection cost" if gap > 0 else "so that selection cost nothing that shows"
    )
    differs = f"{unit} {'less' if gap > 0 else 'more'}" if gap else "no difference"
    found = (
        f"{name_of(row).capitalize()} has {word} {score(row[metric], metric)} on the validation "
        f"images and {score(test, metric)} on the test images: {differs}, {cost}, with the chance "
        "of both samples."
    )
    if (error := standard_error(contents, test)) is not None:
        found += f" The standard error of the test score is {_points(error, metric)}."
    return [*text, found]


def selected(contents: Contents) -> pd.Series | None:
    """The largest scored compound member; without one the reported network that validates best."""
    rows = contents.reported()
    rows = rows[[math.isfinite(contents.test_score(row)) for _, row in rows.iterrows()]]
    if rows.empty:
        return None
    if "strategy" in rows and (rows["strategy"] == COMPOUND).any():
        rows = rows[rows["strategy"] == COMPOUND].sort_values("flops", kind="stable")
        return rows.iloc[-1]
    return rows.sort_values(contents.metric, kind="stable").iloc[-1]


def standard_error(contents: Contents, test: float) -> float | None:
    """Of an accuracy on n images, sqrt(p (1 - p) / n); of other metrics it is not known."""
    if contents.metric != "accuracy" or not contents.test_images or not 0 <= test <= 1:
        return None
    return math.sqrt(test * (1 - test) / contents.test_images)


def name_of(row: pd.Series) -> str:
    """`compound, phi = 1`, or `baseline`."""
    strategy = row.get("strategy")
    return f"{words(strategy)}, phi = {row['phi']:.4g}" if isinstance(strategy, str) else "baseline"


def _points(value: float, metric: str, sign: str = "") -> str:
    """A difference of two scores: `0.70 points` of a share."""
    if not math.isfinite(value):
        return NONE
    if factor(metric) == 1:
        return f"{value:{sign}.4g}"
    return f"{factor(metric) * value:{sign}.2f}" + " points" * is_share(metric)


def _has_several(contents: Contents) -> bool:
    rows, spread = contents.reported(), f"{contents.metric}_spread"
    return spread in rows and bool(rows[spread].notna().any())
