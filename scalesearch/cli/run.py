"""`scalesearch run`: a study with its progress, and its results in short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.cli.progress import Bars, Lines, is_terminal
from scalesearch.cli.tables import console, print_table
from scalesearch.cost.closed_form import cost
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import Scaling
from scalesearch.scaling.family import DETECTOR_STRATEGIES, STRATEGIES
from scalesearch.study.folder import RunFolder
from scalesearch.study.run import run
from scalesearch.study.watch import Watch
from scalesearch.units import format_count

_ORDER = (*STRATEGIES, *DETECTOR_STRATEGIES)
_INTERRUPTED = 130  # the shell's exit code for Ctrl-C


def run_study(study: Path, overrides: Sequence[str], folder: Path | None, quiet: bool) -> None:
    """Runs a study and prints what it found."""
    with _watches(quiet) as watches:
        try:
            done = run(study, overrides, folder=folder, watches=watches)
        except KeyboardInterrupt:
            print("stopped: every finished trial is recorded; run the same command to go on")
            raise typer.Exit(_INTERRUPTED) from None
    show_results(done)


def show_results(folder: RunFolder) -> None:
    """Prints the baseline, the coefficients, the family's table, and where the report is."""
    print()
    print(f"baseline      {describe_network(folder)}")
    if (folder.path / "coefficients.yaml").exists():
        print(f"coefficients  {describe_coefficients(folder.coefficients)}")
    if (folder.path / "family").exists():
        _print_family(folder)
    print(f"report        {folder.path / 'report.html'}")
    if (exports := folder.path / "export").exists():
        print(f"export        {exports}{'/'} ({_files(exports)})")


def _files(exports: Path) -> str:
    """How many files of each form there are; weights beside Python files are no form."""
    counts = Counter(file.suffix for file in exports.iterdir() if file.is_file())
    del counts[".safetensors"]
    words = {".py": "Python"}
    return ", ".join(
        f"{count} {words.get(suffix, suffix)} files" for suffix, count in sorted(counts.items())
    )


def describe_network(folder: RunFolder) -> str:
    """The baseline's file and cost."""
    spent = cost(folder.baseline)
    return (
        f"{folder.path / 'baseline.yaml'}: {format_count(spent.flops)} flops, "
        f"{format_count(spent.params)} params, {folder.baseline.resolution} px"
    )


def describe_coefficients(found: Scaling) -> str:
    """Each coefficient with what it scales, and what that does to FLOPs where a formula says so."""
    if isinstance(found, Coefficients):
        return (
            f"alpha {found.alpha:g} (depth), beta {found.beta:g} (width), "
            f"gamma {found.gamma:g} (resolution); alpha * beta^2 * gamma^2 = {found.growth:.3f}"
        )
    return (
        f"alpha {found.alpha:g} and beta {found.beta:g} (backbone), neck width x "
        f"{found.neck_width:g}, neck + {found.neck_depth:g} and heads + {found.head_depth:.3g} "
        f"layers, input + {found.resolution:g} px"
    )


def _print_family(folder: RunFolder) -> None:
    trials = folder.trials
    metric = folder.objective.metric
    rows = {
        f"{t['strategy']}_phi{t['phi']:.12g}": t
        for _, t in trials[trials["phase"] == "family"].iterrows()
    }
    members = sorted(folder.family, key=lambda m: (m.phi, _ORDER.index(m.strategy)))
    compound = {m.phi: cost(m.architecture).flops for m in members if m.strategy == "compound"}
    table = []
    for member in members:
        row, spent = rows[member.name], cost(member.architecture)
        score, base = row.get(metric), compound.get(member.phi)
        table.append(
            (
                f"{member.phi:g}",
                member.strategy,
                *_sizes(member.architecture),
                member.architecture.resolution,
                format_count(spent.flops),
                f"{spent.flops / base:.2f}" if base else "",
                format_count(spent.params),
                row["state"] if score is None or score != score else f"{score:.4f}",
            )
        )
    sizes = ("blocks", "neck", "heads") if folder.task == "detection" else ("blocks", "head")
    head = ("phi", "strategy", *sizes, "px", "flops", "ratio", "params", metric)
    print_table("family", head, table)


def _sizes(net: Architecture) -> tuple[object, ...]:
    if isinstance(net, Detector):
        return net.depth, f"{net.neck.depth} x {net.neck.width}", net.heads.depth
    return net.depth, net.features


@contextmanager
def _watches(quiet: bool) -> Iterator[list[Watch]]:
    if quiet:
        yield []
    elif is_terminal():
        with Bars(console()) as bars:
            yield [bars]
    else:
        yield [Lines()]
