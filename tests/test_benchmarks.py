"""Benchmarks are run by hand (`make bench`): here only that none has been left behind."""

from __future__ import annotations

import importlib
import json

from tests.benchmarks.__main__ import machine, names


def test_every_benchmark_can_be_imported():
    assert {"closed_form", "gpu", "throughput"} <= set(names())
    for name in names():
        assert callable(importlib.import_module(f"tests.benchmarks.{name}").rows)


def test_the_machine_is_described_in_json():
    assert json.loads(json.dumps(machine()))["packages"]["torch"]
