"""`scalesearch run`: a study with its progress, and its results in short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from scalesearch.cli.progress import Bars, Lines, is_terminal
from scalesearch.cli.tables import console, print_table
from scalesearch.cost.closed_form import cost
from scalesearch.scaling.family import STRATEGIES
from scalesearch.study.folder import RunFolder
from scalesearch.study.parts import read_objective
from scalesearch.study.run import run
from scalesearch.study.watch import Watch
from scalesearch.units import format_count

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
        triple = folder.coefficients
        print(
            f"coefficients  alpha {triple.alpha:g} (depth), beta {triple.beta:g} (width), "
            f"gamma {triple.gamma:g} (resolution); alpha * beta^2 * gamma^2 = {triple.growth:.3f}"
        )
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


def _print_family(folder: RunFolder) -> None:
    trials = folder.trials
    search = folder.settings.get("search") or {}
    metric = read_objective(search.get("objective", "accuracy"), Path()).metric
    rows = {
        f"{t['strategy']}_phi{t['phi']:.12g}": t
        for _, t in trials[trials["phase"] == "family"].iterrows()
    }
    members = sorted(folder.family, key=lambda m: (m.phi, STRATEGIES.index(m.strategy)))
    compound = {m.phi: cost(m.architecture).flops for m in members if m.strategy == "compound"}
    table = []
    for member in members:
        net, spent = member.architecture, cost(member.architecture)
        row = rows[member.name]
        score = row.get(metric)
        base = compound.get(member.phi)
        table.append(
            (
                f"{member.phi:g}",
                member.strategy,
                net.depth,
                net.features,
                net.resolution,
                format_count(spent.flops),
                f"{spent.flops / base:.2f}" if base else "",
                format_count(spent.params),
                row["state"] if score is None or score != score else f"{score:.4f}",
            )
        )
    head = ("phi", "strategy", "blocks", "head", "px", "flops", "ratio", "params", metric)
    print_table("family", head, table)


@contextmanager
def _watches(quiet: bool) -> Iterator[list[Watch]]:
    if quiet:
        yield []
    elif is_terminal():
        with Bars(console()) as bars:
            yield [bars]
    else:
        yield [Lines()]
