"""The comparison of necks in Markdown: `python -m scalesearch.report.necks RUN_FOLDER`.

The run is a search over a space whose necks are options, or whose kinds and fusions are lists.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from scalesearch.errors import UserError
from scalesearch.report.contents import SCORED
from scalesearch.report.numbers import NONE, TIMES, score
from scalesearch.report.published import markdown_table
from scalesearch.units import format_latency


class Printed(NamedTuple):
    """A row of Table 5: AP, and how many params and FLOPs of the first row's."""

    ap: str
    params: str
    flops: str


# Tan, Pang & Le 2020 (arXiv 1911.09070 v7), Table 5: all with the same backbone and heads.
TABLE_5 = {
    ("fpn", "sum"): Printed("42.29", "1.00", "1.00"),
    ("panet", "sum"): Printed("44.08", "1.00", "1.00"),
    ("nas_fpn", "sum"): Printed("43.16", "0.71", "0.72"),
    ("fully_connected", "sum"): Printed("43.06", "1.24", "1.21"),
    ("bifpn", "sum"): Printed("43.94", "0.88", "0.67"),
    ("bifpn", "fast"): Printed("44.39", "0.88", "0.68"),
}
# Table 6: AP of three models with each of two fusions, and how much faster the second is.
TABLE_6 = {
    "softmax": ("33.96, 43.78, 48.79", ""),
    "fast": ("33.85, 43.77, 48.74", f"1.28{TIMES}, 1.26{TIMES}, 1.31{TIMES}"),
}
_FUSIONS = ("softmax", "fast", "unbounded", "sum")
_FIRST = ("fpn", "sum")
_NEEDED = ("ap", "flops", "params")


def main(folder: Path) -> None:
    """Prints both tables of a run folder."""
    trials = read_necks(folder)
    print("Kinds of necks (EfficientDet, Table 5); ratios are to `fpn sum`, and after ± stands the")
    print("standard deviation over the seeds.\n")
    print(kinds(trials))
    print("Fusions of `bifpn` (EfficientDet, Table 6); speed is relative to `softmax`.\n")
    print(fusions(trials))


def read_necks(folder: Path) -> pd.DataFrame:
    """The scored trials of a search, with columns `kind`, `fusion` and `label` of their necks.

    Raises:
        UserError: the folder has no trials, none with a score, or none that tell their neck.
    """
    file = folder / "trials.csv"
    if not file.exists():
        raise UserError("there is no such file", file=str(file), hint="give a run folder")
    trials = pd.read_csv(file)
    trials = trials[(trials["phase"] == "search") & trials["state"].isin(SCORED)]
    lacking = [name for name in _NEEDED if name not in trials or trials[name].isna().all()]
    if lacking:
        raise UserError(f"no trial of the search has {', '.join(lacking)}", file=str(file))
    if "neck" in trials:
        words = trials["neck"].str.split(" ", n=2, expand=True)
        return trials.assign(kind=words[0], fusion=words[1], label=trials["neck"])
    if not {"neck.kind", "neck.fusion"} <= set(trials):
        raise UserError(
            "the trials do not tell their necks",
            file=str(file),
            allowed="a search over `neck` as options, or over `neck.kind` and `neck.fusion`",
        )
    kind, fusion = trials["neck.kind"], trials["neck.fusion"]
    return trials.assign(kind=kind, fusion=fusion, label=kind + " " + fusion)


def kinds(trials: pd.DataFrame) -> str:
    """AP and costs of each neck that sums or is weighted by `fast`, beside the paper's."""
    rows = trials[trials["fusion"].isin({fusion for _, fusion in TABLE_5})]
    rows = _sorted(rows, list(TABLE_5), list(zip(rows["kind"], rows["fusion"], strict=True)))
    first = _only(rows[(rows["kind"] == _FIRST[0]) & (rows["fusion"] == _FIRST[1])])
    lines = []
    for _, row in rows.iterrows():
        printed = TABLE_5.get((row["kind"], row["fusion"]), Printed(NONE, NONE, NONE))
        ratios = (_ratio(row, first, name) for name in ("params", "flops"))
        lines.append([f"`{row['label']}`", _ap(row), *ratios, *printed])
    columns = ("AP", "params ratio", "FLOPs ratio")
    return markdown_table(["neck", *columns, *(f"paper: {name}" for name in columns)], lines)


def fusions(trials: pd.DataFrame) -> str:
    """AP and the time of a training step of a BiFPN with each fusion, beside the paper's."""
    rows = trials[trials["kind"] == "bifpn"]
    rows = _sorted(rows, list(_FUSIONS), list(rows["fusion"]))
    slow = _only(rows[rows["fusion"] == "softmax"])
    lines = []
    for _, row in rows.iterrows():
        seconds = row.get("step_seconds", float("nan"))
        step = format_latency(seconds) if pd.notna(seconds) else NONE
        speed = NONE
        if slow is not None and pd.notna(seconds) and pd.notna(slow["step_seconds"]):
            speed = f"{slow['step_seconds'] / seconds:.2f}{TIMES}"
        printed = [text or NONE for text in TABLE_6.get(row["fusion"], ("", ""))]
        lines.append([f"`{row['label']}`", _ap(row), step, speed, *printed])
    return markdown_table(
        ["neck", "AP", "step", "speed", "paper: AP of three models", "paper: speed"], lines
    )


def _sorted(rows: pd.DataFrame, order: Sequence[object], keys: Sequence[object]) -> pd.DataFrame:
    """In the order of the paper; what it has not comes last."""
    places = [order.index(key) if key in order else len(order) for key in keys]
    return rows.assign(place=places).sort_values("place", kind="stable")


def _only(rows: pd.DataFrame) -> pd.Series | None:
    """What others are compared with, where there is one such and no doubt about it."""
    return rows.iloc[0] if len(rows) == 1 else None


def _ap(row: pd.Series) -> str:
    spread = row.get("ap_spread", float("nan"))
    more = f" ± {score(spread, 'ap')}" if pd.notna(spread) else ""
    return score(row["ap"], "ap") + more


def _ratio(row: pd.Series, first: pd.Series | None, name: str) -> str:
    return NONE if first is None else f"{row[name] / first[name]:.2f}"


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
