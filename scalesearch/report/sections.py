"""What the page says, in the order it is read; a missing phase becomes a sentence."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scalesearch.report import account, family, grid, latency, search, tables
from scalesearch.report.contents import Contents
from scalesearch.report.numbers import TIMES, cost, score
from scalesearch.report.tables import Table

Figures = Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A number that a reader wants first."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands below it.

    Attributes:
        title: of the section.
        text: sentences.
        figure: an SVG as a data address, or empty.
        alt: the figure in words.
        tables: those without rows are left out.
    """

    title: str
    text: Sequence[str]
    figure: str = ""
    alt: str = ""
    tables: Sequence[Table] = ()


def facts(contents: Contents) -> list[Fact]:
    """The headline: baseline, coefficients, the largest member, how much was tried."""
    metric, found = contents.metric, []
    row = contents.baseline_row()
    if row is not None:
        number = contents.baseline_trial
        origin = "given" if number is None else f"trial {number}"
        params = f"{cost('params', row['params'])} parameters" if "params" in row else ""
        flops = cost("flops", row["flops"])
        found.append(
            Fact(label=f"baseline {metric}", value=score(row[metric], metric), detail=origin)
        )
        found.append(Fact(label="baseline FLOPs", value=flops, detail=params))
    chosen = contents.coefficients
    if chosen is not None:
        triple = " / ".join(f"{value:.4g}" for value in (chosen.alpha, chosen.beta, chosen.gamma))
        growth = f"FLOPs {TIMES} {chosen.growth:.3f} per phi"
        found.append(Fact(label="alpha / beta / gamma", value=triple, detail=growth))
    members = family.members(contents)
    if family.COMPOUND in members:
        last = members[family.COMPOUND].iloc[-1]
        flops = f"{cost('flops', last['flops'])} FLOPs"
        label = f"compound, phi = {last['phi']:.4g}"
        found.append(Fact(label=label, value=score(last[metric], metric), detail=flops))
    assessed = sum(len(contents.in_state(phase, "assessed")) for phase in account.PHASES)
    tried = f"of {len(contents.trials):,} trials"
    return [*found, Fact(label="networks assessed", value=f"{assessed:,}", detail=tried)]


def sections(contents: Contents, figures: Figures) -> list[Section]:
    """Baseline, family, search, latency where it was measured, coefficients, trials."""
    return [
        _baseline(contents),
        _family(contents, figures),
        _search(contents, figures),
        *([_latency(contents, figures)] if contents.deployment else []),
        _grid(contents, figures),
        _trials(contents),
    ]


def _baseline(contents: Contents) -> Section:
    if contents.baseline is None:
        return Section(title="Baseline", text=["No baseline has been chosen yet."])
    number = contents.baseline_trial
    origin = "The study gave it." if number is None else f"It is trial {number} of the search."
    shape = tables.stages(contents.baseline)
    row = contents.baseline_row()
    if row is None:
        text = [origin, "It has no measured cost and no score yet."]
        return Section(title="Baseline", text=text, tables=[shape])
    return Section(title="Baseline", text=[origin], tables=[shape, tables.costs(row)])


def _family(contents: Contents, figures: Figures) -> Section:
    rows = contents.phase("family")
    if rows.empty or not {"strategy", "phi", "flops"} <= set(rows):
        return Section(title="Family", text=["No family has been scaled yet."])
    members = tables.family(contents)
    if "family" not in figures:
        return Section(title="Family", text=["No member has a score yet."], tables=[members])
    return Section(
        title="Family",
        text=[
            "Each line scales the same baseline in its own way; higher at equal FLOPs is better."
        ],
        figure=_address(figures["family"]),
        alt=family.summary(contents),
        tables=[members],
    )


def _search(contents: Contents, figures: Figures) -> Section:
    rows = contents.phase("search")
    if rows.empty:
        return Section(title="Search", text=["There was no search."])
    counts = {state: len(contents.in_state("search", state)) for state in account.STATES}
    ends = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    text = [f"{len(rows)} trials: {ends}. Objective: {contents.objective}."]
    if "search" not in figures:
        all_refused = counts["refused"] == len(rows)
        why = "Every candidate was outside a limit" if all_refused else "No trial has a score yet"
        return Section(title="Search", text=[*text, f"{why}, so there is nothing to draw."])
    return Section(
        title="Search",
        text=text,
        figure=_address(figures["search"]),
        alt=search.summary(contents),
        tables=[tables.front(contents)],
    )


def _latency(contents: Contents, figures: Figures) -> Section:
    text = [
        "Each network was timed on its worker before it was trained, and refused if it was over a "
        f"limit on latency: {contents.deployment}, float32, channels last; the median of many "
        "forward passes.",
        latency.agreement_sentence(contents),
    ]
    drawn = "latency" in figures
    return Section(
        title="Latency",
        text=text,
        figure=_address(figures["latency"]) if drawn else "",
        alt=latency.summary(contents) if drawn else "",
        tables=[tables.latency_front(contents)],
    )


def _grid(contents: Contents, figures: Figures) -> Section:
    if "grid" not in figures:
        given = contents.coefficients is not None
        without = "The study gave the coefficients." if given else "There was no grid."
        empty = contents.phase("grid").empty
        return Section(title="Grid", text=[without if empty else "No triple has a score yet."])
    text = (
        "Alpha multiplies depth, beta width, gamma resolution. In the triangle a triple lies where "
        "its growth in FLOPs goes; larger and darker is better, and numbers are ranks."
    )
    return Section(
        title="Grid",
        text=[text],
        figure=_address(figures["grid"]),
        alt=grid.summary(contents),
        tables=[tables.triples(contents)],
    )


def _trials(contents: Contents) -> Section:
    found = [account.progress(contents), account.limits(contents), account.failures(contents)]
    empty = contents.trials.empty
    text = "No trial has been recorded yet." if empty else "Every trial is a row of trials.csv."
    return Section(title="Trials", text=[text], tables=found)


def _address(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
