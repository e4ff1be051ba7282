"""Prints the comparison of necks of docs/detection.md: `python -m docs.tools.necks RUN_FOLDER`.

The run is a search over a space whose necks are options, or whose kinds and fusions are lists.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from docs.tools.families import markdown_table
from scalesearch.errors import UserError
from scalesearch.report.numbers import NONE, TIMES, score
from scalesearch.units import format_latency

# Tan, Pang & Le 2020 (arXiv 1911.09070 v7), Table 5: AP, and params and FLOPs relative to the first
# row, all with the same backbone and heads.
TABLE_5 = {
    ("fpn", "sum"): ("42.29", "1.00", "1.00"),
    ("panet", "sum"): ("44.08", "1.00", "1.00"),
    ("nas_fpn", "sum"): ("43.16", "0.71", "0.72"),
    ("fully_connected", "sum"): ("43.06", "1.24", "1.21"),
    ("bifpn", "sum"): ("43.94", "0.88", "0.67"),
    ("bifpn", "fast"): ("44.39", "0.88", "0.68"),
}
# Table 6: AP of three models with each of two fusions, and the speed of the second.
TABLE_6 = {
    "softmax": ("33.96, 43.78, 48.79", NONE),
    "fast": ("33.85, 43.77, 48.74", f"1.28{TIMES}, 1.26{TIMES}, 1.31{TIMES}"),
}
_FUSIONS = ("softmax", "fast", "unbounded", "sum")
_REQUIRED = ("ap", "flops", "params")


def main(folder: Path) -> None:
    """Prints both tables of a run folder."""
    trials = read_necks(folder)
    print("Kinds of necks (EfficientDet, Table 5). Ratios are relative to `fpn sum`; ± is the")
    print("standard deviation over the seeds.\n")
    print(kinds(trials))
    print("Fusions of `bifpn` (EfficientDet, Table 6). Speed is relative to `softmax`.\n")
    print(fusions(trials))


def read_necks(folder: Path) -> pd.DataFrame:
    """The scored trials of a search, with columns `kind`, `fusion` and `label` of their necks.

    Raises:
        UserError: the folder has no trials, none has a score, or their necks are not recorded.
    """
    path = folder / "trials.csv"
    if not path.exists():
        raise UserError("there is no such file", file=str(path), hint="give a run folder")
    trials = pd.read_csv(path)
    trials = trials[(trials["phase"] == "search") & trials["state"].isin(["assessed", "reused"])]
    missing = [name for name in _REQUIRED if name not in trials or trials[name].isna().all()]
    if missing:
        raise UserError(f"no trial of the search has {', '.join(missing)}", file=str(path))
    if "neck" in trials:
        words = trials["neck"].str.split(" ", n=2, expand=True)
        return trials.assign(kind=words[0], fusion=words[1], label=trials["neck"])
    if not {"neck.kind", "neck.fusion"} <= set(trials):
        raise UserError(
            "the trials do not record their necks",
            file=str(path),
            allowed="a search over `neck` as options, or over `neck.kind` and `neck.fusion`",
        )
    kind, fusion = trials["neck.kind"], trials["neck.fusion"]
    return trials.assign(kind=kind, fusion=fusion, label=kind + " " + fusion)


def kinds(trials: pd.DataFrame) -> str:
    """AP and costs of each neck with fusion `sum` or `fast`, beside the paper's numbers."""
    rows = trials[trials["fusion"].isin({fusion for _, fusion in TABLE_5})]
    keys = list(zip(rows["kind"], rows["fusion"], strict=True))
    reference = _only(rows[[key == ("fpn", "sum") for key in keys]])
    lines = []
    for key, row in _sorted(rows, list(TABLE_5), keys):
        ratios = [
            NONE if reference is None else f"{row[name] / reference[name]:.2f}"
            for name in ("params", "flops")
        ]
        lines.append([f"`{row['label']}`", _ap(row), *ratios, *TABLE_5.get(key, (NONE,) * 3)])
    columns = ("AP", "params ratio", "FLOPs ratio")
    return markdown_table(["neck", *columns, *(f"paper: {name}" for name in columns)], lines)


def fusions(trials: pd.DataFrame) -> str:
    """AP and training step time of a BiFPN with each fusion, beside the paper's numbers."""
    rows = trials[trials["kind"] == "bifpn"]
    reference = _only(rows[rows["fusion"] == "softmax"])
    softmax = float("nan") if reference is None else reference.get("step_seconds", float("nan"))
    lines = []
    for fusion, row in _sorted(rows, _FUSIONS, list(rows["fusion"])):
        seconds = row.get("step_seconds", float("nan"))
        step = format_latency(seconds) if pd.notna(seconds) else NONE
        speed = f"{softmax / seconds:.2f}{TIMES}" if pd.notna(softmax / seconds) else NONE
        lines.append(
            [f"`{row['label']}`", _ap(row), step, speed, *TABLE_6.get(fusion, (NONE,) * 2)]
        )
    return markdown_table(
        ["neck", "AP", "step", "speed", "paper: AP of three models", "paper: speed"], lines
    )


def _sorted(
    rows: pd.DataFrame, order: Sequence[Any], keys: Sequence[Any]
) -> list[tuple[Any, pd.Series]]:
    """Keys and rows in the paper's order; those that it does not have come last."""
    keyed = [(key, row) for key, (_, row) in zip(keys, rows.iterrows(), strict=True)]
    return sorted(keyed, key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order))


def _only(rows: pd.DataFrame) -> pd.Series | None:
    """The row that others are compared with, if there is exactly one."""
    return rows.iloc[0] if len(rows) == 1 else None


def _ap(row: pd.Series) -> str:
    spread = row.get("ap_spread", float("nan"))
    return score(row["ap"], "ap") + (f" ± {score(spread, 'ap')}" if pd.notna(spread) else "")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
