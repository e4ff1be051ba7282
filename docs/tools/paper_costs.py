"""What the networks of papers cost: `python -m docs.tools.paper_costs docs/reproduction.md [CSV]`.

Every study of `studies/paper/` with the paper's own baseline in place of the small one. The text
between `<!-- costs of NAME -->` and `<!-- end -->` is replaced; the tables are printed as well.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from docs.tools.families import markdown_table
from docs.tools.papers import PAPERS, SCALED, Scaled
from scalesearch.arch.backbone import Backbone
from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.files.write import write_text
from scalesearch.scaling.family import members
from scalesearch.scaling.lines import multiplied
from scalesearch.study.load import load_study
from scalesearch.study.schema import Line
from scalesearch.units import parse_count

STUDIES = Path(__file__).parents[2] / "studies" / "paper"
# What the activations of a network grow to at four times its FLOPs: Dollar, Singh & Girshick 2021,
# Table 2 and section 4: s^.83, s^.6, s^.5, s, s.
LAW = {"compound": 0.83, "fast_compound": 0.6, "width": 0.5, "depth": 1.0, "resolution": 1.0}
LAW_NETWORKS = ("efficientnet_b0", "resnet50")
_TABLE = re.compile(r"(<!-- costs of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Row(NamedTuple):
    """One network of a figure or table: exact counts, and what others have; empty if nothing.

    Attributes:
        line: of the study.
        scaled: `depth 2, width 1.4`, or a name.
        printed: FLOPs (of wide residual networks parameters) in the paper.
        counted: FLOPs counted on another implementation by fvcore.
        score: in the paper.
    """

    study: str
    line: str
    scaled: str
    flops: int
    params: int
    activations: int
    printed: str = ""
    counted: str = ""
    score: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours to the printed number."""
        ours = self.params if self.study == "wide_resnet_grid" else self.flops
        return ours / parse_count(self.printed) if self.printed else None


class LawRow(NamedTuple):
    """A strategy at four times the FLOPs: growth, beside the law's."""

    network: str
    strategy: str
    flops: float
    activations: float
    law: float


def rows(study: str) -> tuple[Row, ...]:
    """Every network of a study's lines, at the paper's size."""
    if study == "wide_resnet_grid":
        return tuple(_wide())
    scaled = SCALED[study]
    return tuple(_multiplied(study, scaled))


def law_rows() -> Iterator[LawRow]:
    """Each strategy of the study `activation_law` at its largest phi, of two networks."""
    for name in LAW_NETWORKS:
        study = load_study(STUDIES / "activation_law.yaml", [f"baseline={name}"])
        net, family = published(name), study.family
        assert isinstance(net, Backbone)
        assert family is not None
        assert study.coefficients is not None
        base, phi = cost(net), max(family.phi)
        for member in members(net, study.coefficients, [phi], family.strategies):
            spent = cost(member.architecture)
            law = (study.coefficients.growth**phi) ** LAW[member.strategy]
            flops, activations = spent.flops / base.flops, spent.activations / base.activations
            yield LawRow(name, member.strategy, flops, activations, law)


def fill(text: str) -> str:
    """The page with current tables."""
    return _TABLE.sub(lambda match: f"{match[1]}\n{table(match[2])}\n{match[3]}", text)


def table(study: str) -> str:
    """The costs of a study in Markdown."""
    if study == "activation_law":
        return _law_table()
    every = rows(study)
    wide = study == "wide_resnet_grid"
    kept = [row for row in every if row.printed or row.counted or row.score]
    head = ["", "FLOPs", "params", "activations"]
    if kept:
        head += [f"{'params' if wide else 'FLOPs'}, printed", "ratio"]
        head += [] if wide else ["FLOPs, counted elsewhere"]
        head += [PAPERS["wide_resnet"].score if wide else "top-1 %, printed"]
    return markdown_table(head, (_cells(row, wide, bool(kept)) for row in every))


def write_csv(every: Iterable[Row]) -> str:
    """All rows with exact counts."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*Row._fields, "ratio"])
    for row in every:
        writer.writerow([*row, "" if row.ratio is None else f"{row.ratio:.4f}"])
    return text.getvalue()


def main(page: Path, csv_file: Path | None) -> None:
    """Prints every table, and writes them into the page and the file."""
    text = page.read_text(encoding="utf-8")
    for _, study in re.findall(r"(<!-- costs of (\w+) -->)", text):
        print(f"{study}\n{table(study)}")
    print(write_text(page, fill(text)))
    if csv_file is not None:
        every = [row for study in (*SCALED, "wide_resnet_grid") for row in rows(study)]
        csv_file.parent.mkdir(parents=True, exist_ok=True)
        print(write_text(csv_file, write_csv(every)))


def _multiplied(study: str, scaled: Scaled) -> Iterator[Row]:
    settings = load_study(STUDIES / f"{study}.yaml", [f"baseline={scaled.network}"])
    family, c, net = settings.family, settings.coefficients, published(scaled.network)
    assert family is not None
    assert isinstance(net, Backbone)
    lines = dict(family.lines)
    if c is not None:  # at phi 0 and 1 the multipliers of the compound line
        by_phi = Line(depth=(1.0, c.alpha), width=(1.0, c.beta), resolution=(1.0, c.gamma))
        lines |= {"compound": by_phi}
    for name, line in lines.items():
        networks = multiplied(net, line.multipliers, line.head_scaling)
        for n, network in enumerate(networks):
            by = {k: v[n if len(v) > 1 else 0] for k, v in line.multipliers.items()}
            words = ", ".join(f"{k} {v:g}" for k, v in by.items() if v != 1) or "baseline"
            printed = scaled.rows.get(words, ("", "", ""))
            yield Row(study, name, words, *_counted(network), *printed)


def _wide() -> Iterator[Row]:
    for name, row in PAPERS["wide_resnet"].rows.items():
        line = f"d{name.split('_')[1]}"
        spent = _counted(published(name))
        yield Row("wide_resnet_grid", line, f"`{name}`", *spent, row.params, "", row.score)


def _counted(network: object) -> tuple[int, int, int]:
    spent = cost(network)  # type: ignore[arg-type]
    return spent.flops, spent.params, spent.activations


def _cells(row: Row, wide: bool, compared: bool) -> list[str]:
    counts = [f"{n:,}" for n in (row.flops, row.params, row.activations)]
    cells = [row.scaled, *counts]
    if compared:
        spaced = [re.sub("([MG])$", r" \1", text) for text in (row.printed, row.counted)]
        cells += [spaced[0], "" if row.ratio is None else f"{row.ratio:.3f}"]
        cells += ([] if wide else [spaced[1]]) + [row.score]
    return cells


def _law_table() -> str:
    cells = (
        [
            *(f"`{row.network}`, {row.strategy.replace('_', ' ')}", f"{row.flops:.3f}"),
            *(f"{row.activations:.3f}", f"{row.law:.2f}", f"{row.activations / row.law:.3f}"),
        ]
        for row in law_rows()
    )
    return markdown_table(["", "FLOPs", "activations", "the law", "ratio"], cells)


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reproduction.md"),
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
