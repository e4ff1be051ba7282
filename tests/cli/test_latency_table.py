"""Latency on the command line: one network, a space's table, and a study that uses both."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from scalesearch.cost import latency as clock
from scalesearch.study import run as running
from scalesearch.study import tabulate
from scalesearch.study.latency import load_table
from tests.fakes import FOUR, SPACE, STUDY, write_study

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few passes: these tests are about the output, not about how fast the machine is."""
    monkeypatch.setattr(tabulate, "_SECONDS", 0.001)
    monkeypatch.setattr(clock, "_MOST", 5)


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "four.yaml"
    path.write_text(FOUR)
    return path


def test_the_latency_of_a_network(scalesearch):
    done = scalesearch("profile", "efficientnet_b0", "--resolution", "32", "--latency")
    assert done.code == 0
    line = next(line for line in done.out.splitlines() if line.startswith("latency"))
    assert " ms (quartiles " in line
    assert line.endswith(" of 5 passes; cpu, batch 1, 1 thread)")


def test_the_latency_of_a_network_as_json(scalesearch):
    options = ("--resolution", "32x48", "--latency", "--latency-batch", "2", "--threads", "1")
    plain = json.loads(scalesearch("profile", "mobilenet_v1", *options, "--json").out)
    latency = plain["latency"]
    assert 0 < latency["low"] <= latency["median"] <= latency["high"]
    assert {key: latency[key] for key in ("device", "batch", "threads", "repeats")} == {
        "device": "cpu",
        "batch": 2,
        "threads": 1,
        "repeats": 5,
    }
    assert "latency" not in json.loads(scalesearch("profile", "mobilenet_v1", "--json").out)


def test_the_table_of_a_space(scalesearch, space, tmp_path):
    out = tmp_path / "table.json"
    done = scalesearch("profile", "--space", space, "--latency-out", out)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    table = load_table(out)
    total = 3 * (len(table.entries) + len(table.checks))
    assert lines[0] == f"0 of {total} measurements"
    assert f"{total} of {total} measurements" in lines
    assert lines[-2].startswith(f"{out}: {len(table.entries)} entries, timed within ")
    assert "cpu, batch 1, 1 thread" in lines[-2]
    assert "predicted against measured: Spearman's rank correlation" in lines[-1]
    again = scalesearch("profile", "--space", space, "--latency-out", out).out.splitlines()
    assert again[0] == f"{total} of {total} measurements", "nothing is measured again"
    assert again[-2:] == lines[-2:]


def test_the_table_of_a_space_as_json(scalesearch, space, tmp_path):
    out = tmp_path / "table.json"
    done = scalesearch("profile", "--space", space, "--latency-out", out, "--json")
    plain = json.loads(done.out)
    assert plain["entries"] == len(load_table(out).entries)
    assert set(plain["agreement"]) == {"count", "rank", "error"}


def test_images_of_another_kind(scalesearch, space, tmp_path):
    out = tmp_path / "table.json"
    images = ("--in-channels", "3", "--num-classes", "5")
    assert scalesearch("profile", "--space", space, "--latency-out", out, *images).code == 0
    entries = load_table(out).entries
    assert any(entry.startswith("stem k3 s1, 3 to 4 channels") for entry in entries)
    assert any(entry.startswith("head w8, 8 to 5 channels") for entry in entries)


def test_an_interrupted_table_says_how_to_resume(scalesearch, space, tmp_path, monkeypatch):
    out, original, left = tmp_path / "table.json", tabulate.time_blocks, [1]

    def interrupted(net, deployment):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return original(net, deployment)

    monkeypatch.setattr(tabulate, "time_blocks", interrupted)
    done = scalesearch("profile", "--space", space, "--latency-out", out)
    assert done.code == 130
    assert f"stopped: what was measured is in {out}; run the same command to resume" in done.out
    assert load_table(out).entries


def test_mistakes(wrong, space, tmp_path):
    table = ("--latency-out", tmp_path / "t.json")
    assert "there is nothing to profile" in wrong("profile")
    assert "threads would do nothing here: only --latency measures" in wrong(
        "profile", "efficientnet_b0", "--threads", "2"
    )
    assert "latency-out would do nothing here: only --space makes a table" in wrong(
        "profile", "efficientnet_b0", *table
    )
    assert "measured, network would do nothing here: --space takes no network" in wrong(
        "profile", "efficientnet_b0", "--measured", "--space", space, *table
    )
    assert "latency-out: the table needs a file" in wrong("profile", "--space", space)
    assert "device: 'gpu' is not known" in wrong(
        "profile", "efficientnet_b0", "--latency", "--device", "gpu"
    )
    assert "there is no such file" in wrong("profile", "--space", tmp_path / "none.yaml", *table)


def test_a_study_from_its_table_to_its_report(scalesearch, wrong, tmp_path):
    """All on the serial executor: a candidate is infeasible by prediction or by measurement."""
    (tmp_path / "space.yaml").write_text(SPACE)
    out = tmp_path / "table.json"
    scalesearch("profile", "--space", tmp_path / "space.yaml", "--latency-out", out)
    search = STUDY["search"] | {
        "limits": {"latency": {"max": "10s"}},
        "objective": {"reward": "accuracy", "latency": "1ms"},
    }
    study = write_study(
        tmp_path, search=search, latency={"table": str(out)}, without=("grid", "family")
    )
    assert f"latency       measured on cpu, batch 1, 1 thread, predicted by {out}" in (
        scalesearch("check", study, "--samples", "10").out
    )
    done = scalesearch("run", study, "--folder", tmp_path / "run")
    assert done.code == 0, done.err
    assert " flops, latency " in done.out
    trials = pd.read_csv(tmp_path / "run" / "trials.csv")
    own = trials[trials["state"] == "assessed"]
    assert len(own) == 6
    assert (own["latency"] > 0).all()
    assert (own["predicted_latency"] > 0).all()
    expected = own["accuracy"] * (own["latency"] / 0.001) ** -0.07
    assert own["objective"].tolist() == pytest.approx(expected.tolist())
    status = scalesearch("status", tmp_path / "run").out
    assert "latency: predicted against measured, Spearman's rank correlation" in status
    assert f"(n = {len(own)})" in status
    plain = json.loads(scalesearch("status", tmp_path / "run", "--json").out)
    assert plain["latency"]["count"] == len(own)
    assert (tmp_path / "run" / "figures" / "latency.svg").exists()
    assert "Predicted by the latency table against measured" in (
        (tmp_path / "run" / "report.html").read_text()
    )
    assert "nothing in the space is predicted to meet the limit of 0.00 ms" in wrong(
        "run", study, "search.limits.latency.max=0.0001ms", "--folder", tmp_path / "other"
    )


def test_the_shipped_study_runs(scalesearch, tmp_path, monkeypatch):
    """Its limit is an hour here: how fast this machine is must not matter."""
    monkeypatch.setattr(running, "report", lambda folder: [])  # drawn in the test above
    small = ("dataset.limit=200", "search.trials=2", "evaluator.epochs=1")
    limit = "search.limits.latency.max=1h"
    study = ROOT / "studies" / "latency_quickstart.yaml"
    done = scalesearch("run", study, *small, limit, "--folder", tmp_path / "run")
    assert done.code == 0, done.err
    trials = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert trials["state"].tolist() == ["assessed"] * 2
    assert trials["objective_2"].tolist() == trials["latency"].tolist()
    assert (trials["latency"] > 0).all()
    assert "predicted_latency" not in trials
