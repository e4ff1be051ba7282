"""How tables of results are read: names, separators, units and what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scalesearch.errors import UserError
from scalesearch.study.evidence_table import Request, table_evidence
from tests.scaling.tables import MOBILENET_V1

BASE = {"width": 0.5, "resolution": 128}
PLAIN = [("width", "resolution", "top1"), *MOBILENET_V1.tolist()]


@pytest.fixture
def read(tmp_path):
    """Evidence of a table that is given as rows of cells, the first of which are names."""

    def call(rows, base=None, *, separator=",", **request):
        text = "\n".join(
            separator.join(f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in row)
            for row in rows
        )
        file = tmp_path / "table.csv"
        file.write_text(text + "\n", encoding="utf-8")
        return table_evidence(file, Request(base=base or BASE, **request))

    return call


def written(**forms):
    """MobileNetV1's table with cells of some columns written otherwise."""
    names = PLAIN[0]
    functions = [forms.get(name, lambda value: value) for name in names]
    return [
        names,
        *([f(cell) for f, cell in zip(functions, row, strict=True)] for row in PLAIN[1:]),
    ]


def changed(cells, rows=PLAIN):
    """A table with other cells by (line, column), counted as in the file and from 0."""
    rows = [list(row) for row in rows]
    for (line, column), cell in cells.items():
        rows[line - 1][column] = cell
    return rows


def same(found, plain):
    np.testing.assert_allclose(found.evidence.logs, plain.evidence.logs)
    np.testing.assert_allclose(found.evidence.errors, plain.evidence.errors)


@pytest.mark.parametrize(
    ("width", "resolution"),
    [
        ("width_mult", "img_size"),
        ("Width Multiplier", "input_res"),
        ("width_coefficient", "image_size"),
        ("w", "r"),
        ("channels", "side"),
        ("widen_factor", "size"),
        ("width", "res"),
        ("width", "Input_Size"),
    ],
)
def test_usual_names_of_dimensions(read, width, resolution):
    rows = [(width, resolution, "top1"), *PLAIN[1:]]
    for base in (BASE, {width: 0.5, resolution: 128}, {"width": 0.5, "res": 128}):
        found = read(rows, base)
        assert found.evidence.dimensions == ("width", "resolution")
        same(found, read(PLAIN))
        assert not found.notes


@pytest.mark.parametrize("name", ["num_layers", "depth_mult", "layers", "d", "depth_multiplier"])
def test_usual_names_of_depth(read, name):
    rows = [(name, "resolution", "top1"), *PLAIN[1:]]
    assert read(rows, {"depth": 0.5, "resolution": 128}).base == {"depth": 0.5, "resolution": 128}


def test_names_that_may_mean_something_else_need_the_base_to_ask_for_them(read):
    rows = [("width", "size", "top1"), *PLAIN[1:]]
    (note,) = read(rows, {"width": 0.5}).notes
    assert note == (
        "column size is not used: rows that differ in it count as trainings of one network; "
        "rename it to depth, width or resolution if it is one"
    )


def test_columns_that_are_not_used(read):
    more = [("groups", "bits", "seed", "top5", "params")]
    more += [(1 + row % 2, 4 + row % 4, row, 90 + row / 100, 5 + row) for row in range(16)]
    rows = [(*row, *extra) for row, extra in zip(PLAIN, more, strict=True)]
    assert not read(rows).notes  # each row is a network of its own
    (note,) = read([[row[0], *row[2:]] for row in rows], {"width": 0.5}).notes
    assert note.startswith("columns groups and bits are not used: rows that differ in them")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators(read, separator):
    same(read(PLAIN, separator=separator), read(PLAIN))


def test_a_file_of_tabs_by_its_name(tmp_path):
    file = tmp_path / "table.tsv"
    file.write_text("\n".join("\t".join(map(str, row)) for row in PLAIN))
    assert len(table_evidence(file, Request(base=BASE)).lines) == 16


def test_a_comma_in_quotes_separates_nothing(read):
    rows = [('"width, or so, relatively"', "resolution", "top1"), *PLAIN[1:]]
    same(read(rows, separator=";"), read(PLAIN))


def test_decimal_commas(read):
    def comma(value):
        return f"{value:g}".replace(".", ",")

    rows = written(width=comma, top1=lambda value: comma(value) + "%")
    same(read(rows, separator=";"), read(PLAIN))


def test_numbers_with_units(read):
    flops = [("flops",), *((f"{4 * w * w * r * r / 1e3:.6f}M",) for w, r, _ in PLAIN[1:])]
    rows = written(
        width=lambda value: f"{value:g}x",
        resolution=lambda side: f"{side:g}x{side:g}" if side > 200 else f"{side:g}px",
        top1=lambda value: f"{value:.1f} %",
    )
    rows = [(*row, *more) for row, more in zip(rows, flops, strict=True)]
    found = read(rows)
    same(found, read(PLAIN))
    np.testing.assert_allclose(found.evidence.exponents, [2, 2], rtol=1e-4)
    assert not found.notes


@pytest.mark.parametrize(
    ("cells", "cost"),
    [
        (("390M", "0.39G", "390 MFLOPs", "0.39B", "390e6 FLOPs", "390000k MACs"), "flops"),
        (("20ms", "0.02s", "20 ms", "0.02 s", "20ms", "0.02s"), "latency"),
    ],
)
def test_units_of_one_amount(read, cells, cost):
    rows = [(*row, cells[n % len(cells)]) for n, row in enumerate(PLAIN[1:])]
    found = read([(*PLAIN[0], cost), *rows], cost=cost)
    np.testing.assert_allclose(found.evidence.growth, 1, rtol=1e-9)


@pytest.mark.parametrize("word", ["", "NaN", "nan", "NA", "N/A", "-", "–", "None"])  # noqa: RUF001
def test_rows_without_a_metric_are_left_out(read, word):
    found = read(changed({(5, 2): word, (9, 2): word}))
    assert found.notes == ("2 rows without top1 are left out",)
    assert found.lines == tuple(line for line in range(2, 18) if line not in (5, 9))


def test_what_is_missing_matters_only_where_it_is_used(read):
    found = read(changed({(5, 2): "-", (5, 1): "-", (5, 0): "oops"}))
    assert found.notes == ("1 row without top1 is left out",)
    rows = [(*row, cell) for row, cell in zip(PLAIN, ["flops", "-", *["3M"] * 15], strict=True)]
    found = read(rows)
    assert found.notes == ("flops is missing in some rows: the cost is the nominal one",)
    assert found.evidence.growth is None


@pytest.mark.parametrize(("few", "many"), [(0.1, 0.1), (0.0, 0.3)])
def test_trainings_at_chance_level_among_percent(read, few, many):
    found = read(changed({(5, 2): few, (9, 2): many}))
    assert found.notes == (
        f"left out as failed trainings: {few:g} in line 5, {many:g} in line 9, "
        "read as percent as the others are",
    )
    assert len(found.evidence.errors) == 14


def test_trainings_at_chance_level_among_shares(read):
    rows = written(top1=lambda value: value / 100)
    found = read(changed({(5, 2): 0.0}, rows))
    assert found.notes == ("left out as failed trainings: 0 in line 5",)


def test_a_small_error_in_percent(read):
    rows = written(top1=lambda value: (100 - value) / 20)
    rows = changed({(1, 2): "error", (5, 2): 0.9}, rows)
    found = read(rows)
    assert found.notes == ("0.9 in line 5, read as percent as the others are",)
    assert found.evidence.errors[3] == pytest.approx(0.009)


MISTAKES = {
    "not square": ({(4, 1): "224x192"}, "table.csv:4: resolution: 224x192 is not square"),
    "no unit": ({(4, 1): "224 miles"}, "'224 miles' is no number\n  allowed: such as 224, 224px"),
    "comma": ({(4, 0): '"0,5"'}, "decimal comma is read where the columns are separated by ;"),
    "missing size": ({(4, 0): "N/A"}, "table.csv:4: width: the cell is empty ('N/A')"),
    "infinite": ({(4, 2): "inf"}, "table.csv:4: top1: 'inf' is no number"),
    "no metric at all": (
        {(line, 2): "-" for line in range(2, 18)},
        "table.csv: top1: is empty in all rows",
    ),
    "many shares": (
        {(line, 2): 0.5 + line / 100 for line in range(4, 8)},
        "table.csv:4: top1: 0.54 beside 70.9 in line 2: percent and shares are mixed",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(read, case):
    cells, message = MISTAKES[case]
    with pytest.raises(UserError) as error:
        read(changed(cells))
    assert message in str(error.value)


def test_mistakes_of_the_base(read):
    rows = [("width", "resolution", "top1", "groups"), *((*row, 1) for row in PLAIN[1:])]
    for base, message in {
        "groups": "base: the column 'groups' is no dimension\n"
        "  allowed: depth, width, resolution\n"
        "  rename it, in the table and here, to the one of them that it is",
        "layers": "base.layers: the table has no column 'layers'",
        "width_mult": "base: width is given twice, as 'width_mult' too",
    }.items():
        with pytest.raises(UserError) as error:
            read(rows, {**BASE, base: 1})
        assert message in str(error.value)


def test_costs_with_and_without_units(read):
    cells = ["flops", *["390M"] * 8, "0.39", *["390M"] * 7]
    with pytest.raises(UserError) as error:
        read([(*row, cell) for row, cell in zip(PLAIN, cells, strict=True)])
    assert "table.csv:10: flops: 0.39 has no unit, and 390M in line 2 has one" in str(error.value)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({(2, 2): "70,9"}, "table.csv:2: top1: '70,9' has a comma, and '65.2' in 'top1' a point"),
        (
            {(line, 0): f"1,{line:03d}" for line in range(2, 18)},
            "table.csv:2: width: '1,002' may be 1002 or 1.002",
        ),
    ],
)
def test_commas_that_may_mean_two_things(read, cells, message):
    rows = written(top1=int) if (3, 0) in cells else PLAIN
    with pytest.raises(UserError) as error:
        read(changed(cells, rows), separator=";")
    assert message in str(error.value)


def test_nullable_numbers_of_parquet(tmp_path):
    frame = pd.DataFrame(PLAIN[1:], columns=list(PLAIN[0])).convert_dtypes()
    frame.loc[3, "top1"] = pd.NA
    frame.to_parquet(tmp_path / "table.parquet")
    found = table_evidence(tmp_path / "table.parquet", Request(base=BASE))
    assert len(found.evidence.errors) == len(frame) - 1


def test_a_table_of_failed_trainings_alone(read):
    with pytest.raises(UserError, match="cannot be used"):
        read([PLAIN[0], (0.5, 128, 0)])
