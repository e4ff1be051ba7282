"""What a run does not know of its own baseline, in words, and without loading torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalesearch import plugins
from scalesearch.errors import UserError
from scalesearch.interfaces import hook


def doubt(settings: Mapping[str, Any]) -> str:
    """What is not known of a search's baseline that was not confirmed; empty where nothing is said.

    Rows of a table cannot be trained, so nothing would be known of them either way.
    """
    search = settings.get("search")
    if not isinstance(search, Mapping) or search.get("confirm"):
        return ""
    if not isinstance(search.get("space"), str):
        return ""
    evaluator = search.get("evaluator")
    options = evaluator if isinstance(evaluator, Mapping) else {}
    try:
        trains = bool(hook(plugins.load("evaluators", str(options.get("name"))), "trains"))
    except UserError:  # one of somebody's own that is not here
        trains = True
    seeds = options.get("seeds", 1)
    known = "one training of each network" if seeds == 1 else f"one score by {seeds} trainings each"
    known, ask = (
        (known, "") if trains else ("scores that were looked up or predicted", ", with training,")
    )
    return f"{known}, no probability known; add `search.confirm`{ask} to know it"
