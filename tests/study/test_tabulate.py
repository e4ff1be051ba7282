"""Measuring a space's table, with times that follow from the networks alone; once for real."""

from __future__ import annotations

import json

import pytest
import torch

from scalesearch.arch.plain import digest
from scalesearch.arch.walk import walk
from scalesearch.cost.cost import Deployment
from scalesearch.cost.latency_table import entry_name, predict
from scalesearch.errors import UserError
from scalesearch.history.agreement import agreement
from scalesearch.spaces.covering import entries_of
from scalesearch.study import tabulate as module
from scalesearch.study.latency import load_table
from scalesearch.study.tabulate import READINGS, tabulate, time_blocks, time_whole
from tests.pool import space

SPACE = space()


def seconds(entry):
    """A made-up time of a block: the digits of its name."""
    return sum(int(c) for c in entry if c.isdigit()) / 1e4


def blocks(net):
    return [entry_name(part.args) for part in walk(net)]


def whole(net):
    """Its blocks, each as often as it repeats, and 2 ms between them."""
    times = zip(walk(net), blocks(net), strict=True)
    return 0.002 + sum(part.repeats * seconds(entry) for part, entry in times)


@pytest.fixture
def timed(monkeypatch):
    """Replaces the clock; remembers what was timed, a list of networks or of the word `whole`."""
    calls = []

    def time_blocks(net, deployment):
        calls.append(net)
        return {entry: seconds(entry) for entry in blocks(net)}, 0.002

    def time_whole(net, deployment):
        calls.append("whole")
        return whole(net)

    monkeypatch.setattr(module, "time_blocks", time_blocks)
    monkeypatch.setattr(module, "time_whole", time_whole)
    return calls


def test_every_block_is_timed_three_times_and_predictions_are_right(tmp_path, timed):
    table, pairs = tabulate(SPACE, Deployment(), tmp_path / "t.json")
    assert set(table.entries) == set(entries_of(SPACE.slots))
    assert all(len(readings) >= READINGS for readings in table.entries.values())
    assert table.rest == 0.002
    assert all(predicted == pytest.approx(measured) for predicted, measured in pairs)
    assert len(pairs) == len(table.checks) <= 20, "the space is small: some draws are equal"
    networks = [call for call in timed if call != "whole"]
    assert len(networks) < READINGS * len(entries_of(SPACE.slots)), (
        "several entries in each network"
    )
    found = agreement(pairs)
    assert (found.count, found.rank, found.error) == (len(pairs), 1.0, pytest.approx(0))


def test_readings_of_an_entry_lie_apart(tmp_path, timed):
    """Every entry is timed once before any is timed for its third time."""
    tabulate(SPACE, Deployment(), tmp_path / "t.json")
    first = timed.index("whole")
    seen = {entry for net in timed[:first] for entry in blocks(net)}
    assert seen == set(entries_of(SPACE.slots))
    assert timed.count("whole") == READINGS * len(load_table(tmp_path / "t.json").checks)


def test_progress_ends_at_the_total(tmp_path, timed):
    told = []
    table, _ = tabulate(SPACE, Deployment(), tmp_path / "t.json", lambda *now: told.append(now))
    total = READINGS * (len(table.entries) + len(table.checks))
    assert told[0] == (0, total)
    assert told[-1] == (total, total)
    assert told == sorted(told)


@pytest.mark.parametrize("after", [1, 5, 30])
def test_it_goes_on_where_it_was_stopped(tmp_path, timed, monkeypatch, after):
    path, uninterrupted = tmp_path / "t.json", tmp_path / "whole.json"
    tabulate(SPACE, Deployment(), uninterrupted)
    needed = len(timed)

    class Stop(BaseException):
        pass

    def stop(done, total):
        nonlocal after
        after -= 1
        if after < 0:
            raise Stop

    with pytest.raises(Stop):
        tabulate(SPACE, Deployment(), path, stop)
    begun = len(timed) - needed
    assert 0 < begun < needed
    tabulate(SPACE, Deployment(), path)
    assert len(timed) == 2 * needed, "nothing was timed twice, nothing was left out"
    assert path.read_text() == uninterrupted.read_text()
    tabulate(SPACE, Deployment(), path)
    assert len(timed) == 2 * needed, "a whole table is left as it is"


def test_a_larger_space_adds_what_is_missing(tmp_path, timed):
    from tests.fakes import SPACE as TEXT

    tabulate(SPACE, Deployment(), tmp_path / "t.json")
    wider = space(TEXT.replace("[4, 6, 8]", "[4, 6, 8, 10]"))
    table, _ = tabulate(wider, Deployment(), tmp_path / "t.json")
    assert set(table.entries) >= set(entries_of(wider.slots))


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("machine", "an abacus", "its machine was an abacus, now it is "),
        ("torch", "1.0", "its torch was 1.0, now it is "),
        ("deployment", {"device": "cpu", "batch": 8, "threads": 1}, "was cpu, batch 8, 1 thread"),
    ],
)
def test_a_table_measured_elsewhere_is_not_gone_on_with(tmp_path, timed, key, value, text):
    path = tmp_path / "t.json"
    tabulate(SPACE, Deployment(), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(UserError) as told:
        tabulate(SPACE, Deployment(), path)
    assert text in str(told.value)
    assert "a table has one" in str(told.value)
    assert "choose another --latency-out" in told.value.hint
    assert str(path) in str(told.value)


def test_blocks_and_whole_networks_are_timed_for_real(monkeypatch):
    """Not how fast this machine is, but that all blocks are there and have times."""
    monkeypatch.setattr(module, "_SECONDS", 0.005)
    net = SPACE.sample(1)
    deployment = Deployment(threads=torch.get_num_threads())
    entries, _ = time_blocks(net, deployment)
    assert list(entries) == list(dict.fromkeys(blocks(net)))
    assert all(time > 0 for time in entries.values())
    assert time_whole(net, deployment) > 0


def test_a_table_for_real(tmp_path, monkeypatch):
    from tests.fakes import FOUR

    monkeypatch.setattr(module, "_SECONDS", 0.002)
    small = space(FOUR)
    table, pairs = tabulate(small, Deployment(), tmp_path / "t.json")
    assert load_table(tmp_path / "t.json") == table
    for net in map(small.decode, small.points()):
        assert predict(table, net) > 0
    assert {digest(net) for net in map(small.decode, small.points())} >= set(table.checks)
    assert len(pairs) == len(table.checks)
