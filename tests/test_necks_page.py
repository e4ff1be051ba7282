"""The tables of necks, their ratios by hand and beside them what the paper prints."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from docs.tools import necks
from scalesearch.errors import UserError

NONE = "\N{EN DASH}"
TRIALS = [  # neck, AP, spread, seconds, FLOPs, parameters
    ("bifpn fast w16 d2 p3-p5", 0.444, 0.004, 0.040, 68, 88),
    ("bifpn softmax w16 d2 p3-p5", 0.446, 0.002, 0.050, 68, 88),
    ("bifpn unbounded w16 d2 p3-p5", 0.441, 0.003, 0.039, 68, 88),
    ("fpn sum w16 d2 p3-p5", 0.423, 0.005, 0.030, 100, 100),
    ("bifpn sum w16 d2 p3-p5", 0.439, 0.001, 0.038, 67, 88),
    ("panet sum w16 d2 p3-p5", 0.4405, 0.006, 0.045, 110, 104),
]
COLUMNS = ["neck", "ap", "ap_spread", "step_seconds", "flops", "params"]


def write(folder, **more):
    trials = pd.DataFrame(TRIALS, columns=COLUMNS)
    trials.assign(phase="search", state="assessed", **more).to_csv(folder / "trials.csv")
    return folder


def cells(markdown):
    lines = [line.strip("| \n").split(" | ") for line in markdown.splitlines()]
    return [lines[0], *lines[2:]]


def test_kinds_in_the_papers_order_with_ratios_to_the_fpn(tmp_path):
    head, *rows = cells(necks.kinds(necks.read_necks(write(tmp_path))))
    assert head[:4] == ["neck", "AP", "params ratio", "FLOPs ratio"]
    assert rows == [
        ["`fpn sum w16 d2 p3-p5`", "42.30 ± 0.50", "1.00", "1.00", "42.29", "1.00", "1.00"],
        ["`panet sum w16 d2 p3-p5`", "44.05 ± 0.60", "1.04", "1.10", "44.08", "1.00", "1.00"],
        ["`bifpn sum w16 d2 p3-p5`", "43.90 ± 0.10", "0.88", "0.67", "43.94", "0.88", "0.67"],
        ["`bifpn fast w16 d2 p3-p5`", "44.40 ± 0.40", "0.88", "0.68", "44.39", "0.88", "0.68"],
    ]


def test_fusions_with_their_speed_relative_to_softmax(tmp_path):
    _, *rows = cells(necks.fusions(necks.read_necks(write(tmp_path))))
    assert [row[0].split()[1] for row in rows] == ["softmax", "fast", "unbounded", "sum"]
    assert [row[2] for row in rows] == ["50.0 ms", "40.0 ms", "39.0 ms", "38.0 ms"]
    assert [row[3] for row in rows] == ["1.00×", "1.25×", "1.28×", "1.32×"]  # noqa: RUF001
    assert rows[1][4:] == ["33.85, 43.77, 48.74", "1.28×, 1.26×, 1.31×"]  # noqa: RUF001
    assert rows[0][4:] == ["33.96, 43.78, 48.79", NONE]
    assert rows[2][4:] == [NONE, NONE]


def test_what_was_not_recorded_stays_open(tmp_path):
    trials = necks.read_necks(write(tmp_path)).drop(columns=["ap_spread", "step_seconds"])
    trials = trials[trials["kind"] != "fpn"]
    rows = cells(necks.kinds(trials))[1:]
    assert rows[0][1:4] == ["44.05", NONE, NONE]
    assert [row[2:4] for row in cells(necks.fusions(trials))[1:]] == [[NONE, NONE]] * 4


def test_kind_and_fusion_may_be_parameters_of_their_own(tmp_path):
    trials = pd.DataFrame(
        {"neck.kind": ["fpn", "nas_fpn"], "neck.fusion": ["sum", "sum"], "ap": [0.4, 0.41]}
    )
    trials = trials.assign(flops=[100, 72], params=[100, 71], phase="search", state="assessed")
    trials.to_csv(tmp_path / "trials.csv")
    rows = cells(necks.kinds(necks.read_necks(tmp_path)))[1:]
    assert rows[1] == ["`nas_fpn sum`", "41.00", "0.71", "0.72", "43.16", "0.71", "0.72"]


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match=r"trials\.csv: there is no such file"):
        necks.read_necks(tmp_path)
    write(tmp_path, ap=float("nan"))
    with pytest.raises(UserError, match="no trial of the search has ap"):
        necks.read_necks(tmp_path)
    pd.read_csv(write(tmp_path) / "trials.csv").drop(columns="neck").to_csv(tmp_path / "trials.csv")
    with pytest.raises(UserError, match="do not record their necks"):
        necks.read_necks(tmp_path)


def test_the_command_prints_both_tables_and_ends_with_2_on_a_mistake(tmp_path):
    command = [sys.executable, "-m", "docs.tools.necks"]
    done = subprocess.run([*command, str(write(tmp_path))], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.count("| --- |") == 2
    (tmp_path / "trials.csv").unlink()
    failed = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert failed.returncode == 2
    assert "there is no such file" in failed.stderr
