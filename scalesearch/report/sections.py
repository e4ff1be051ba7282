"""The sections of the page, in the order they are read; a missing phase becomes a sentence."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from PIL import Image

from scalesearch.arch.detector import Architecture
from scalesearch.arch.table_row import TableRow
from scalesearch.history.confirmed import probability_words
from scalesearch.history.trials import PHASES
from scalesearch.report import (
    classes,
    family,
    grid,
    latency,
    learned,
    search,
    surface,
    tables,
    tested,
)
from scalesearch.report.contents import Contents
from scalesearch.report.numbers import cost, metric_word, objective_words, score
from scalesearch.report.predictions import Predictions
from scalesearch.report.tables import Table


@dataclass(frozen=True)
class Fact:
    """A number that a reader wants first."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure on the page.

    Attributes:
        address: the picture as a data URL.
        alt: the picture in words.
        title: what it shows.
        text: sentences below it.
    """

    address: str
    alt: str
    title: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what follows it.

    Attributes:
        title: of the section.
        text: sentences.
        figure: a drawing.
        pictures: with photographs; all but the first are folded.
        tables: those without rows are left out.
    """

    title: str
    text: Sequence[str]
    figure: Picture | None = None
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()


# What it means for a phase's scores that its trainings saw less than all of the data.
_MEANING = {
    "search": "Its scores compare with one another and with those of no other phase.",
    "confirm": "Its scores are of such trainings, too.",
    "grid": "An epoch counts by its images and their pixels. How the grid ranks networks is how "
    "they learn under this schedule; `grid: {confirm: …}` says whether whole trainings rank them "
    "alike.",
    "family": "Whole trainings would give other scores, and other weights.",
}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The figures of a page: SVGs by name, and predictions of detectors, the best first."""

    figures: Mapping[str, bytes] = field(default_factory=dict)
    predictions: Sequence[Predictions] = ()


def facts(contents: Contents) -> list[Fact]:
    """The headline: baseline, coefficients, the largest member, how much was tried."""
    metric, wording, headline = contents.metric, contents.wording, []
    row, chosen = contents.baseline_row(), contents.coefficients
    if row is not None:
        number = contents.baseline_trial
        origin = "given" if number is None else f"trial {number}"
        params = f"{cost('params', row['params'])} parameters" if "params" in row else ""
        value = row[metric]
        repeated = contents.confirmation and contents.confirmation.baseline
        if repeated and metric in repeated.scores:
            value = repeated.scores[metric]
            origin += f", mean of {len(repeated.trainings)} trainings"
        headline += [
            Fact(f"baseline {metric_word(metric)}", score(value, metric), origin),
            Fact("baseline FLOPs", cost("flops", row["flops"]), params),
        ]
    if chosen is not None:
        label = " / ".join(wording.headline).replace("_", " ")
        value = " / ".join(f"{getattr(chosen, name):.4g}" for name in wording.headline)
        headline.append(Fact(label, value, wording.headline_detail.format(chosen)))
    members = family.members(contents)
    if family.COMPOUND in members:
        last = members[family.COMPOUND].iloc[-1]
        label, flops = f"compound, phi = {last['phi']:.4g}", cost("flops", last["flops"])
        headline.append(Fact(label, score(last[metric], metric), f"{flops} FLOPs"))
    if (row := tested.selected(contents)) is not None:
        label = f"test {metric_word(metric)}"
        images = "" if contents.test_images is None else f", {contents.test_images:,} images"
        value = score(contents.test_score(row), metric)
        headline.append(Fact(label, value, f"{tested.name_of(row)}{images}"))
    # The networks of these were assessed before.
    once = (phase for phase in PHASES if phase not in ("confirm", "test"))
    assessed = sum(len(contents.in_state(phase, "assessed")) for phase in once)
    total = f"of {len(contents.trials):,} trials"
    return [*headline, Fact("networks assessed", f"{assessed:,}", total)]


def sections(contents: Contents, drawn: Drawn) -> list[Section]:
    """The sections of the study's task, without those that do not apply."""
    candidates = (section(contents, drawn) for section in _SECTIONS[contents.task])
    return [section for section in candidates if section is not None]


def _baseline(contents: Contents, drawn: Drawn) -> Section:
    repeated = [tables.candidates(contents)]
    if contents.baseline is None:
        return Section(title="Baseline", text=["No baseline has been chosen yet."], tables=repeated)
    number = contents.baseline_trial
    origin = "The study gave it." if number is None else f"It is trial {number} of the search."
    sure = [*_looked_up(contents), *_sureness(contents)]
    network: Architecture | TableRow = contents.baseline
    if isinstance(network, TableRow):
        shape = tables.row_of_table(network)
    else:
        shape = tables.stages(contents, network)
    row = contents.baseline_row()
    if row is None:
        text = [origin, *sure, "It has no measured cost and no score yet."]
        return Section(title="Baseline", text=text, tables=[*repeated, shape])
    shown = [*repeated, shape, tables.costs(row)]
    return Section(title="Baseline", text=[origin, *sure], tables=shown)


def _looked_up(contents: Contents) -> list[str]:
    """Whether its result was looked up in a table or predicted, where nothing was trained."""
    row = contents.baseline_row()
    if row is None or row.get("looked_up") not in (0, 1):
        return []
    if row["looked_up"]:
        return ["Its result was looked up in a table of trained networks."]
    return ["Its result is a prediction from a table of other networks: it was not trained."]


def _sureness(contents: Contents) -> list[str]:
    """How sure it is that the baseline is the best, and which candidate may be taken instead."""
    found = contents.confirmation
    if found is None:
        return [_as_sentence(contents.doubt)] if contents.doubt else []
    text = [_as_sentence(found.sentence), *_seen(contents, "confirm")]
    other = found.alternative
    if found.baseline is None or found.baseline.error is None:
        return text
    if other is None:
        return [*text, "No other candidate is within one standard error of the difference."]
    known = probability_words(other.probability or 0.0)
    flops = [cost("flops", each.trial.cost.flops) for each in (other, found.baseline)]
    return [
        *text,
        "Of the others within one standard error of the difference, trial "
        f"{other.trial.number} has the fewest FLOPs: {flops[0]}, of the baseline's {flops[1]}; "
        f"probability {known}.",
    ]


def _as_sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _family(contents: Contents, drawn: Drawn) -> Section:
    rows = contents.phase("family")
    if rows.empty or not {"strategy", "phi", "flops"} <= set(rows):
        return Section(title="Family", text=["No family has been scaled yet."])
    figure = _figure(contents, drawn, "family")
    text = "Each line scales the same baseline in its own way; higher at equal FLOPs is better."
    return Section(
        title="Family",
        text=[text if figure else "No member has a score yet.", *_seen(contents, "family")],
        figure=figure,
        tables=[tables.family(contents), *_sizes(contents)],
    )


def _tested(contents: Contents, drawn: Drawn) -> Section | None:
    """What the test images say; nothing of a study that has none, or has not come so far."""
    if contents.scored("test").empty:
        return None
    return Section(title="Test", text=tested.sentences(contents), tables=[tested.table(contents)])


def _sizes(contents: Contents) -> list[tables.Table]:
    """What was scaled, of classifiers; a table of detectors has other columns."""
    table = tables.sizes(contents)
    return [table] if table.rows else []


def _detector_family(contents: Contents, drawn: Drawn) -> Section:
    section = _family(contents, drawn)
    return replace(section, tables=[*section.tables, tables.detector_sizes(contents)])


def _precision(contents: Contents, drawn: Drawn) -> Section:
    figure, table = _figure(contents, drawn, "classes"), tables.precision(contents)
    text = "AP of the best networks, by class and by size of objects."
    if figure is None:
        text = "AP by class was not recorded." if table.rows else "No detector has a score yet."
    return Section(title="Precision", text=[text], figure=figure, tables=[table])


def _predictions(contents: Contents, drawn: Drawn) -> Section:
    if not drawn.predictions:
        recorded = contents.truth is not None and contents.detections
        why = "The image files are gone." if recorded else "No detections were recorded."
        return Section(title="Predictions", text=[why])
    names = ", ".join(each.network for each in drawn.predictions)
    pictures = [
        Picture(
            title=each.network,
            address=_smallest(each.png),
            alt=f"Validation images with objects and detections. {each.network}.",
            text=f"{each.network}. {each.text}",
        )
        for each in drawn.predictions
    ]
    text = f"The same validation images for each network; best first: {names}."
    return Section(title="Predictions", text=[text], pictures=pictures)


def _search(contents: Contents, drawn: Drawn) -> Section:
    total = len(contents.phase("search"))
    if not total:
        return Section(title="Search", text=["There was no search."])
    counts = {state: len(contents.in_state("search", state)) for state in tables.STATES}
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    objective = objective_words(contents.objective, contents.metric)
    text = [f"{total} trials: {states}. Objective: {objective}.", *_seen(contents, "search")]
    figure = _figure(contents, drawn, "search")
    if figure is None:
        none_feasible = counts["infeasible"] == total
        why = "Every candidate was outside a limit" if none_feasible else "No trial has a score yet"
        text.append(f"{why}, so there is nothing to draw.")
    shown = [tables.front(contents)]
    if not contents.phase("compare").empty:
        shown.append(tables.compared(contents))
    return Section(title="Search", text=text, figure=figure, tables=shown)


def _learned(contents: Contents, drawn: Drawn) -> Section | None:
    found = contents.learned
    if found is None:
        return None
    text = [
        f"A model of the results predicts {len(found.measured)} networks, each from all others: "
        f"Spearman's rank correlation {found.spearman:.2f}, Kendall's tau {found.tau:.2f}; "
        f"{found.inside:.0%} of them are within its 95 % intervals."
    ]
    if found.bound is not None:
        text.append(
            "Another network within the limits may be better than the best by "
            f"{found.bound:.3g} at most, as the model believes (97.5 %)."
        )
    return Section(
        title="What the search learned",
        text=text,
        figure=_figure(contents, drawn, "learned"),
        tables=[tables.effects(contents)],
    )


def _latency(contents: Contents, drawn: Drawn) -> Section | None:
    if not contents.deployment:
        return None
    text = [
        "Each network was timed on its worker before training, and was infeasible if it violated "
        f"a limit on latency: {contents.deployment}, float32, channels last; the median of many "
        "forward passes.",
        latency.agreement_sentence(contents),
    ]
    figure, front = _figure(contents, drawn, "latency"), tables.front(contents, "latency")
    return Section(title="Latency", text=text, figure=figure, tables=[front])


def _grid(contents: Contents, drawn: Drawn) -> Section:
    figure = _figure(contents, drawn, "grid")
    if figure is not None:
        text = [contents.wording.grid_text, *_fixed(contents)]
        table = tables.coefficients(contents)
        return Section(
            title="Grid",
            text=[*text, *_rounds(contents), *_seen(contents, "grid")],
            figure=figure,
            tables=[table],
        )
    if not contents.phase("grid").empty:
        why = f"No {contents.wording.point} has a score yet."
    elif contents.coefficients is not None:
        why = "The study gave the coefficients."
    else:
        why = "There was no grid."
    return Section(title="Grid", text=[why])


def _rounds(contents: Contents) -> list[str]:
    """What rounds have saved, where the grid was trained in rounds."""
    if contents.spent is None:
        return []
    spent, repeats, without = contents.spent
    saved = (
        f"Trained in rounds: one training of each network to its end would have been {without}; "
        f"with those that were stopped at a rung it was {spent - repeats:.4g}, and with repeats of "
        f"the leaders {spent:.4g} in all."
    )
    return [saved]


def _seen(contents: Contents, phase: str) -> list[str]:
    """What trainings of a phase saw of the data, where it was not all of it."""
    if phase not in contents.seen:
        return []
    return [f"Every training of the {phase} saw {contents.seen[phase]}. {_MEANING[phase]}"]


def _surface(contents: Contents, drawn: Drawn) -> Section | None:
    """What the grid's trainings say together, and how sure that is."""
    if contents.no_surface:
        lines = [f"There is no surface: {contents.no_surface}.", *_sentences(contents)]
        return Section(title="How sure", text=lines)
    if contents.surface is None:
        return None
    lines = _sentences(contents)
    return Section(title="How sure", text=lines, figure=_figure(contents, drawn, "surface"))


def _sentences(contents: Contents) -> list[str]:
    return [f"{line[0].upper()}{line[1:]}." for line in contents.surface_lines]


def _drift(contents: Contents, drawn: Drawn) -> Section | None:
    """Whether the ranking holds for longer trainings and larger networks."""
    if contents.drift is None:
        return None
    lines = [f"{line[0].upper()}{line[1:]}." for line in contents.drift.sentences]
    lost = [each for each in contents.drift.conditions if each.is_lost]
    first = contents.drift.conditions[0]
    if any(each.length != first.length for each in lost):
        lines.append(
            "Warning: do not rely on the ranking of the short trainings. Train the grid for "
            "longer, or take the best of the longest trainings here."
        )
    elif lost:
        lines.append(
            f"Warning: what is best at phi {first.phi:g} is not what is best at other sizes. Take "
            "the best at the size that you need, or a grid of that budget."
        )
    return Section(title="Does it hold?", text=lines, tables=[tables.drift(contents)])


def _fixed(contents: Contents) -> list[str]:
    """A sentence on the coefficients that the grid does not vary, if there are any."""
    chosen, varied = contents.coefficients, grid.shown(contents)
    values = {} if chosen is None else chosen.file_entries()
    values.pop("growth", None)  # it follows from those that are varied
    words = [
        f"{key.replace('_', ' ')} {value if isinstance(value, str) else f'{value:.4g}'}"
        for key, value in values.items()
        if key not in varied
    ]
    return [f"The same in all {contents.wording.point}s: {', '.join(words)}."] if words else []


def _trials(contents: Contents, drawn: Drawn) -> Section:
    accounts = [tables.progress(contents), tables.limits(contents), tables.failures(contents)]
    empty = contents.trials.empty
    text = "No trial has been recorded yet." if empty else "Every trial is a row of trials.csv."
    return Section(title="Trials", text=[text], tables=accounts)


# The page of each task, in reading order; a section may be None where it does not apply.
_SECTIONS: Mapping[str, Sequence[Callable[[Contents, Drawn], Section | None]]] = {
    "classification": (
        _baseline,
        _family,
        _tested,
        _search,
        _learned,
        _latency,
        _grid,
        _surface,
        _drift,
        _trials,
    ),
    "detection": (
        *(_baseline, _detector_family, _tested, _precision, _predictions),
        *(_search, _learned, _latency, _grid, _surface, _drift, _trials),
    ),
}


# Each figure in words, for those who cannot see it.
_SUMMARIES = {
    "search": search.summary,
    "learned": learned.summary,
    "latency": latency.summary,
    "grid": grid.summary,
    "surface": surface.summary_of_contents,
    "family": family.summary,
    "classes": classes.summary,
}


def _figure(contents: Contents, drawn: Drawn, name: str) -> Picture | None:
    svg = drawn.figures.get(name)
    if svg is None:
        return None
    return Picture(address=_data_url(svg), alt=_SUMMARIES[name](contents))


def _data_url(content: bytes, kind: str = "svg+xml") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _smallest(png: bytes) -> str:
    """The data URL of a figure, as JPEG where that is smaller, as it is for photographs."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        # Thin coloured lines need colour at full resolution.
        image.convert("RGB").save(buffer, "jpeg", quality=85, subsampling=0, optimize=True)
    jpeg = buffer.getvalue()
    return _data_url(jpeg, "jpeg") if len(jpeg) < len(png) else _data_url(png, "png")
