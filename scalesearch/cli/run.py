"""`scalesearch run`: a study with its progress, and a summary of its results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scalesearch.arch.factory import Factory
from scalesearch.cli.progress import Bars, Lines, bars, interruptible, is_terminal
from scalesearch.cli.tables import print_table, shown_score
from scalesearch.cost.closed_form import cost
from scalesearch.history.final_scores import final_scores
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import DetectorCoefficients, Scaling
from scalesearch.scaling.family import DETECTOR_STRATEGIES
from scalesearch.scaling.strategies import STRATEGIES
from scalesearch.study.doubt import doubt
from scalesearch.study.folder import RunFolder
from scalesearch.study.run import run
from scalesearch.study.watch import Watch
from scalesearch.units import format_count

_ORDER = (*STRATEGIES, *DETECTOR_STRATEGIES)
# Each coefficient with what it scales, and the growth in FLOPs where there is a formula.
_COEFFICIENTS: Mapping[type[Scaling], str] = {
    Coefficients: "alpha {0.alpha:g} (depth), beta {0.beta:g} (width), gamma {0.gamma:g} "
    "(resolution); alpha * beta^2 * gamma^2 = {0.product:.3f}",
    DetectorCoefficients: "alpha {0.alpha:g} and beta {0.beta:g} (backbone), neck width x "
    "{0.neck_width:g}, neck + {0.neck_depth:g} and heads + {0.head_depth:.3g} layers, "
    "input + {0.resolution:g} px",
}
# Columns of the family's table that say how large a network of the task is.
_SIZES: Mapping[str, Mapping[str, Callable[[Any], object]]] = {
    "classification": {"blocks": lambda net: net.depth, "head": lambda net: net.features},
    "detection": {
        "blocks": lambda net: net.depth,
        "neck": lambda net: f"{net.neck.depth} x {net.neck.width}",
        "heads": lambda net: net.heads.depth,
    },
}
# Of what a factory builds its multipliers are known.
_MULTIPLIERS: Mapping[str, Callable[[Any], object]] = {
    "depth": lambda net: f"{net.depth:.4g}",
    "width": lambda net: f"{net.width:.4g}",
}


def run_study(
    study: Path,
    overrides: Sequence[str],
    folder: Path | None,
    quiet: bool,
    retry_failed: bool = False,
) -> None:
    """Runs a study and prints its results."""
    message = "stopped: every finished trial is recorded; run the same command to resume"
    with interruptible(message), _watches(quiet) as watches:
        done = run(study, overrides, folder=folder, watches=watches, retry_failed=retry_failed)
    show_results(done)


def show_results(folder: RunFolder) -> None:
    """Prints the baseline, the coefficients, the family's table, and where the report is."""
    network, known = folder.baseline, cost(folder.baseline).known()
    facts = [f"{format_count(known[name])} {name}" for name in ("flops", "params") if name in known]
    facts += [f"{network.resolution} px"] if hasattr(network, "resolution") else []
    about = f": {', '.join(facts)}" if facts else ""
    print(f"\nbaseline      {folder.path / 'baseline.yaml'}{about}")
    confirmation = folder.confirmation
    if words := doubt(folder.settings) if confirmation is None else confirmation.sentence:
        print(f"confidence    {words}")
    if (folder.path / "coefficients.yaml").exists():
        coefficients = folder.coefficients
        print(f"coefficients  {_COEFFICIENTS[type(coefficients)].format(coefficients)}")
    if (folder.path / "family").exists():
        _print_family(folder)
    else:
        _print_test(folder)
    print(f"report        {folder.path / 'report.html'}")
    if (exports := folder.path / "export").exists():
        print(f"export        {exports}{'/'} ({_count_files(exports)})")


def _count_files(exports: Path) -> str:
    """`13 Python files`: the number of files of each format, without weights beside them."""
    counts = Counter(path.suffix for path in exports.iterdir() if path.is_file())
    del counts[".safetensors"]
    words = {".py": "Python"}
    return ", ".join(
        f"{count} {words.get(suffix, suffix)} files" for suffix, count in sorted(counts.items())
    )


def _print_family(folder: RunFolder) -> None:
    trials, metric = folder.trials, folder.objective.metric
    rows = trials[trials["phase"] == "family"].to_dict("records")
    scored = {f"{row['strategy']}_phi{row['phi']:.12g}": row for row in rows}
    test = {one.name: one.test.scores for one in final_scores(folder.read())}
    members = sorted(folder.family, key=lambda m: (m.phi, _order(m.strategy)))
    compound = {m.phi: cost(m.architecture).flops for m in members if m.strategy == "compound"}
    of_factory = bool(members) and isinstance(members[0].architecture, Factory)
    sizes = _MULTIPLIERS if of_factory else _SIZES[folder.task]
    kinds = {isinstance(member.architecture, Factory) for member in members}
    if len(kinds) > 1:  # which share no measure of their size but pixels and costs
        sizes = {}
    table = []
    for member in members:
        network, costs = member.architecture, cost(member.architecture)
        trial, base = scored.get(member.name, {}), compound.get(member.phi)
        score = trial.get(metric, math.nan)
        table.append(
            (
                *(f"{member.phi:g}", member.strategy, *(size(network) for size in sizes.values())),
                *(network.resolution, format_count(costs.flops)),
                f"{costs.flops / base:.2f}" if base else "",
                format_count(costs.params),
                trial.get("state", "not assessed") if math.isnan(score) else f"{score:.4f}",
                *([shown_score(test.get(member.name, {}), metric)] if test else []),
            )
        )
    head = ("phi", "strategy", *sizes, "px", "flops", "ratio", "params", metric)
    head += (f"test {metric}",) if test else ()
    print_table("family", head, table)


def _print_test(folder: RunFolder) -> None:
    """The baseline's score on the test images, of a study without a family that has some."""
    metric, count = folder.objective.metric, folder.test_images
    for one in final_scores(folder.read()):
        before, after = (shown_score(each.scores, metric) for each in (one.chosen, one.test))
        on = "" if count is None else f" on {count:,} images"
        print(f"test          {metric} {after}{on}; {before} on the validation images")


def _order(strategy: str) -> tuple[int, str]:
    """Of the strategies of one phi; those of one's own come last."""
    return (_ORDER.index(strategy) if strategy in _ORDER else len(_ORDER)), strategy


@contextmanager
def _watches(quiet: bool) -> Iterator[list[Watch]]:
    if quiet:
        yield []
    elif is_terminal():
        with bars() as progress:
            yield [Bars(progress)]
    else:
        yield [Lines()]
