from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from scalesearch.cost.cost import Cost
from scalesearch.history.jobs import Result
from scalesearch.history.trials import Trial
from scalesearch.study.checkpoints import Checkpoints
from scalesearch.study.folder import RunFolder


@pytest.fixture
def record():
    return SimpleNamespace(trials={})


@pytest.fixture
def kept(tmp_path, record):
    """Names of the weights that are there once trials with these values were recorded in turn."""

    def go(phase, values, *, killed=False, found=lambda value: None, networks=None):
        checkpoints = Checkpoints(RunFolder(tmp_path), phase, record)
        for value in values:
            trial = assessed(len(record.trials), value)
            if networks is not None:
                trial = replace(trial, digest=str(trial.number % networks))
            given = str(value).encode()
            checkpoints.keep(trial, Result({}, trial.cost, 1.0, given, found(value)))
            if not killed:
                record.trials[trial.number] = trial
                checkpoints.tidy(trial)
        return {file.stem: file.read_text() for file in (tmp_path / "checkpoints").iterdir()}

    return go


def assessed(number, value):
    cost = Cost(1, 1, 1, 1, 1, 1)
    fields = {"parameters": {}, "digest": str(number), "cost": cost, "objective": (value,)}
    return Trial(number=number, state="assessed", **fields)


def test_a_search_keeps_the_best_alone(kept):
    assert kept("search", [0.5, 0.4, 0.7, 0.6]) == {"search-2": "0.7"}
    assert kept("search", [0.7]) == {"search-2": "0.7"}, "the earlier one of equals"


def test_what_a_detector_found_is_kept_beside_its_weights(kept, tmp_path):
    kept("search", [0.5, 0.4, 0.7, 0.6], found=lambda value: f"[{value}]".encode())
    files = list((tmp_path / "detections").iterdir())
    assert [(file.name, file.read_text()) for file in files] == [("search-2.json", "[0.7]")]


def test_a_family_keeps_every_member(kept):
    assert set(kept("family", [0.5, 0.4, 0.7])) == {"family-0", "family-1", "family-2"}


def test_killed_before_the_better_trial_is_recorded_the_old_best_is_still_there(kept):
    kept("search", [0.5])
    assert kept("search", [0.7], killed=True) == {"search-0": "0.5", "search-1": "0.7"}
    # Assessed again it may come out worse (another machine, another library): nothing is missing.
    assert kept("search", [0.4]) == {"search-0": "0.5"}


def test_phases_leave_each_others_weights_alone(kept, record):
    kept("family", [0.1])
    record.trials.clear()
    assert set(kept("search", [0.5, 0.6])) == {"family-0", "search-1"}


def test_other_states_change_nothing(kept, tmp_path, record):
    kept("search", [0.5])
    failed = Trial(number=1, state="failed", parameters={}, digest="d", cost=Cost(1, 1, 1, 1, 1, 1))
    Checkpoints(RunFolder(tmp_path), "search", record).tidy(failed)
    assert (tmp_path / "checkpoints" / "search-0.safetensors").exists()


def test_of_repeated_trainings_the_best_of_each_network_is_kept(kept):
    first = kept("confirm", [0.5, 0.8, 0.7, 0.6], networks=2)
    assert first == {"confirm-1": "0.8", "confirm-2": "0.7"}
    cut = kept("confirm", [0.9], networks=2, killed=True)
    assert cut == first | {"confirm-4": "0.9"}
    assert kept("confirm", [0.4, 0.85], networks=2) == {"confirm-2": "0.7", "confirm-5": "0.85"}
