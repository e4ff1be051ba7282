"""Benchmarks are run by hand (`make bench`): here that none was left behind, and their tables."""

from __future__ import annotations

import importlib
import io
import json
import os
import pickle

import pytest

from scalesearch.cost.closed_form import cost
from scalesearch.spaces.space import Space
from tests.benchmarks import gpu_training, nas_bench_201, small_space
from tests.benchmarks.__main__ import machine, names


def test_every_benchmark_can_be_imported():
    assert {"closed_form", "gpu", "gpu_training", "throughput"} <= set(names())
    for name in names():
        assert callable(importlib.import_module(f"tests.benchmarks.{name}").rows)


def test_training_on_a_gpu_is_timed_on_a_gpu_alone(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    path = tmp_path / "measured.json"
    assert gpu_training.main(["--json", str(path)]) == 2
    assert "needs a GPU" in capsys.readouterr().err
    assert not path.exists()


def test_the_machine_is_described_in_json():
    assert json.loads(json.dumps(machine()))["packages"]["torch"]


def test_nas_bench_201_has_the_published_best_cell_of_cifar100():
    table = nas_bench_201.load("cifar100")
    mean = table.groupby(list(nas_bench_201.EDGES))["accuracy"].mean()
    assert len(mean) == 5**6
    # Dong and Yang 2020, table 5: the optimum has 73.49 % in validation (73.51 % in test).
    assert mean.max() == pytest.approx(73.49, abs=0.005)
    conv, skip = "nor_conv_3x3", "skip_connect"
    assert mean.idxmax() == (conv, conv, conv, skip, conv, conv)


def test_cells_without_a_path_to_their_output_guess():
    table = nas_bench_201.load("cifar100")
    passes = {name: table[name] != "none" for name in nas_bench_201.EDGES}
    at_1 = passes["edge0"]
    at_2 = passes["edge1"] | (at_1 & passes["edge2"])
    at_3 = passes["edge3"] | (at_1 & passes["edge4"]) | (at_2 & passes["edge5"])
    assert table[~at_3]["accuracy"].max() == pytest.approx(100 / 100)
    assert table[at_3]["accuracy"].min() > 5


def test_other_data_sets_and_a_missing_package_are_named(monkeypatch):
    with pytest.raises(ValueError, match=r"'mnist' .* cifar10, cifar100, ImageNet16-120"):
        nas_bench_201.load("mnist")
    monkeypatch.setattr(nas_bench_201, "PACKAGE", "no-such-package-at-all")
    with pytest.raises(ModuleNotFoundError, match="pip install no-such-package-at-all"):
        nas_bench_201.load("cifar10")


class Command:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("exit 1",)


def test_a_pickle_that_runs_a_command_is_refused():
    refused = pickle.dumps({"421211": Command()})
    with pytest.raises(pickle.UnpicklingError, match=rf"{os.system.__module__}\.system is refused"):
        nas_bench_201.read_plain(io.BytesIO(refused))
    plain = {"421211": {"val_acc": [51.88, 53.08]}}
    assert nas_bench_201.read_plain(io.BytesIO(pickle.dumps(plain))) == plain


def test_the_small_space_is_trained_as_a_whole():
    table, space = small_space.load(), Space.load(small_space.SPACE)
    parameters = list(space.parameters)
    assert space.size == 256
    trained = table[[*parameters, "seed"]].itertuples(index=False, name=None)
    expected = {(*point.values(), s) for point in space.points() for s in small_space.SEEDS}
    assert sorted(trained) == sorted(expected)
    for row in table.to_dict("records"):
        counted = cost(space.decode({name: row[name] for name in parameters}))
        assert (row["flops"], row["params"]) == (counted.flops, counted.params)


def test_networks_of_the_small_space_differ_more_than_their_seeds():
    found = small_space.statistics(small_space.load())
    assert found["among networks"] > 3 * found["among seeds"]


def test_an_interrupted_table_is_continued(tmp_path):
    space, path = Space.load(small_space.SPACE), tmp_path / "table.csv"
    columns = [*space.parameters, "seed", *small_space.MEASURED]
    assert len(list(small_space.trainings(space, small_space.finished(path, columns)))) == 512
    lines = small_space.TABLE.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:4]), encoding="utf-8")
    left = list(small_space.trainings(space, small_space.finished(path, columns)))
    assert len(left) == 509
    assert [(number, seed) for number, _, seed in left[:2]] == [(1, 1), (2, 0)]
    with pytest.raises(ValueError, match=r"table\.csv is of another space"):
        small_space.finished(path, columns[1:])
