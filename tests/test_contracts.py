"""Plug-ins of one's own that are of the wrong kind, or return nonsense: one sentence each."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch

from scalesearch import interfaces, plugins
from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import wiring
from scalesearch.arch.stage import Stage
from scalesearch.contracts import check_data, name_of, scores_of, written
from scalesearch.cost.cost import Workload
from scalesearch.errors import UserError
from scalesearch.exporters import export
from scalesearch.history.jobs import Score
from scalesearch.interfaces import BoxData, ImageData, Targets
from scalesearch.study import run as running
from scalesearch.study.load import load_study
from scalesearch.study.run import run
from tests import fakes, test_interfaces
from tests.fakes import write_study

HERE = "tests.test_contracts"


def test_the_methods_are_those_of_the_protocols():
    for folder, methods in plugins.METHODS.items():
        protocol = getattr(interfaces, plugins.FOLDERS[folder])
        for method, names in methods.items():
            assert tuple(inspect.signature(getattr(protocol, method)).parameters)[1:] == names
        public = {name for name, _ in inspect.getmembers(protocol, inspect.isfunction)}
        assert {name for name in public if not name.startswith("_")} == set(methods)


# Of the wrong kind.
def function():
    return None


an_instance = fakes.Evaluator()
partial_class = types.SimpleNamespace


@dataclass(frozen=True)
class TooFew:
    def load(self):
        return None


@dataclass(frozen=True)
class TooMany:
    def load(self, seed, path):
        return None


@dataclass(frozen=True)
class NotCallable:
    load = None


@dataclass(frozen=True)
class Spread:
    def load(self, *arguments):
        return None


@dataclass(frozen=True)
class Static:
    @staticmethod
    def load(seed):
        return None


KINDS = [
    ("function", "is a function, not one of the datasets\n  allowed: a class with load(seed)"),
    ("an_instance", "is an instance of Evaluator, not one of the datasets"),
    ("inspect", "is a module, not one of the datasets"),
    ("partial_class", "is not one of the datasets: it has no method `load`"),
    ("NotCallable", "is not one of the datasets: it has no method `load`"),
    ("TooFew", "cannot be used: it is called as `load(seed)` and takes `load(self)`"),
    ("TooMany", "cannot be used: it is called as `load(seed)` and takes `load(self, seed, path)`"),
]


@pytest.mark.parametrize(("name", "said"), KINDS)
def test_of_the_wrong_kind(name, said):
    with pytest.raises(UserError) as raised:
        plugins.load("datasets", f"{HERE}:{name}")
    assert str(raised.value).startswith(f"'{HERE}:{name}' {said}")


@pytest.mark.parametrize("name", ["Spread", "Static"])
def test_of_an_unusual_form(name):
    assert plugins.load("datasets", f"{HERE}:{name}") is globals()[name]


def test_one_of_another_folder_is_recognised():
    with pytest.raises(UserError, match="it looks like one of the evaluators"):
        plugins.load("samplers", "tests.fakes:Evaluator")


# What is wrong on import.
IMPORTS = {
    "exits": ("raise SystemExit(3)", "it exits when it is imported\n  put what it does"),
    "quits": ("import sys\nsys.exit()", "it exits when it is imported\n  put what it does"),
    "fails": ("x = 1\nraise KeyError('k')", "KeyError: 'k' (my_fails.py:2)"),
    "odd": ("class E(BaseException): ...\nraise E('odd')", "E: odd (my_odd.py:2)"),
    "mute": (
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
        "E (my_mute.py:3)",
    ),
    "syntax": ("def f(:\n  pass", "SyntaxError: "),
    "long": ("raise ValueError('x' * 9999)", "xxx...xxx"),
    "lazy": ("def __getattr__(name): raise ImportError('later')", "ImportError: later"),
}


@pytest.mark.parametrize("kind", IMPORTS)
def test_a_module_that_cannot_be_imported(tmp_path, monkeypatch, kind):
    text, said = IMPORTS[kind]
    (tmp_path / f"my_{kind}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError) as raised:
        plugins.load("datasets", f"my_{kind}:Dataset")
    assert str(raised.value).startswith(f"cannot import 'my_{kind}': ")
    assert said in str(raised.value)
    assert len(str(raised.value)) < 700


def test_an_interrupt_during_an_import_is_the_users(tmp_path, monkeypatch):
    (tmp_path / "my_slow.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        plugins.load("datasets", "my_slow:Dataset")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("my_file.py:Dataset", "did you mean 'my_file:Dataset'?"),
        ("folder/my_file.py:Dataset", "from the folder that holds it: `my_file:Name`"),
    ],
)
def test_a_file_in_place_of_a_module(path, hint):
    with pytest.raises(UserError) as raised:
        plugins.load("datasets", path)
    assert hint in str(raised.value)


# Options that cannot be read.
@dataclass(frozen=True)
class Breaks:
    def __post_init__(self):
        raise KeyError("no such thing")

    def load(self, seed): ...


@dataclass(frozen=True)
class Unknown:
    option: NotImported = None  # type: ignore[name-defined]  # noqa: F821

    def load(self, seed): ...


class Plain:
    def load(self, seed): ...


class BadWorkload(fakes.Evaluator):
    workload = 32


@dataclass(frozen=True)
class NoWorkload:
    def evaluate(self, model, architecture, data, seed): ...


@dataclass(frozen=True)
class WorkloadRaises(NoWorkload):
    @property
    def workload(self):
        return 1 / 0


@dataclass(frozen=True)
class NoSlots:
    threads = 1

    def connect(self): ...

    def run(self, ask, assess, keep, tell): ...


OPTIONS = [
    ({"dataset": f"{HERE}:Breaks"}, "Breaks cannot be made: KeyError: 'no such thing'"),
    ({"dataset": f"{HERE}:Unknown"}, "the options of Unknown cannot be read: NameError"),
    ({"dataset": f"{HERE}:Plain"}, "write @dataclass(frozen=True) above it"),
    ({"evaluator": f"{HERE}:BadWorkload"}, "its `workload` is 32\n  allowed: a scalesearch.Work"),
    ({"evaluator": f"{HERE}:NoWorkload"}, "its `workload` is None"),
    ({"evaluator": f"{HERE}:WorkloadRaises"}, "failed in `workload`: ZeroDivisionError"),
    ({"execution": {"executor": f"{HERE}:NoSlots"}}, "its `slots` is None"),
    ({"export": [f"{HERE}:Plain"]}, "it has no method `export`"),
]


@pytest.mark.parametrize(("changes", "said"), OPTIONS, ids=[said for _, said in OPTIONS])
def test_options_and_attributes(tmp_path, changes, said):
    with pytest.raises(UserError) as raised:
        load_study(write_study(tmp_path, **changes))
    assert said in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "study.yaml"))


# Data sets.
class Images:
    def __init__(self, labels, dtype=torch.uint8, shape=None, count=None):
        self.labels, self.dtype, self.shape = labels, dtype, shape
        self.count = len(labels) if count is None else count

    def __len__(self):
        return self.count

    def batch(self, indices, view):
        shape = self.shape or (len(indices), 1, view.size, view.size)
        return torch.zeros(shape, dtype=self.dtype)


GOOD = Images(np.array([0, 1]))
DATA = ImageData(GOOD, GOOD, ("a", "b"), 1, (0.5,), (0.3,), flip=False)
NAME = "my:Dataset"

WRONG_DATA = [
    (None, "`load` returned None\n  allowed: a scalesearch.interfaces.ImageData"),
    ((GOOD, GOOD), "`load` returned (<"),
    (replace(DATA, classes=()), "its `classes` is ()"),
    (replace(DATA, classes=(1, 2)), "its `classes` is (1, 2)"),
    (replace(DATA, classes=("a", "a")), "allowed: names that differ"),
    (replace(DATA, channels=4), "its `channels` is 4\n  allowed: 1 or 3"),
    (replace(DATA, mean=(0.5, 0.5)), "its `mean` is (0.5, 0.5)\n  allowed: 1 numbers"),
    (replace(DATA, mean=(float("nan"),)), "its `mean` is (nan,)"),
    (replace(DATA, std=(0.0,)), "allowed: 1 numbers above 0"),
    (replace(DATA, mean=None), "failed in `load`: TypeError"),
    (replace(DATA, notes="sloppy"), "its `notes` is 'sloppy'\n  allowed: a tuple of sentences"),
    (replace(DATA, notes=None), "its `notes` is None"),
    (replace(DATA, notes=(1,)), "its `notes` is (1,)"),
    (replace(DATA, files={"seen": 2}), "allowed: a scalesearch.interfaces.FileAccount, or None"),
    (replace(DATA, train=Images([], count=0)), "has no train images"),
    (replace(DATA, train=Images([0], count=-3)), "failed in `load`: ValueError: __len__"),
    (replace(DATA, validation=None), "failed in `load`: TypeError: object of type 'NoneType'"),
    (replace(DATA, train=Images(np.array([0, 2]))), "the train labels hold 2, and there are 2"),
    (replace(DATA, validation=Images(np.array([-1, 0]))), "the validation labels hold -1"),
    (replace(DATA, test=Images([], count=0)), "has no test images"),
    (replace(DATA, test=Images(np.array([0, 2]))), "the test labels hold 2, and there are 2"),
    (replace(DATA, test=Images([0, 1], dtype=torch.float32)), "`test.batch` returned float32"),
    (replace(DATA, train=Images(np.array([0.0, 1.0]))), "the train labels are float64 [2]"),
    (replace(DATA, train=Images(np.array([0]), count=2)), "are int64 [1]\n  allowed: int64 [2]"),
    (replace(DATA, train=Images([0, 1], dtype=torch.float32)), "`train.batch` returned float32"),
    (replace(DATA, train=Images([0, 1], shape=(1, 8, 8, 1))), "returned uint8 [1, 8, 8, 1]"),
]


@pytest.mark.parametrize(("data", "said"), WRONG_DATA, ids=[said for _, said in WRONG_DATA])
def test_a_data_set_that_is_none(data, said):
    with pytest.raises(UserError) as raised:
        check_data(NAME, data, "classification")
    assert str(raised.value).startswith(f"{NAME!r}")
    assert said in str(raised.value)
    assert len(str(raised.value)) < 500


def test_data_sets_that_are_right():
    assert check_data(NAME, DATA, "classification") == DATA
    pictures = boxes_of()
    assert check_data(NAME, pictures, "detection") == pictures
    tested = replace(DATA, test=GOOD)
    assert check_data(NAME, tested, "classification") == tested


def test_facts_become_plain_values():
    """They are written as JSON."""
    mean, std = np.array([0.5], np.float32), [torch.tensor(0.25)]
    given = replace(DATA, classes=["a", "b"], mean=mean, std=std, notes=["odd"])
    data = check_data(NAME, given, "classification")
    assert (data.classes, data.mean, data.std) == (("a", "b"), (0.5,), (0.25,))
    assert data.notes == ("odd",)
    assert {type(value) for value in (*data.mean, *data.std)} == {float}


def boxes_of(**changes):
    base = test_interfaces.Pictures
    methods = {key: (lambda value: lambda self, index: value)(v) for key, v in changes.items()}
    part = type("Part", (base,), methods)()
    facts = {"classes": ("a",), "category_ids": (1,), "channels": 3}
    return BoxData(part, part, mean=(0.5,) * 3, std=(0.5,) * 3, flip=False, **facts)


def targets(boxes, labels, crowd=(), areas=()):
    return Targets(*(np.asarray(each, float) for each in (boxes, labels, crowd, areas)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"targets": targets([[1, 2, 3]], [0], [0], [1])}, "boxes of train image 0 are float64"),
        ({"targets": targets([[1, 2, 3, np.nan]], [0], [0], [1])}, "boxes of train image 0"),
        ({"targets": targets([[1, 2, 3, 4]], [], [0], [1])}, "has 0 labels for 1 boxes"),
        ({"targets": targets([[1, 2, 3, 4]], [7], [0], [1])}, "hold 7.0, and there are 1 classes"),
        ({"size": (9, 8)}, "returned uint8 [3, 8, 8]\n  allowed: a uint8 tensor of torch [3, 9"),
        ({"image": np.zeros((3, 8, 8), np.uint8)}, "`train.image` returned a ndarray"),
        ({"targets": None}, "failed in `load`: AttributeError"),
    ],
)
def test_boxes_that_are_none(changes, said):
    with pytest.raises(UserError) as raised:
        check_data(NAME, boxes_of(**changes), "detection")
    assert said in str(raised.value)
    wrong = replace(boxes_of(), test=boxes_of(**changes).train)
    with pytest.raises(UserError) as raised:
        check_data(NAME, wrong, "detection")
    assert said.replace("train", "test") in str(raised.value)


@dataclass(frozen=True)
class Fails:
    def load(self, seed):
        return {}["missing"]


@dataclass(frozen=True)
class Exits:
    def load(self, seed):
        sys.exit("no data today")


@pytest.mark.parametrize(
    ("kind", "said"), [("Fails", "KeyError: 'missing'"), ("Exits", "SystemExit: no data today")]
)
def test_a_data_set_that_fails(tmp_path, kind, said):
    with pytest.raises(UserError) as raised:
        run(write_study(tmp_path, dataset=f"{HERE}:{kind}"), folder=tmp_path / "run")
    name = f"'{HERE}:{kind}'"
    assert f"dataset: {name} failed in `load`: {said} (test_contracts.py:" in str(raised.value)


# Evaluators: `yields` is what one yields, or returns if it is no list.
@dataclass(frozen=True)
class Evaluator:
    yields: object = None

    workload = Workload(training_batch=2)

    def evaluate(self, model, architecture, data, seed):
        return iter(self.yields) if isinstance(self.yields, list) else self.yields


WRONG_SCORES = [
    (None, "`evaluate` returned None\n  allowed: a generator of scores"),
    (0.9, "`evaluate` returned 0.9"),
    ("0.9", "`evaluate` yielded '0'"),
    ([0.9], "`evaluate` yielded 0.9\n  allowed: scalesearch.history.jobs.Score(step,"),
    ([{"accuracy": 0.9}], "`evaluate` yielded {'accuracy': 0.9}"),
    ([Score(1, 0.9)], "`evaluate` yielded 0.9"),
    ([Score(1, {})], "`evaluate` yielded {}"),
    ([Score(1, {"accuracy": None})], "scored 'accuracy': None\n  allowed: a name and a number"),
    ([Score(1, {"accuracy": "0.9"})], "scored 'accuracy': '0.9'"),
    ([Score(1, {"accuracy": 1j})], "scored 'accuracy': a complex"),
    ([Score(1, {"accuracy": [0.9]})], "scored 'accuracy': [0.9]"),
    ([Score(1, {"accuracy": torch.zeros(3)})], "scored 'accuracy': a Tensor"),
    ([Score(1, {"accuracy": 10**400})], "scored 'accuracy': 1000"),
    ([Score(1, {3: 0.9})], "scored 3: 0.9"),
    ([Score("last", {"accuracy": 0.9})], "a score of step 'last'\n  allowed: a whole number"),
]


@pytest.mark.parametrize(("yields", "said"), WRONG_SCORES, ids=[said for _, said in WRONG_SCORES])
def test_an_evaluator_that_yields_nonsense(yields, said):
    with pytest.raises(UserError) as raised:
        list(scores_of(Evaluator(yields), None, None, None, 0))
    assert str(raised.value).startswith(f"'{HERE}:Evaluator'")
    assert said in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    "number", [0.5, np.float32(0.5), np.float64(0.5), torch.tensor(0.5), np.array([0.5])[0]]
)
def test_numbers_of_any_library_are_scores(number):
    (score,) = scores_of(Evaluator([Score(np.int64(1), {"a": number})]), None, None, None, 0)
    assert score == Score(1, {"a": 0.5})
    assert type(score.values["a"]) is float
    assert type(score.step) is int


@dataclass(frozen=True)
class Text(Evaluator):
    def evaluate(self, model, architecture, data, seed):
        yield Score(1, {"accuracy": "very good"})


@dataclass(frozen=True)
class Other(Evaluator):
    def evaluate(self, model, architecture, data, seed):
        yield Score(1, {"acc": 0.5})


# Samplers.
class Proposes(optuna.samplers.BaseSampler):
    def __init__(self, space, change):
        self.space, self.change = space, change

    def infer_relative_search_space(self, study, trial):
        every = self.space.parameters.items()
        return {name: optuna.distributions.CategoricalDistribution(c) for name, c in every}

    def sample_relative(self, study, trial, search_space):
        first = {name: choices[0] for name, choices in self.space.parameters.items()}
        return self.change(first)

    def sample_independent(self, study, trial, name, distribution):
        return distribution.choices[0]


@dataclass(frozen=True)
class Unnamed:
    def make(self, space, seed, limits, workload):
        return Proposes(space, lambda first: {**first, "stage1.dept": 1})


@dataclass(frozen=True)
class NotANumber:
    def make(self, space, seed, limits, workload):
        return Proposes(space, lambda first: dict.fromkeys(first, float("nan")))


@dataclass(frozen=True)
class Dictionary:
    def make(self, space, seed, limits, workload):
        return dict(space.parameters)


@dataclass(frozen=True)
class Raises:
    def make(self, space, seed, limits, workload):
        raise LookupError("no such space")


# Executors and exporters.
@dataclass(frozen=True)
class Idle:
    slots = threads = 1

    def connect(self):
        return nullcontext()

    def run(self, ask, assess, keep, tell):
        ask()


class Nothing(Idle):
    def run(self, ask, assess, keep, tell):
        tell(ask(), None)


class Broken(Idle):
    def run(self, ask, assess, keep, tell):
        raise OSError("the queue is down")


def search(**changes):
    return {"space": "space.yaml", "trials": 2, "sampler": "random", **changes}


WRONG_RUNS = [
    ({"evaluator": f"{HERE}:Text"}, f"'{HERE}:Text' scored 'accuracy': 'very good'"),
    ({"evaluator": f"{HERE}:Other"}, "the evaluator gives no 'accuracy'"),
    (
        {"search": search(sampler=f"{HERE}:Unnamed")},
        "the sampler proposed 'stage1.dept', which is not a parameter\n  allowed: stage1",
    ),
    (
        {"search": search(sampler=f"{HERE}:NotANumber")},
        f"'{HERE}:NotANumber' failed in `make(…).sample_relative`: ValueError: ",
    ),
    (
        {"search": search(sampler=f"{HERE}:Dictionary")},
        "the sampler's `make` returned dict\n  allowed: an instance of optuna.samplers.BaseSampler",
    ),
    (
        {"search": search(sampler=f"{HERE}:Raises")},
        f"'{HERE}:Raises' failed in `make`: LookupError: no such space",
    ),
    (
        {"execution": {"executor": f"{HERE}:Idle"}},
        f"the executor '{HERE}:Idle' ended without an outcome of trial 0",
    ),
    ({"execution": {"executor": f"{HERE}:Nothing"}}, "the executor reported NoneType for trial 0"),
    (
        {"execution": {"executor": f"{HERE}:Broken"}},
        f"'{HERE}:Broken' failed in `run`: OSError: the queue is down",
    ),
]


@pytest.mark.parametrize(("changes", "said"), WRONG_RUNS, ids=[said for _, said in WRONG_RUNS])
def test_a_run_that_ends_in_a_sentence(tmp_path, monkeypatch, changes, said):
    monkeypatch.setattr(running, "report", lambda folder: [])
    with pytest.raises(UserError) as raised:
        run(write_study(tmp_path, **changes), folder=tmp_path / "run")
    assert said in str(raised.value)
    assert len(str(raised.value)) < 700


@dataclass(frozen=True)
class Exporter:
    mode: str = "none"

    suffix = ".txt"

    def export(self, architecture, path, weights, about):
        if self.mode == "raises":
            raise KeyError("weights")
        if self.mode == "outside":
            elsewhere = path.parent.parent / "elsewhere.txt"
            elsewhere.write_text("x")
            return [elsewhere]
        return {"none": None, "text": str(path), "empty": [], "absent": [path], "odd": [3]}[
            self.mode
        ]


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("none", "`export` returned None\n  allowed: a list of the paths that it wrote"),
        ("text", "`export` returned '/"),
        ("empty", "wrote nothing"),
        ("absent", "which it did not write"),
        ("odd", "`export` returned 3"),
        ("outside", "elsewhere.txt', outside of "),
        ("raises", "failed in `export`: KeyError: 'weights'"),
    ],
)
def test_an_exporter_that_does_not_write(tmp_path, mode, said):
    folder = tmp_path / "export"
    folder.mkdir()
    with pytest.raises(UserError) as raised:
        export(
            Backbone(stages=(Stage(width=4),)), folder / "net.txt", f"{HERE}:Exporter", mode=mode
        )
    assert str(raised.value).startswith(f"'{HERE}:Exporter'")
    assert said in str(raised.value)


def test_what_an_exporter_wrote_may_be_texts(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    target = tmp_path / "a.txt"
    assert written("my:Exporter", (str(target),), target) == [target]


@dataclass(frozen=True)
class Neck:
    def nodes(self, levels):
        return [None]


def test_a_neck_that_is_none():
    with pytest.raises(UserError) as raised:
        wiring(f"{HERE}:Neck", range(3, 6))
    assert str(raised.value).startswith(f"neck.kind: '{HERE}:Neck' failed in `nodes`: TypeError: ")


def test_names_of_plug_ins():
    assert name_of(Evaluator()) == f"{HERE}:Evaluator"
    assert name_of(plugins.load("samplers", "random")()) == "random"


def test_the_command_line_says_it_in_one_sentence(tmp_path):
    (tmp_path / "my_exit.py").write_text("import sys\nsys.exit(0)\n")
    write_study(tmp_path, dataset="my_exit:Dataset")
    for command in ("check", "run"):
        done = subprocess.run(
            [sys.executable, "-m", "scalesearch", command, str(tmp_path / "study.yaml")],
            env={"PYTHONPATH": f"{Path(__file__).parents[1]}:{tmp_path}", "PATH": ""},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert "cannot import 'my_exit': it exits when it is imported" in done.stderr
        assert "Traceback" not in done.stderr
