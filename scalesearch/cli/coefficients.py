"""`scalesearch coefficients fit`: coefficients from a table of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from scalesearch.cli.tables import print_table
from scalesearch.errors import UserError, nearest
from scalesearch.files.write import write_bytes, write_yaml
from scalesearch.report.style import image
from scalesearch.report.surface import draw
from scalesearch.scaling.coefficients import COEFFICIENTS
from scalesearch.scaling.fit_surface import respond
from scalesearch.scaling.response import Response
from scalesearch.study.evidence_table import Request, TableEvidence, table_evidence

_DIRECTIONS = {"minimize": True, "maximize": False, None: None}


def show_fit(
    table: Path,
    request: Request,
    limits: Mapping[str, tuple[float, float]],
    draws: int,
    output: Path,
) -> None:
    """Prints the best coefficients and how sure they are; writes both files."""
    read = table_evidence(table, request)
    rows = tuple(f"line {line}" for line in read.lines)
    try:
        response = replace(respond(read.evidence, limits, draws, seed=0), rows=rows)
    except UserError as error:
        raise error.at(file=str(table)) from None
    for note in read.notes:
        print(f"note  {note}")
    _print_coefficients(table, response, read)
    _print_comparisons(response)
    for line in response.lines:
        if not line.startswith(("best at", "against")):
            print(line)
    about = {"from": table, "base": ", ".join(f"{k} {v:g}" for k, v in read.base.items())}
    write_yaml(output, response.file_entries(), about)
    figure = output.with_suffix(".png")
    write_bytes(figure, image(draw(response, read.base), "png"))
    print(f"written to {output} and {figure}")


def _print_coefficients(table: Path, response: Response, read: TableEvidence) -> None:
    evidence = response.evidence
    rows = []
    for dimension in evidence.dimensions:
        name = COEFFICIENTS[dimension]
        value = response.best[name]
        size = read.base[dimension]
        rows.append(
            (
                f"{name} ({dimension})",
                f"{value:.3f}",
                response.intervals[name],
                response.region[name],
                f"{size:g}",
                f"{size * value:.4g}",
            )
        )
    title = f"{table}: best coefficients at {evidence.budget:g} times the {evidence.cost}"
    head = ("coefficient", "best", "95 % interval", "within 0.1 points", "base", "scaled")
    print_table(title, head, rows)


def _print_comparisons(response: Response) -> None:
    names = [COEFFICIENTS[name] for name in response.evidence.dimensions]
    rows = [
        (
            "the paper's" if each.name == "paper" else f"{each.name} alone",
            *(f"{each.coefficients[name]:.3f}" for name in names),
            f"{each.probability:.2f}",
            f"{each.gain:+.2f}",
            f"{each.interval.low:+.2f} to {each.interval.high:+.2f}",
            "" if each.covered else "beyond the results",
        )
        for each in response.comparisons
    ]
    if rows:
        head = ("instead of", *names, "better", "points", "95 % interval", "")
        print_table("", head, rows)


def request_of(
    *,
    base: str,
    budget: float | None,
    double: bool,
    where: Sequence[str],
    metric: str | None,
    direction: str | None,
    cost: str | None,
    noise: float | None,
) -> Request:
    """The options of the command line as a request."""
    if double and budget not in (None, 2.0):
        raise UserError(f"--double is a budget of 2, and --budget is {budget:g}")
    if direction not in _DIRECTIONS:
        raise UserError(
            f"{direction!r} is not known",
            key="direction",
            allowed="maximize, minimize",
            hint=nearest(str(direction), ("maximize", "minimize")),
        )
    if noise is not None and not 0 < noise < 100:
        raise UserError(f"{noise:g} cannot be used", key="noise", allowed="points, above 0")
    return Request(
        base={
            name: _number(name, value, "base") for name, value in _pairs(base.split(","), "base")
        },
        budget=2.0 if budget is None else budget,
        where=dict(_pairs(where, "where")),
        metric=metric,
        minimize=_DIRECTIONS[direction],
        cost=cost,
        noise=noise,
    )


def limits_of(words: Sequence[str]) -> dict[str, tuple[float, float]]:
    """`beta=1:1.3` as a range."""
    limits: dict[str, tuple[float, float]] = {}
    for name, text in _pairs(words, "limit"):
        low, colon, high = text.partition(":")
        if not colon:
            raise UserError(f"{text!r} is no range", key=f"limit.{name}", allowed="LOW:HIGH")
        pair = _number(name, low, "limit"), _number(name, high, "limit")
        if name in limits:
            pair = max(pair[0], limits[name][0]), min(pair[1], limits[name][1])
        limits[name] = pair
    return limits


def _pairs(words: Sequence[str], key: str) -> list[tuple[str, str]]:
    pairs = []
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not (name and equals and value):
            raise UserError(f"{word!r} is no NAME=VALUE", key=key)
        pairs.append((name, value))
    return pairs


def _number(name: str, text: str, key: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{text!r} is no number", key=f"{key}.{name}") from None
