"""What the page says, in the order it is read; a missing phase becomes a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from scalesearch.report import (
    account,
    detector_sections,
    detector_tables,
    family,
    grid,
    latency,
    search,
    tables,
)
from scalesearch.report.contents import Contents
from scalesearch.report.numbers import TIMES, cost, metric_word, objective_words, score
from scalesearch.report.predictions import Predictions
from scalesearch.report.section import Section, address
from scalesearch.scaling.detector import DetectorCoefficients, Scaling

Figures = Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A number that a reader wants first."""

    label: str
    value: str
    detail: str = ""


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
            Fact(
                label=f"baseline {metric_word(metric)}",
                value=score(row[metric], metric),
                detail=origin,
            )
        )
        found.append(Fact(label="baseline FLOPs", value=flops, detail=params))
    if contents.coefficients is not None:
        found.append(_coefficients(contents.coefficients))
    members = family.members(contents)
    if family.COMPOUND in members:
        last = members[family.COMPOUND].iloc[-1]
        flops = f"{cost('flops', last['flops'])} FLOPs"
        label = f"compound, phi = {last['phi']:.4g}"
        found.append(Fact(label=label, value=score(last[metric], metric), detail=flops))
    assessed = sum(len(contents.in_state(phase, "assessed")) for phase in account.PHASES)
    tried = f"of {len(contents.trials):,} trials"
    return [*found, Fact(label="networks assessed", value=f"{assessed:,}", detail=tried)]


def sections(
    contents: Contents, figures: Figures, drawn: Sequence[Predictions] = ()
) -> list[Section]:
    """Baseline, family, search, latency where it was measured, coefficients, trials.

    Of detectors also precision by class and size, and predictions.
    """
    detectors = contents.task == "detection"
    return [
        _baseline(contents),
        _family(contents, figures),
        *([detector_sections.precision(contents, figures)] if detectors else []),
        *([detector_sections.predictions(contents, drawn)] if detectors else []),
        _search(contents, figures),
        *([_latency(contents, figures)] if contents.deployment else []),
        _grid(contents, figures),
        _trials(contents),
    ]


def _coefficients(chosen: Scaling) -> Fact:
    if isinstance(chosen, DetectorCoefficients):
        numbers = (chosen.alpha, chosen.beta, chosen.neck_width)
        label = "alpha / beta / neck width"
        detail = (
            f"per phi: neck +{chosen.neck_depth:.3g}, heads +{chosen.head_depth:.3g} layers, "
            f"input +{chosen.resolution:.4g} pixels"
        )
    else:
        numbers = (chosen.alpha, chosen.beta, chosen.gamma)
        label = "alpha / beta / gamma"
        detail = f"FLOPs {TIMES} {chosen.growth:.3f} per phi"
    return Fact(label=label, value=" / ".join(f"{n:.4g}" for n in numbers), detail=detail)


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
    members = [tables.family(contents), detector_tables.sizes(contents)]
    if "family" not in figures:
        return Section(title="Family", text=["No member has a score yet."], tables=members)
    return Section(
        title="Family",
        text=[
            "Each line scales the same baseline in its own way; higher at equal FLOPs is better."
        ],
        figure=address(figures["family"]),
        alt=family.summary(contents),
        tables=members,
    )


def _search(contents: Contents, figures: Figures) -> Section:
    rows = contents.phase("search")
    if rows.empty:
        return Section(title="Search", text=["There was no search."])
    counts = {state: len(contents.in_state("search", state)) for state in account.STATES}
    ends = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    aim = objective_words(contents.objective, contents.metric)
    text = [f"{len(rows)} trials: {ends}. Objective: {aim}."]
    if "search" not in figures:
        all_refused = counts["infeasible"] == len(rows)
        why = "Every candidate was outside a limit" if all_refused else "No trial has a score yet"
        return Section(title="Search", text=[*text, f"{why}, so there is nothing to draw."])
    return Section(
        title="Search",
        text=text,
        figure=address(figures["search"]),
        alt=search.summary(contents),
        tables=[tables.front(contents)],
    )


def _latency(contents: Contents, figures: Figures) -> Section:
    text = [
        "Each network was timed on its worker before it was trained, and infeasible if it was over a "
        f"limit on latency: {contents.deployment}, float32, channels last; the median of many "
        "forward passes.",
        latency.agreement_sentence(contents),
    ]
    drawn = "latency" in figures
    return Section(
        title="Latency",
        text=text,
        figure=address(figures["latency"]) if drawn else "",
        alt=latency.summary(contents) if drawn else "",
        tables=[tables.latency_front(contents)],
    )


def _grid(contents: Contents, figures: Figures) -> Section:
    if "grid" not in figures:
        given = contents.coefficients is not None
        without = "The study gave the coefficients." if given else "There was no grid."
        empty = contents.phase("grid").empty
        unscored = f"No {grid.kind(contents)} has a score yet."
        return Section(title="Grid", text=[without if empty else unscored])
    return Section(
        title="Grid",
        text=[_grid_text(contents)],
        figure=address(figures["grid"]),
        alt=grid.summary(contents),
        tables=[tables.coefficients(contents)],
    )


def _grid_text(contents: Contents) -> str:
    if contents.task != "detection":
        return (
            "Alpha multiplies depth, beta width, gamma resolution. In the triangle a triple lies "
            "where its growth in FLOPs goes; larger and darker is better, and numbers are ranks."
        )
    chosen, drawn = contents.coefficients, grid.shown(contents)
    same = {} if chosen is None else asdict(chosen)
    words = [f"{key.replace('_', ' ')} {same[key]:.4g}" for key in same if key not in drawn]
    text = "What each phi does to the backbone, to neck and heads, and to the input."
    return f"{text} The same in all combinations: {', '.join(words)}." if words else text


def _trials(contents: Contents) -> Section:
    found = [account.progress(contents), account.limits(contents), account.failures(contents)]
    empty = contents.trials.empty
    text = "No trial has been recorded yet." if empty else "Every trial is a row of trials.csv."
    return Section(title="Trials", text=[text], tables=found)
