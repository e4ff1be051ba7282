"""`scalesearch profile --space`: the latency table of a space."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from scalesearch.cli.progress import counting, interruptible
from scalesearch.cost.cost import Deployment
from scalesearch.errors import UserError
from scalesearch.history.agreement import agreement
from scalesearch.spaces.backbone import BackboneSpace
from scalesearch.study.tabulate import tabulate


def show_table(
    file: Path,
    out: Path | None,
    deployment: Deployment,
    images: Mapping[str, int | None],
    as_json: bool,
) -> None:
    """Measures the latency table of a space, or resumes it, and prints how well it predicts.

    `images` are `in_channels` and `num_classes` of the data set; None is what the file has.
    """
    if out is None:
        raise UserError(
            "the table needs a file to be written to", key="latency-out", allowed="TABLE.json"
        )
    space = BackboneSpace.load(file)
    own = {key: space.slots[key][0] for key in images}
    space = space.with_images(
        **own | {key: value for key, value in images.items() if value is not None}
    )
    message = f"stopped: what was measured is in {out}; run the same command to resume"
    with interruptible(message), counting("measurements", quiet=as_json) as progress:
        table, pairs = tabulate(space, deployment, out, progress)
    result = agreement(pairs)
    if as_json:
        report = {"file": str(out), "entries": len(table.entries), "networks": len(table.rests)}
        print(json.dumps(report | {"agreement": result and asdict(result)}, indent=2))
        return
    print(
        f"{out}: {len(table.entries)} entries, timed within {len(table.rests)} networks; "
        f"{deployment}; {table.machine}, torch {table.torch}"
    )
    if result is not None:
        print(f"networks of the space, predicted against measured: {result}")
