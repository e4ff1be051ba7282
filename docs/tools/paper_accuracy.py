"""Prints the accuracy of a run of `studies/paper/`: `python -m docs.tools.paper_accuracy RUN`.

Means over the seeds, the standard deviation of one training, and the 95 % interval of the mean by
Student's t and the variance pooled over all networks. It holds what seeds change, weights and the
order of images; which images validate is the same for all.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pandas as pd
from scipy.stats import t

from docs.tools.families import markdown_table
from scalesearch.errors import UserError
from scalesearch.files.strict import load_yaml
from scalesearch.units import format_count


def accuracies(folder: Path) -> str:
    """A row for each scored member of the family.

    Raises:
        UserError: the folder has no family with a score and its spread over seeds.
    """
    path = folder / "trials.csv"
    if not path.exists():
        raise UserError("there is no such file", file=str(path), hint="give a run folder")
    trials = pd.read_csv(path)
    known = {"strategy", "phi", "accuracy", "accuracy_spread", "flops"} <= set(trials)
    if known:
        trials = trials[(trials["phase"] == "family") & trials["accuracy_spread"].notna()]
    if not known or trials.empty:
        raise UserError("no member of a family has a spread over seeds", file=str(path))
    resolved = load_yaml(folder / "resolved.yaml").plain
    seeds = resolved["family"]["evaluator"]["seeds"]
    pooled = math.sqrt(trials["accuracy_spread"].pow(2).mean())
    freedom = len(trials) * (seeds - 1)
    half = 100 * pooled * float(t.ppf(0.975, freedom)) / math.sqrt(seeds)
    cells = [
        [
            *(str(row["strategy"]).replace("_", " "), f"{row['phi']:.2f}"),
            *(format_count(row["flops"]), format_count(row["params"])),
            *(f"{100 * row['accuracy']:.1f}", f"{100 * row['accuracy_spread']:.1f}"),
            f"± {half:.1f}",
        ]
        for row in trials.to_dict("records")
    ]
    return markdown_table(["line", "phi", "FLOPs", "params", "accuracy %", "spread", "95 %"], cells)


if __name__ == "__main__":
    try:
        print(accuracies(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
