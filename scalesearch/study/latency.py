"""A study's latency table: its file, and whether it fits the study."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.cost.cost import Deployment
from scalesearch.cost.latency_table import (
    LatencyTable,
    predict,
    table_from_plain,
)
from scalesearch.cost.limits import Limits
from scalesearch.errors import UserError
from scalesearch.files.write import write_text
from scalesearch.history.agreement import Agreement, agreement
from scalesearch.history.trials import Trial
from scalesearch.spaces.covering import Slots, entries_of, fastest
from scalesearch.units import format_latency

if TYPE_CHECKING:
    from scalesearch.study.schema import Study


def load_table(path: Path | str) -> LatencyTable:
    """The latency table in a file that `scalesearch profile --space` wrote.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    try:
        return table_from_plain(json.loads(Path(path).read_text("utf-8")))
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except UserError as error:
        raise error.at(file=str(path)) from None
    except ValueError as error:  # not JSON, or not UTF-8
        raise UserError(f"this is not a latency table: {error}", file=str(path)) from None


def save_table(path: Path | str, table: LatencyTable) -> Path:
    """The path, once it holds the table."""
    return write_text(path, json.dumps(asdict(table), indent=1) + "\n")


def fitting_table(study: Study, space: Any) -> LatencyTable | None:
    """The latency table that a study names, once it fits the space of its search.

    Raises:
        UserError: it was measured for another deployment, lacks a block of the space, or predicts
            that not even the fastest network is within the limit.
    """
    if study.latency is None or study.latency.table is None or study.search is None:
        return None
    table = load_table(study.latency.table)
    if not hasattr(space, "slots"):
        raise UserError(
            "networks of a table have no latency table: their own tells their latency",
            key="latency.table",
            hint="name its column: `evaluator: {name: table, latency: {column: …, times: 0.001}}`",
        )
    try:
        require_deployment(table, study.latency.deployment)
        require_entries(table, space.slots)
    except UserError as error:
        raise error.at(under="latency.table") from None
    require_reachable(table, study.search.limits, space.slots)
    return table


def require_deployment(table: LatencyTable, deployment: Deployment) -> None:
    """Raises if a table was measured for another deployment."""
    if table.deployment != deployment:
        raise UserError(
            f"the table was measured for {table.deployment}, the study measures {deployment}",
            hint="measure another table with `scalesearch profile --space`, or change the section",
        )


def require_entries(table: LatencyTable, slots: Slots) -> None:
    """Raises if a table lacks a block of the space."""
    missing = [entry for entry in entries_of(slots) if entry not in table.entries]
    if missing:
        raise UserError(
            f"the table lacks {len(missing)} of the space's blocks, such as {missing[0]!r}",
            hint="continue it with `scalesearch profile --space SPACE.yaml --latency-out "
            "TABLE.json`; with --in-channels and --num-classes where the data set's differ from "
            "the file's",
        )


def require_reachable(table: LatencyTable, limits: Limits, slots: Slots) -> None:
    """Raises if not even the fastest network of the space is predicted to meet the limit."""
    limit = limits.get("latency")
    if limit is None or limit.max is None:
        return
    least = predict(table, fastest(slots, table))
    if least > limit.max:
        raise UserError(
            f"nothing in the space is predicted to meet the limit of {format_latency(limit.max)}: "
            f"the fastest network takes {format_latency(least)}",
            key="search.limits.latency",
            hint="loosen the limit, or give the space smaller choices",
        )


def agreement_of(trials: list[Trial]) -> Agreement | None:
    """How predicted and measured latencies of trials agree; None if too few have both."""
    every = ((t.predicted_latency, t.cost.latency) for t in trials if t.source is None)
    return agreement([(p, m) for p, m in every if p is not None and m is not None])
