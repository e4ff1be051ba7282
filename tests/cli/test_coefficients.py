"""`scalesearch coefficients fit`: from a table to coefficients, an interval and a figure."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

import scalesearch as ss
from tests.scaling.tables import MOBILENET_V2

BASE = ("--base", "width=0.5,resolution=128")


def rows(**changes):
    """MobileNetV2's table, with columns replaced, added, or, if None, left out."""
    frame = pd.DataFrame(MOBILENET_V2, columns=["width", "resolution", "macs_millions", "top1"])
    frame.insert(0, "depth", 1.0)
    for name, column in changes.items():
        if column is None:
            frame = frame.drop(columns=name)
        else:
            frame[name] = column(frame) if callable(column) else column
    return frame


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Writes a table into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(frame=None, **changes):
        (rows(**changes) if frame is None else frame).to_csv("table.csv", index=False)
        return "table.csv"

    return write


def test_mobilenet_v2(scalesearch, table, tmp_path):
    done = scalesearch("coefficients", "fit", table(), *BASE, "--double", "-o", "v2.yaml")
    assert done.code == 0, done.err
    assert "note  depth is 1 in all rows: it stays" in done.out
    assert "best coefficients at 2 times the FLOPs" in done.out
    assert "of 22 results of 22 networks; leave-one-out error 0.5" in done.out
    assert "flat: anything in this region is within 0.1 points of the best" in done.out
    assert "FLOPs of these networks grow with width^1.62, resolution^2.00" in done.out
    assert "written to v2.yaml and v2.png" in done.out
    coefficients = ss.Coefficients.load("v2.yaml")
    assert (coefficients.alpha, coefficients.match, coefficients.growth) == (1.0, "measured", 2.0)
    plain = yaml.safe_load((tmp_path / "v2.yaml").read_text())
    for name in ("beta", "gamma"):
        low, high = plain["interval"][name]
        assert low < plain[name] < high
    assert plain["surface"]["leave_one_out_points"] < 0.6
    assert set(plain["better_than"]) == {"paper", "width", "resolution"}
    assert plain["evidence"]["networks"] == 22
    image = Image.open(io.BytesIO((tmp_path / "v2.png").read_bytes()))
    assert image.width > 1000


def test_percent_shares_errors_and_sizes_say_the_same(scalesearch, table):
    """Other names, other units, another order of rows: the same coefficients."""
    tables = {
        "share": rows(top1=lambda f: f.top1 / 100),
        "error": rows(top1_error=lambda f: 100 - f.top1, top1=None),
        "size": rows(width=lambda f: 64 * f.width / 0.5).iloc[::-1],
    }
    found = {}
    for name, frame in {"plain": rows(), **tables}.items():
        base = "width=64,resolution=128" if name == "size" else BASE[1]
        options = ("--base", base, "--cost", "nominal", "-o", f"{name}.yaml", "--draws", "100")
        done = scalesearch("coefficients", "fit", table(frame), *options)
        assert done.code == 0, done.err
        found[name] = ss.Coefficients.load(f"{name}.yaml")
    assert {(c.beta, c.gamma) for c in found.values()} == {
        (found["plain"].beta, found["plain"].gamma)
    }
    assert found["plain"].product == pytest.approx(2, rel=1e-3)
    assert found["plain"].match == "nominal"


def test_where_limits_latency_and_a_budget_below_1(scalesearch, table):
    frame = pd.concat(
        [rows(study="v2", seconds=lambda f: f.macs_millions**0.9), rows(study="other", top1=50)]
    )
    options = ("--base", "width=1,resolution=224", "--where", "study=v2", "--cost", "latency")
    limits = ("--limit", "gamma=0.8:0.9", "--budget", "0.5", "-o", "small.yaml")
    done = scalesearch("coefficients", "fit", table(frame), *options, *limits)
    assert done.code == 0, done.err
    assert "best coefficients at 0.5 times the latency" in done.out
    small = ss.Coefficients.load("small.yaml")
    assert 0.8 <= small.gamma <= 0.9
    assert small.beta < 1
    assert (small.match, small.budget, small.budget_cost) == ("measured", 0.5, "latency")


def test_percent_below_1_other_names_and_rows_of_several_studies(scalesearch, table):
    frame = rows(error_percent=lambda f: (100 - f.top1) / 50, top1=None)
    frame = frame.rename(columns={"resolution": "image_size"})
    frame["network"] = ["a", "b"] * 11
    options = ("--base", "width=0.5,image_size=128", "--cost", "nominal")
    done = scalesearch("coefficients", "fit", table(frame), *options)
    assert done.code == 0, done.err
    assert "rows of several network are taken together (a, b): --where network=a" in done.out
    assert yaml.safe_load(Path("coefficients.yaml").read_text())["accuracy"] > 0.99


def test_one_failed_training_is_named_by_its_line(scalesearch, table):
    frame = rows()
    frame.loc[8, "top1"] = 40.0
    done = scalesearch("coefficients", "fit", table(frame), *BASE)
    assert "line 10 is left out as a failed training: it is 2" in done.out


MISTAKES = {
    "one value": (
        {},
        ("--base", "depth=1,width=0.5,resolution=128"),
        "table.csv: depth: there is one distinct value, 1: what depth does cannot be seen",
    ),
    "base is missing": ({}, ("--base", "width=0.5"), "such as --base width=0.5,resolution="),
    "base is unknown": ({}, ("--base", "widht=0.5"), "base: 'widht' is no dimension"),
    "base far away": (
        {},
        ("--base", "width=16,resolution=128"),
        "no row comes near 2 times the base's cost",
    ),
    "base without column": (
        {"resolution": None, "scale": 1},
        BASE,
        "base.resolution: the table has no column 'resolution'",
    ),
    "constant metric": ({"top1": 70.0}, BASE, "top1: all rows have 70: nothing can be learnt"),
    "mixed units": (
        {"top1": lambda f: f.top1.where(f.index % 3 != 0, f.top1 / 100)},
        BASE,
        "table.csv:2: top1: 0.75 beside 74.4 in line 3: percent and shares are mixed",
    ),
    "an error": (
        {"top1": lambda f: 100 - f.top1},
        BASE,
        "top1: this accuracy falls as networks grow: is it an error?\n"
        "  say so with --direction minimize",
    ),
    "an accuracy": (
        {"error": lambda f: f.top1, "top1": None},
        BASE,
        "error: this error rises as networks grow: is it an accuracy?",
    ),
    "words": (
        {"width": lambda f: f.width.astype(object).where(f.index != 2, "wide")},
        BASE,
        "table.csv:4: width: 'wide' is no number",
    ),
    "empty": (
        {"width": lambda f: f.width.where(f.index != 2)},
        BASE,
        "table.csv:4: width: the cell is empty",
    ),
    "negative": (
        {"width": lambda f: f.width.where(f.index != 2, -1)},
        BASE,
        "table.csv:4: width: -1 cannot be used\n  allowed: above 0",
    ),
    "no metric": (
        {"top1": None, "score": 3.0},
        BASE,
        "no column is an accuracy or an error",
    ),
    "metric misspelt": ({}, (*BASE, "--metric", "topl"), "did you mean 'top1'?"),
    "several metrics": (
        {"top1": None, "val_acc_a": 1.0, "val_acc_b": 2.0},
        BASE,
        "several columns could be the accuracy: val_acc_a, val_acc_b\n  name one with --metric",
    ),
    "where misspelt": ({}, (*BASE, "--where", "widht=1"), "did you mean 'width'?"),
    "where without rows": ({}, (*BASE, "--where", "width=7"), "where.width: no row has '7'"),
    "where without value": ({}, (*BASE, "--where", "width"), "where: 'width' is no NAME=VALUE"),
    "few rows": (
        {},
        (*BASE, "--where", "width=1.4", "--where", "resolution=224"),
        "there is one distinct value",
    ),
    "budget 1": ({}, (*BASE, "--budget", "1"), "budget: 1.0 cannot be used"),
    "budget 0": ({}, (*BASE, "--budget", "0"), "budget: 0.0 cannot be used"),
    "two budgets": ({}, (*BASE, "--double", "--budget", "3"), "--double is a budget of 2"),
    "contradiction": (
        {},
        (*BASE, "--limit", "beta=1:1.2", "--limit", "beta=1.3:2"),
        "limits.beta: 1.3 to 1.2 holds nothing",
    ),
    "narrow limits": (
        {},
        (*BASE, "--limit", "beta=1:1.05", "--limit", "gamma=1:1.05"),
        "no coefficients within the limits multiply FLOPs by 2",
    ),
    "no range": ({}, (*BASE, "--limit", "beta=2"), "limit.beta: '2' is no range"),
    "cost misspelt": ({}, (*BASE, "--cost", "flop"), "did you mean 'flops'?"),
    "no such cost": ({}, (*BASE, "--cost", "latency"), "cost: no column is of latency"),
    "direction": ({}, (*BASE, "--direction", "up"), "direction: 'up' is not known"),
    "noise": ({}, (*BASE, "--noise", "0"), "noise: 0 cannot be used"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(wrong, table, case):
    changes, options, message = MISTAKES[case]
    assert message in wrong("coefficients", "fit", table(**changes), *options)


def test_fewer_rows_than_terms(wrong, table):
    message = wrong("coefficients", "fit", table(rows().iloc[[5, 10, 14]]), *BASE)
    assert (
        "table.csv: rows: 3 different networks for the 3 terms of the simplest surface" in message
    )
    assert "allowed: at least 4" in message


def test_a_missing_file_and_rows_without_a_metric(wrong, scalesearch, table):
    assert "there is no file none.csv" in wrong("coefficients", "fit", "none.csv", *BASE)
    frame = rows()
    frame.loc[[1, 4], "top1"] = None
    done = scalesearch("coefficients", "fit", table(frame), *BASE)
    assert "note  2 rows without top1 are left out" in done.out
    assert "of 20 results" in done.out
