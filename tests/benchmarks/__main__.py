"""Runs every benchmark of this folder: `python -m tests.benchmarks [NAME ...] [--json PATH]`.

Each module with a function `rows()` is one; its rows are printed as a table, and all of them are
written as JSON together with the machine they were taken on.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Runs, prints, writes; 1 when a benchmark failed."""
    reader = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    reader.add_argument("names", nargs="*", help="modules of this folder; all of them by default")
    reader.add_argument("--json", type=Path, default=Path("build/benchmarks.json"))
    asked = reader.parse_args(arguments)
    found: dict[str, Any] = {}
    for name in asked.names or names():
        start = time.perf_counter()
        # One process each: what a benchmark loads or starts must not slow the next one down.
        ran = subprocess.run([sys.executable, "-c", _CODE, name], stdout=subprocess.PIPE, text=True)
        lines = ran.stdout.splitlines()
        if ran.returncode or not lines:
            found[name] = {"failed": f"exit code {ran.returncode}"}
            print(f"{name} failed with exit code {ran.returncode}", file=sys.stderr)
            continue
        found[name] = {"rows": json.loads(lines[-1]), "seconds": time.perf_counter() - start}
        table(name, found[name]["rows"])
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps({"machine": machine(), "benchmarks": found}, indent=2) + "\n")
    print(f"written to {asked.json}")
    return int(any("failed" in one for one in found.values()))


_CODE = "import sys; from tests.benchmarks.__main__ import print_rows; print_rows(sys.argv[1])"


def print_rows(name: str) -> None:
    """The rows of one benchmark as JSON on the last line."""
    print(json.dumps(importlib.import_module(f"tests.benchmarks.{name}").rows()))


def names() -> list[str]:
    """Modules of this folder that have `rows()`."""
    files = sorted(FOLDER.glob("[!_]*.py"))
    return [path.stem for path in files if "\ndef rows(" in path.read_text(encoding="utf-8")]


def table(title: str, rows: list[dict[str, Any]]) -> None:
    """Prints rows; every key that one of them has is a column."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    made = Table(*columns, title=title)
    for row in rows:
        made.add_row(*(_text(row.get(column)) for column in columns))
    Console(width=None if sys.stdout.isatty() else 140).print(made)


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    from importlib.metadata import PackageNotFoundError, version

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:  # as Ray on a machine for GPU benchmarks alone
            return None

    packages = ("torch", "ray", "optuna", "fvcore", "timm")
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "packages": {name: installed(name) for name in packages},
    }


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
