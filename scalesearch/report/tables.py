"""The tables of the page, as text in rows and columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import cast

import pandas as pd

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import Factory, arguments
from scalesearch.arch.table_row import TableRow
from scalesearch.cost.cost import UNITS
from scalesearch.cost.limits import Limits
from scalesearch.history.confirmed import probability_words
from scalesearch.history.trials import PHASES
from scalesearch.report.by_stage import by_stage
from scalesearch.report.classes import best_by_phase
from scalesearch.report.contents import Contents
from scalesearch.report.family import COMPOUND, words
from scalesearch.report.grid import TRIPLE, shown, triple_of
from scalesearch.report.numbers import (
    NAMES,
    NONE,
    TIMES,
    cost,
    metric_word,
    objective_words,
    percent,
    score,
)
from scalesearch.scaling.realise import effective
from scalesearch.units import format_seconds

TOP = 10
STATES = ("assessed", "reused", "infeasible", "stopped", "failed", "running")
MOST_FAILURES = 40
_NAN = float("nan")
# The columns of COCO's table of results, of which trials may lack some.
_PRECISIONS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ap50_voc")
# An infeasible trial's reason names the bounds that it violates, such as `flops.max`; a latency
# limit may be violated by prediction, before anything is measured.
_BOUND = re.compile(rf"\b(?:predicted_)?({'|'.join(UNITS)})\.(min|max)\b")


_EFFECTS = 12


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the page.

    Attributes:
        caption: what the rows are.
        head: one word or two for each column.
        rows: as many texts each.
        words: columns that hold words; the others hold numbers.
        marked: rows that are highlighted.
        note: a sentence below.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[int] = frozenset()
    marked: frozenset[int] = frozenset()
    note: str = ""


def costs(row: pd.Series) -> Table:
    """Every cost of one trial."""
    known = [(name, unit) for name, unit in UNITS.items() if row.get(name, 0) > 0]
    rows = [
        [NAMES[name], cost(name, row[name]), f"{row[name]:,.{6 * (unit == 'seconds')}f} {unit}"]
        for name, unit in known
    ]
    return Table(
        caption="What the baseline costs, as measured",
        head=["cost", "rounded", "exactly"],
        rows=rows,
        words=frozenset({0}),
    )


def row_of_table(net: TableRow) -> Table:
    """The choices of a network that is known by its row of a table alone."""
    return Table(
        caption="The baseline: a row of the table",
        head=["parameter", "choice"],
        rows=[[name, str(choice)] for name, choice in net.parameters],
        words=frozenset({0, 1}),
    )


def stages(contents: Contents, net: Architecture) -> Table:
    """One row for the stem, each stage and the head, or neck and heads: sizes, share of FLOPs.

    Of what a factory builds the arguments of the call.
    """
    if isinstance(net, Factory):
        return Table(
            caption=f"The baseline: {net.factory} for images of {net.resolution} {TIMES} "
            f"{net.resolution} pixels",
            head=["argument", "value"],
            rows=[[name, str(value)] for name, value in arguments(net).items()],
            words=frozenset({0, 1}),
        )
    parts = list(by_stage(net))
    total = sum(part.costs["flops"] for part in parts)
    rows = [
        [
            *(part.name, part.block, f"{part.size[0]} {TIMES} {part.size[1]}"),
            *(f"{part.width}", f"{part.depth}", cost("params", part.costs["params"])),
            percent(part.costs["flops"] / total),
        ]
        for part in parts
    ]
    side, wording = net.resolution, contents.wording
    return Table(
        caption=f"The baseline: {wording.network.format(net)} for images of {side} {TIMES} {side} "
        "pixels",
        head=["part", "block", "output", "width", "depth", "parameters", "FLOPs"],
        rows=rows,
        words=frozenset({0, 1}),
        note="Blocks: k is the kernel size, s the stride, e the expansion, se the squeeze-excite "
        "channels as a share of the input, r the reduction. Width: output channels. Depth: blocks. "
        f"{wording.network_note.format(net)}, {net.num_classes} classes.",
    )


def candidates(contents: Contents) -> Table:
    """The networks that were trained several times, the highest mean first."""
    found = contents.confirmation
    aim = objective_words(contents.objective, contents.metric)
    rows = []
    for each in found.candidates if found else ():
        error = "" if each.error is None else f" ± {_value(contents, each.error)}"
        few = f"{len(each.trainings)} result{'s' * (len(each.trainings) != 1)}"
        known = NONE if each.probability is None else probability_words(each.probability)
        rows.append(
            [
                f"{each.trial.number}",
                _value(contents, each.trial.objective[0]),
                f"{_value(contents, each.mean)}{error}",
                f"{len(each.trainings)}" + f", {each.failed} failed" * bool(each.failed),
                cost("flops", each.trial.cost.flops),
                known if each.error is not None else f"{NONE} ({few})",
            ]
        )
    same = _is_metric(contents)
    return Table(
        caption="Candidates, trained several times",
        head=[
            *("trial", "in the search", "mean ± standard error", "trainings"),
            *("FLOPs", "probability of being the best"),
        ],
        rows=rows,
        marked=frozenset({0} if found and found.baseline and contents.baseline else ()),
        note=f"{'' if same else f'Values are of the objective, {aim}. '}In the search: of one "
        "training. Standard error: of the mean, by the variance of one training pooled over all "
        "candidates. Probability: the share of 100,000 draws from Student's t around the means in "
        "which a candidate is the highest.",
    )


def front(contents: Contents, against: str = "flops") -> Table:
    """The Pareto front of the search in the metric and one cost, best first."""
    rows = contents.front("search", against).iloc[::-1]
    costs = list(dict.fromkeys((against, "flops", "params")))
    numbers = list(rows.get("number", ()))
    return Table(
        caption=f"The Pareto front in {NAMES[against]}",
        head=["trial", metric_word(contents.metric), *(NAMES[name] for name in costs)],
        rows=[
            [
                f"{row['number']:.0f}",
                score(row[contents.metric], contents.metric),
                *_costs(row, costs),
            ]
            for _, row in rows.iterrows()
        ],
        marked=frozenset(i for i, n in enumerate(numbers) if n == contents.baseline_trial),
        note=f"No other network has a better score for the same {NAMES[against]} or less.",
    )


def coefficients(contents: Contents) -> Table:
    """The best coefficients of the grid, the winner first; of triples with their growth."""
    names, ranking = shown(contents), contents.ranking("grid")
    triples = not {*names}.isdisjoint(TRIPLE)
    known = {point.first.number: point for point in contents.points}
    repeated = any(len(point.trainings) > 1 for point in known.values())
    rows = []
    for rank, (_, row) in enumerate(ranking.iloc[:TOP].iterrows(), start=1):
        cells = [f"{rank}", *(f"{row[name]:.4g}" for name in names)]
        if triples:
            cells.append(f"{triple_of(row).product:.3f}")
        cells.append(score(contents.mean(row), contents.metric))
        if repeated:
            point = known[row["number"]]
            error = _NAN if point.error is None else point.error
            cells += [score(error, contents.metric), f"{len(point.trainings)}"]
        rows.append([*cells, cost("flops", row["flops"])])
    columns = [*(name.replace("_", " ") for name in names), *(["growth"] if triples else [])]
    columns.append(metric_word(contents.metric))
    columns += ["standard error", "trainings"] if repeated else []
    copies = len(contents.scored("grid")) - len(ranking)
    verb = "has" if copies == 1 else "have"
    notes = ["Growth: alpha · beta² · gamma²."] * triples
    if copies > 0:
        notes.append(f"{copies} more {verb} the network of one of these.")
    if contents.surface is not None:
        notes.append("The first is where the surface is highest, the others follow by their mean.")
    return Table(
        caption=f"The best {len(rows)} of {len(ranking)} {contents.wording.point}s",
        head=["rank", *columns, "FLOPs"],
        rows=rows,
        marked=frozenset({0} if contents.coefficients is not None else ()),
        note=" ".join(notes),
    )


def drift(contents: Contents) -> Table:
    """The ways to scale under each condition, in the order of the first."""
    assert contents.drift is not None
    conditions = contents.drift.conditions
    best = [condition.best for condition in conditions]
    rows = [
        [
            way,
            *(
                score(c.values.get(way, _NAN), contents.metric) + " \N{BLACK STAR}" * (way == top)
                for c, top in zip(conditions, best, strict=True)
            ),
        ]
        for way in conditions[0].values
    ]
    return Table(
        caption=f"{metric_word(contents.metric).capitalize()} of leaders and single dimensions",
        head=["alpha, beta, gamma", *(condition.words for condition in conditions)],
        rows=rows,
        words=frozenset({0}),
        note="\N{BLACK STAR}: the best in its column.",
    )


def family(contents: Contents) -> Table:
    """Every member; below each compound member those that come nearest to its FLOPs."""
    members = contents.phase("family")
    compound = members.loc[members["strategy"] == COMPOUND, "flops"].dropna()
    tested = not contents.scored("test").empty
    timed = ["latency"] if "latency" in members and members["latency"].notna().any() else []
    rows = []
    for _, row in members.iterrows():
        gaps = (compound / row["flops"]).map(lambda ratio: max(ratio, 1 / ratio)).dropna()
        nearest = compound[gaps.idxmin()] if len(gaps) else _NAN
        cells = [
            words(str(row["strategy"])),
            f"{row['phi']:.4g}",
            score(row.get(contents.metric, _NAN), contents.metric),
            *([score(contents.test_score(row), contents.metric)] if tested else []),
            *_costs(row, ["flops"]),
            *([percent(row["flops"] / nearest)] if len(compound) else []),
            *_costs(row, ["params", "activations", "training_bytes", *timed]),
            _spent(row),
            str(row["state"]),
        ]
        # A member without a cost comes last.
        after = float("inf") if pd.isna(nearest) else nearest
        rows.append(((after, row["strategy"] != COMPOUND), cells))
    rows.sort(key=lambda member: member[0])
    return Table(
        caption="Members",
        head=[
            *("strategy", "phi", metric_word(contents.metric)),
            *((f"test {metric_word(contents.metric)}",) if tested else ()),
            "FLOPs",
            *(("of compound",) if len(compound) else ()),
            *("parameters", "activations", "training memory", *timed, "time", "state"),
        ],
        rows=[cells for _, cells in rows],
        words=frozenset({0, 8 + len(timed) + bool(len(compound)) + tested}),
        marked=frozenset(i for i, (_, cells) in enumerate(rows) if cells[0] == COMPOUND),
        note="Of compound: FLOPs as a share of those of the compound member above. "
        * bool(len(compound))
        + "Time: of the whole trial on its worker; equal FLOPs take unequal time, which follows "
        "activations.",
    )


def _are_comparable(start: object, net: object) -> bool:
    """Whether a network is the other one, larger or smaller: of the same factory, or stages."""
    if isinstance(start, Factory) and isinstance(net, Factory):
        return start.factory == net.factory
    if isinstance(start, Backbone) and isinstance(net, Backbone):
        return [s.block for s in start.stages] == [s.block for s in net.stages]
    return False


def sizes(contents: Contents) -> Table:
    """Depth, width and side of every classifier of the family, as multiples of the baseline's."""
    start, rows = contents.baseline, []
    for member in contents.members:
        net = member.architecture
        if not _are_comparable(start, net):
            continue
        assert isinstance(start, Backbone | Factory)
        assert isinstance(net, Backbone | Factory)
        by = effective(start, net)
        rows.append(
            [
                *(words(member.strategy), f"{member.phi:.4g}"),
                *(f"{TIMES}{value:.2f}" for value in (by.depth, by.width, by.resolution)),
                NONE if isinstance(net, Factory) else f"{net.depth}",
                f"{net.resolution}",
            ]
        )
    return Table(
        caption="What is scaled, effectively",
        head=["strategy", "phi", "depth", "width", "resolution", "blocks", "pixels"],
        rows=rows,
        words=frozenset({0}),
        marked=frozenset(i for i, row in enumerate(rows) if row[0] == COMPOUND),
        note="After rounding, as multiples of the baseline's: blocks, the geometric mean of the "
        "widths of stages, the side of the input. Of what a factory builds: what it was asked for.",
    )


def detector_sizes(contents: Contents) -> Table:
    """The parts of every detector of the family, the backbone's as multiples of the baseline's."""
    rows = []
    for member in contents.members:
        start, net = (cast(Detector, each) for each in (contents.baseline, member.architecture))
        width, start_width = (
            sum(stage.width for stage in each.backbone.stages) for each in (net, start)
        )
        rows.append(
            [
                *(words(member.strategy), f"{member.phi:.4g}", f"{net.resolution}"),
                f"{TIMES}{net.depth / start.depth:.2f}",
                f"{TIMES}{width / start_width:.2f}",
                *(f"{count}" for count in (net.neck.width, net.neck.depth, net.heads.depth)),
            ]
        )
    return Table(
        caption="What is scaled",
        head=[
            *("strategy", "phi", "resolution", "backbone depth", "backbone width"),
            *("neck width", "neck depth", "head depth"),
        ],
        rows=rows,
        words=frozenset({0}),
        marked=frozenset(i for i, row in enumerate(rows) if row[0] == COMPOUND),
        note="Backbone: blocks, and the sum of its stages' widths, as multiples of the "
        "baseline's. Heads are as wide as the neck. Neck and head depth: layers.",
    )


def precision(contents: Contents) -> Table:
    """AP of the best network of each phase: averaged, at two overlaps, by size of object."""
    best = best_by_phase(contents)
    names = [name for name in _PRECISIONS if any(pd.notna(row.get(name)) for row in best.values())]
    rows = [
        [phase, f"{row['number']:.0f}", *(score(row.get(name, _NAN), name) for name in names)]
        for phase, row in best.items()
    ]
    return Table(
        caption="The best network of each phase",
        head=["phase", "trial", *map(metric_word, names)],
        rows=rows if names else [],
        words=frozenset({0}),
        note="AP from 0 to 100, the mean over intersections over union of .5 to .95; AP50 and "
        f"AP75: at .5 and at .75. Small: objects below 32{TIMES}32 pixels of the image; large: "
        f"above 96{TIMES}96.",
    )


def progress(contents: Contents) -> Table:
    """How the trials of each phase ended, and the time they took."""
    rows = []
    for phase in PHASES:
        trials = contents.phase(phase)
        if trials.empty:
            continue
        states = Counter(trials["state"])
        spent = format_seconds(trials["seconds"].sum()) if "seconds" in trials else NONE
        counts = [f"{states[state]}" if states[state] else NONE for state in STATES]
        rows.append([phase, f"{len(trials)}", *counts, spent])
    return Table(
        caption="Trials by phase",
        head=["phase", "trials", *STATES, "time on workers"],
        rows=rows,
        words=frozenset({0}),
        note="Infeasible: outside a limit, never trained. Reused: the same network had a score.",
    )


def limits(contents: Contents) -> Table:
    """The limits of each phase, and how many trials were infeasible by each."""
    rows = []
    for phase in PHASES:
        violated = _violated(contents, phase)
        for name, side, bound in _bounds(contents.limits.get(phase, {})):
            words = f"{'at most' if side == 'max' else 'at least'} {cost(name, bound)}"
            count = f"{violated[(name, side)]}" if violated else NONE
            rows.append([phase, NAMES[name], words, count])
    return Table(
        caption="Limits",
        head=["phase", "cost", "limit", "infeasible by it"],
        rows=rows,
        words=frozenset({0, 1}),
        note="One trial may violate several limits.",
    )


def failures(contents: Contents) -> Table:
    """The failed trials by cause, with their reasons, and attempts that machines ended."""
    rows, causes = [], Counter[str]()
    for phase in PHASES:
        for _, row in contents.in_state(phase, "failed").iterrows():
            reason = row.get("reason")
            text = reason if isinstance(reason, str) and reason else "no reason was recorded"
            cause, colon, _ = text.partition(": ")
            causes[cause if colon else "error"] += 1
            rows.append([phase, f"{row['number']:.0f}", text])
    hidden = len(rows) - MOST_FAILURES
    notes = [f"{hidden} more are in trials.csv."] if hidden > 0 else []
    again = (contents.trials.get("attempts", pd.Series(dtype=float)).dropna() - 1).sum()
    if again:
        notes.append(
            f"{again:.0f} attempts were ended by a machine and not by a network, and made again."
        )
    by_cause = ", ".join(f"{count} {cause}" for cause, count in causes.most_common())
    return Table(
        caption=f"Failed trials ({len(rows)}{': ' * bool(rows)}{by_cause})",
        head=["phase", "trial", "reason"],
        rows=rows[:MOST_FAILURES],
        words=frozenset({0, 2}),
        note=" ".join(notes),
    )


def _is_metric(contents: Contents) -> bool:
    """Whether the first value of an objective is the metric itself: it is not of a reward."""
    rows = contents.scored("search")
    return not rows.empty and rows["objective"].equals(rows[contents.metric])


def _value(contents: Contents, value: float) -> str:
    """The first value of an objective."""
    if _is_metric(contents):
        return score(value, contents.metric)
    return f"{value:.4g}" if isfinite(value) else NONE


def _spent(row: pd.Series) -> str:
    """The time of a trial, where it ran and not another one of the same network."""
    seconds = row.get("seconds", _NAN)
    return format_seconds(seconds) if seconds > 0 and row["state"] == "assessed" else NONE


def _costs(row: pd.Series, names: Iterable[str]) -> list[str]:
    return [cost(name, row.get(name, _NAN)) for name in names]


def _bounds(limits: Limits) -> Iterator[tuple[str, str, float]]:
    """Cost, side and value of each bound."""
    for name, limit in limits.items():
        for side in ("min", "max"):
            if (bound := getattr(limit, side)) is not None:
                yield name, side, bound


def _violated(contents: Contents, phase: str) -> Counter[tuple[str, str]]:
    """Bound to the number of infeasible trials whose reason names it."""
    infeasible = contents.in_state(phase, "infeasible")
    if "reason" not in infeasible:
        return Counter()
    texts = infeasible["reason"].dropna().astype(str)
    return Counter(bound for text in texts for bound in set(_BOUND.findall(text)))


def compared(contents: Contents) -> Table:
    """The networks that the search is compared with, and its baseline."""
    metric, rows = contents.metric, contents.scored("compare")
    named = [(str(row["network"]), row) for row in rows.to_dict("records")]
    base = contents.baseline_row()
    if base is not None:
        named.append(("baseline", dict(base)))
    known = any("looked_up" in row for _, row in named)
    head = ["network", metric_word(metric), "objective", "FLOPs", "params"]
    return Table(
        caption="Compared networks",
        head=[*head, *(["result"] if known else [])],
        rows=[
            [
                name,
                score(row[metric], metric),
                f"{row['objective']:.4g}",
                cost("flops", row["flops"]),
                cost("params", row["params"]),
                *(["looked up" if row.get("looked_up") else "predicted"] if known else []),
            ]
            for name, row in named
        ],
        words=frozenset({0, 5} if known else {0}),
        marked=frozenset({len(named) - 1} if base is not None else ()),
        note="The search saw none of them.",
    )


def effects(contents: Contents) -> Table:
    """Which choices matter: the best against the worst of each parameter."""
    found = contents.learned.effects if contents.learned else ()
    more = f" {len(found) - _EFFECTS} others matter less." if len(found) > _EFFECTS else ""
    return Table(
        caption="Which choices matter",
        head=["parameter", "best", "worst", "gain", "95 % interval"],
        rows=[
            [e.parameter, e.best, e.worst, f"{e.gain:.3g}", f"{e.low:.2g} to {e.high:.2g}"]
            for e in found[:_EFFECTS]
        ],
        words=frozenset({0, 1, 2}),
        note="Gain of the objective from the worst to the best choice, all others being equal, by "
        f"a linear model of all choices; intervals by resampling networks.{more}",
    )
