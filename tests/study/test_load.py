"""Study files: what is read, and a corpus of mistakes with the exact words they are told in."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scalesearch.arch.published import published
from scalesearch.cost.cost import Deployment
from scalesearch.cost.limits import Limit
from scalesearch.errors import UserError
from scalesearch.evaluators.training import Evaluator
from scalesearch.files.write import format_yaml
from scalesearch.history.objective import Objective
from scalesearch.history.stopping import Stopping
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.study.folder import deciding
from scalesearch.study.load import differences, load_study, resolved

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "studies" / "quickstart.yaml"

STUDY = """\
name: tiny
dataset: {name: mnist5k, limit: 100}
evaluator: {name: training, epochs: 2}
search:
  space: space.yaml
  trials: 5
"""
SPACE = "stages:\n  - {width: [8, 16]}\n"


@pytest.fixture
def study(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)

    def write(text=STUDY, more=""):
        path = tmp_path / "study.yaml"
        path.write_text(text + more)
        return path

    return write


def test_the_quickstart():
    study = load_study(QUICKSTART)
    assert study.name == "quickstart"
    assert study.search.space == ROOT / "search_spaces" / "mbconv_small.yaml"
    assert study.search.limits["flops"] == Limit(max=900_000)
    assert study.search.limits["training_bytes"] == Limit(max=256 * 2**20)
    assert study.search.objective == Objective(metric="accuracy")
    assert study.search.proposals == 2000
    assert study.family.phi == (0, 1)
    assert study.execution.executor.name == "ray"
    assert study.execution.executor.options["timeout"] == 600
    assert study.execution.executor.make().slots == 2
    assert [exporter.name for exporter in study.export] == ["python"]


def test_every_shipped_study_loads():
    found = sorted((ROOT / "studies").glob("*.yaml"))
    assert len(found) >= 2
    for path in found:
        assert load_study(path).name == path.stem


def test_defaults(study):
    made = load_study(study())
    assert (made.seed, made.task, made.export) == (0, "classification", ())
    assert made.search.sampler.name == "predictor"
    assert made.search.sampler.options["startup"] == 10
    assert made.execution.executor.name == "serial"
    assert not made.execution.deterministic
    assert made.grid is made.family is made.baseline is None


def test_several_workers_take_ray(study):
    made = load_study(study(more="execution: {workers: 2}\n"))
    assert made.execution.executor.name == "ray"


def test_phases_override_the_evaluator(study):
    text = study(
        more="  evaluator: {epochs: 1}\ngrid: {}\n"
        "family: {phi: [0, 0.5], evaluator: {name: training, batch_size: 64}}\n"
    )
    made = load_study(text)
    assert made.evaluator.make().epochs == 2
    assert made.search.evaluator.make().epochs == 1
    assert made.grid.evaluator == made.evaluator
    assert made.family.evaluator.make().batch_size == 64
    assert made.family.evaluator.make().epochs == 2
    assert made.family.strategies == ("compound", "depth", "width", "resolution")


@pytest.mark.parametrize(
    ("text", "objective"),
    [
        ("accuracy", Objective(metric="accuracy")),
        ("[accuracy, flops]", Objective(metric="accuracy", cost="flops")),
        (
            "{reward: accuracy, flops: 1.5M}",
            Objective(metric="accuracy", cost="flops", target=1_500_000, exponent=-0.07),
        ),
        (
            "{reward: accuracy, latency: 20ms}\nlatency: {}",
            Objective(metric="accuracy", cost="latency", target=0.02, exponent=-0.07),
        ),
        ("[accuracy, latency]\nlatency: {}", Objective(metric="accuracy", cost="latency")),
        (
            "{reward: accuracy, training_bytes: 1GiB, exponent: -0.1}",
            Objective(metric="accuracy", cost="training_bytes", target=2**30, exponent=-0.1),
        ),
    ],
)
def test_objectives(study, text, objective):
    assert load_study(study(more=f"  objective: {text}\n")).search.objective == objective


def test_a_metric_that_the_evaluator_does_not_give_is_rejected(study):
    for text in ("acuracy", "[acuracy, flops]", "{reward: acuracy, flops: 1M}"):
        with pytest.raises(UserError) as told:
            load_study(study(more=f"  objective: {text}\n"))
        assert "the evaluator gives no 'acuracy'" in str(told.value)
        assert "allowed: accuracy" in str(told.value)
        assert "did you mean 'accuracy'?" in str(told.value)


def test_the_scores_of_ones_own_evaluator_are_not_known_before_the_first(study):
    path = study(more="  objective: f1\n  evaluator: tests.fakes:Evaluator\n")
    assert load_study(path).search.objective == Objective(metric="f1")


def test_latency_is_measured_for_a_deployment(study, tmp_path):
    (tmp_path / "table.json").write_text("{}")
    text = "latency: {batch: 8, threads: 2, table: table.json}\nexecution: {cpus: 2}\n"
    made = load_study(study(more="  limits: {latency: {max: 1.5ms}}\n" + text))
    assert made.latency.deployment == Deployment(device="cpu", batch=8, threads=2)
    assert made.latency.table == tmp_path / "table.json"
    assert made.search.limits == {"latency": Limit(max=0.0015)}
    assert load_study(study()).latency is None
    on_gpu = load_study(study(more="latency: {device: cuda}\nexecution: {gpus: 1}\n"))
    assert on_gpu.latency.deployment == Deployment(device="cuda")


def test_a_table_without_a_search_is_refused(study, tmp_path):
    (tmp_path / "table.json").write_text("{}")
    with pytest.raises(UserError, match="predicts the candidates of a search, and there is none"):
        load_study(study(scaled("efficientnet_b0") + "latency: {table: table.json}\n"))


def test_stopping(study):
    made = load_study(study(more="  stopping: {rungs: [1, 3]}\n"), ["evaluator.epochs=4"])
    assert made.search.stopping == Stopping(rungs=(1, 3), keep=0.5)


def test_a_rung_that_no_trial_reaches_is_refused(study):
    path = study(more="  stopping: {rungs: [1, 3]}\n")
    with pytest.raises(UserError, match="a rung at epoch 3 stops nothing") as told:
        load_study(path, ["evaluator.epochs=3"])
    assert "allowed: 1 to 2" in str(told.value)


def test_an_override_reaches_below_a_short_form(study):
    made = load_study(study(), ["search.sampler=tpe", "search.sampler.startup=3"])
    assert made.search.sampler.options["startup"] == 3


@pytest.mark.parametrize("phi", [".nan", ".inf", "17"])
def test_a_phi_that_no_network_can_have_is_refused(study, phi):
    with pytest.raises(UserError, match=r"family\.phi\[0\]"):
        load_study(study(more="family: {phi: [0]}\ngrid: {}\n"), [f"family.phi=[{phi}]"])


def test_a_loss_is_no_objective(study):
    with pytest.raises(UserError, match="a loss is not to be"):
        load_study(study(), ["search.objective=loss"])


def scaled(baseline, more="coefficients: {alpha: 1.2, beta: 1.1, gamma: 1.15}\n"):
    return f"name: x\ndataset: mnist5k\nbaseline: {baseline}\n{more}family: {{phi: [0, 1]}}\n"


def test_a_baseline_made_for_small_images(study):
    stem = "{name: resnet18, resolution: 32, stem: {kernel: 3, stride: 1, pool: 1}}"
    loaded = load_study(study(scaled(stem)))
    made = loaded.baseline.make()
    assert (made.stem.width, made.stem.kernel, made.stem.stride, made.stem.pool) == (64, 3, 1, 1)
    # It is written to the run folder in a form that can be read again.
    assert made == load_study(study(scaled(loaded.baseline.plain()))).baseline.make()


def test_baselines(study, tmp_path, monkeypatch):
    b0 = published("efficientnet_b0")
    assert load_study(study(scaled("efficientnet_b0"))).baseline.make() == b0
    small = load_study(study(scaled("{name: efficientnet_b0, resolution: 64}"))).baseline.make()
    assert small == published("efficientnet_b0", resolution=64)
    (tmp_path / "net.yaml").write_text("stages: [{width: 8}]\n")
    made = load_study(study(scaled("net.yaml"))).baseline
    assert made.source == str(tmp_path / "net.yaml")
    assert made.make().stages[0].width == 8
    made = load_study(study(scaled("{file: net.yaml, num_classes: 5}"))).baseline.make()
    assert made.num_classes == 5
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_factory_for_test.py").write_text(
        "from scalesearch import architecture\ndef net(): return architecture('efficientnet_b1')\n"
    )
    made = load_study(study(scaled("own_factory_for_test:net"))).baseline.make()
    assert made == published("efficientnet_b1")


def test_coefficients_from_a_file(study, tmp_path):
    (tmp_path / "c.yaml").write_text("alpha: 1.3\nbeta: 1.1\ngamma: 1.1\nscore: 0.9\n")
    made = load_study(study(scaled("efficientnet_b0", "coefficients: c.yaml\n")))
    assert made.coefficients == Coefficients(1.3, 1.1, 1.1)


def test_paths_start_at_the_file(study, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    text = STUDY.replace("{name: mnist5k, limit: 100}", "{name: image_folder, path: images}")
    made = load_study(study(text))
    assert made.search.space == tmp_path / "space.yaml"
    assert made.dataset.make().path == tmp_path / "images"


def test_a_study_is_frozen(study):
    with pytest.raises(ValueError, match="frozen"):
        load_study(study()).seed = 3


MISTAKES = [
    # where in the study, what is added, the line, and how the message goes on
    ("", "sead: 3\n", 7, "sead: unknown key 'sead'"),
    ("", "seed: three\n", 7, "seed: 'three' cannot be used\n  allowed: a whole number"),
    ("", "seed: 1.5\n", 7, "seed: 1.5 cannot be used\n  allowed: a whole number"),
    ("", "seed: true\n", 7, "seed: True cannot be used\n  allowed: a whole number"),
    ("", "seed: -1\n", 7, "seed: -1 cannot be used\n  allowed: at least 0"),
    (
        "",
        "task: detection\n",
        2,
        "dataset: 'mnist5k' is for classification, and the task is detection",
    ),
    (
        "",
        "task: clasification\n",
        7,
        "task: 'clasification' is not known\n  allowed: classification, detection",
    ),
    ("", "baseline: efficientnet_b0\n", 1, "a study needs a search or a baseline, and not both"),
    ("", "grid:\n", 7, "grid: 'grid' is empty\n  write `grid: {}` for its defaults"),
    ("", "grid: 3\n", 7, "grid: 3 cannot be used\n  allowed: key: value pairs"),
    ("", "grid: {step: 0}\n", 7, "grid.step: 0 cannot be used\n  allowed: more than 0"),
    (
        "",
        "grid: {steps: 0.1}\n",
        7,
        "grid.steps: unknown key 'steps'\n  allowed: budget, budget_cost, tolerance, step",
    ),
    (
        "",
        "grid: {budget: .inf}\n",
        7,
        "grid.budget: inf cannot be used\n  allowed: a finite number",
    ),
    ("", "family: {phi: [0, 1]}\n", 7, "family: a family needs coefficients\n  allowed: `grid:`"),
    ("", "grid: {}\nfamily: {phi: 1}\n", 8, "family.phi: 1 cannot be used\n  allowed: a list"),
    (
        "",
        "grid: {}\nfamily: {phi: []}\n",
        8,
        "family.phi: the family has no members\n  allowed: at least 1 of them, or `lines:`",
    ),
    ("", "grid: {}\nfamily:\n  phi: [0, 1, 0]\n", 9, "family.phi[2]: 0.0 stands twice"),
    (
        "",
        "grid: {}\nfamily: {phi: [a]}\n",
        8,
        "family.phi[0]: 'a' cannot be used\n  allowed: a number",
    ),
    ("", "grid: {}\nfamily: {}\n", 8, "family.phi: the family has no members"),
    (
        "",
        "grid: {}\nfamily: {lines: {width: {width: 2}}}\n",
        8,
        "family.lines.width: 'width' is a strategy",
    ),
    (
        "",
        "grid: {}\nfamily: {lines: {A b: {width: 2}}}\n",
        8,
        "family.lines.A b: 'A b' cannot name a line\n  allowed: up to 60 small letters",
    ),
    ("", "grid: {}\nfamily: {lines: {a: {}}}\n", 8, "family.lines.a: the line has no networks"),
    (
        "",
        "grid: {}\nfamily: {lines: {a: {width: [0]}}}\n",
        8,
        "family.lines.a.width[0]: 0 cannot be used\n  allowed: more than 0",
    ),
    (
        "",
        "grid: {}\nfamily: {lines: {a: {width: [1, 2], depth: [1, 2, 3]}}}\n",
        8,
        "family.lines.a.width: 2 values beside a list of 3\n  allowed: one, or 3",
    ),
    (
        "",
        "grid: {}\nfamily: {lines: {a: {width: 2, networks: [resnet18]}}}\n",
        8,
        "family.lines.a.networks: a line is of networks by name, or of multipliers",
    ),
    (
        "",
        "grid: {}\nfamily: {lines: {a: {networks: [resnet18], head_scaling: keep}}}\n",
        8,
        "family.lines.a.head_scaling: networks by name are not scaled",
    ),
    (
        "",
        "grid: {}\nfamily: {lines: {a: {networks: [resnet19]}}}\n",
        8,
        "family.lines.a.networks[0]: no published architecture is called 'resnet19'",
    ),
    (
        "",
        "grid: {}\nfamily: {lines: {a: {networks: [efficientdet_d0]}}}\n",
        8,
        "family.lines.a.networks[0]: efficientdet_d0 is not a network of the task",
    ),
    (
        "",
        "coefficients: {alpha: 1.2, beta: 1.1, gamma: 1}\nfamily: {lines: {a: {width: 2}}}\n",
        7,
        "coefficients: coefficients do nothing without a family that has phi",
    ),
    (
        "",
        "grid: {}\nfamily: {phi: [0], strategies: [dept]}\n",
        8,
        "family.strategies[0]: 'dept' is not known\n"
        "  allowed: compound, depth, width, resolution, depth_width, fast_compound, or weights of "
        "one's own such as d1_w8_r1\n  did you mean 'depth'?",
    ),
    (
        "",
        "grid: {}\ncoefficients: {alpha: 1.2, beta: 1.1, gamma: 1.15}\nfamily: {phi: [0]}\n",
        8,
        "coefficients: the grid finds the coefficients",
    ),
    ("", "coefficients: {alpha: 1.2, beta: 1.1}\n", 7, "coefficients: 'gamma' is missing"),
    (
        "",
        "coefficients: {alpha: 0, beta: 1, gamma: 1}\n",
        7,
        "coefficients.alpha: 0.0 cannot be used",
    ),
    ("", "coefficients: none.yaml\n", 0, "there is no such file"),
    ("", "export: python\n", 7, "export: 'python' cannot be used\n  allowed: a list"),
    (
        "",
        "export: [python, {name: python, fold: true}]\n",
        7,
        "export: two exports would write the same .py files",
    ),
    ("", "export: [pyton]\n", 7, "export[0].name: there is no 'pyton' among the exporters"),
    (
        "",
        "execution: {executor: rai}\n",
        7,
        "execution.executor: there is no 'rai' among the executors",
    ),
    ("", "execution: {worker: 2}\n", 7, "execution.worker: unknown key 'worker'"),
    (
        "",
        "execution: {workers: two}\n",
        7,
        "execution.workers: 'two' cannot be used\n  allowed: a whole",
    ),
    (
        "",
        "execution: {executor: serial, workers: 2}\n",
        7,
        "execution.workers: 2 is not possible in one",
    ),
    (
        "",
        "execution: {timeout: soon}\n",
        7,
        "execution.timeout: 'soon' is not a time\n  allowed: a number of",
    ),
    (
        "",
        "execution: {deterministic: maybe}\n",
        7,
        "execution.deterministic: 'maybe' cannot be used",
    ),
    (
        "  ",
        "trails: 3\n",
        7,
        "search.trails: unknown key 'trails'\n  allowed: space, sampler, trials",
    ),
    ("  ", "proposals: 3\n", 7, "search.proposals: 3 proposals cannot give 5 trials"),
    ("  ", "sampler: tpee\n", 7, "search.sampler.name: there is no 'tpee' among the samplers"),
    (
        "  ",
        "sampler: {startup: 3}\n",
        7,
        "search.sampler: {'startup': 3} names none of the samplers",
    ),
    (
        "  ",
        "sampler: {name: tpe, startup: 0}\n",
        7,
        "search.sampler.startup: 0 cannot be used\n  allowed: at",
    ),
    ("  ", "sampler: {name: tpe, start: 9}\n", 7, "search.sampler.start: unknown key 'start'"),
    ("  ", "limits: {flop: {max: 3}}\n", 7, "search.limits.flop: 'flop' is not a cost"),
    (
        "  ",
        "limits: {flops: 400M}\n",
        7,
        "search.limits.flops: '400M' is not a mapping\n  allowed: {min",
    ),
    (
        "  ",
        "limits: {flops: {max: 400m}}\n",
        7,
        "search.limits.flops.max: '400m' is not understood",
    ),
    ("  ", "limits: {flops: {maxi: 4M}}\n", 7, "search.limits.flops.maxi: unknown key 'maxi'"),
    ("  ", "limits: {flops: {}}\n", 7, "search.limits.flops: a limit needs a bound"),
    ("  ", "limits: {flops: {max: 0}}\n", 7, "search.limits.flops.max: 0 cannot be a bound"),
    (
        "  ",
        "limits:\n    flops: {min: 4M, max: 2M}\n",
        8,
        "search.limits.flops: min 4e+06 is above max 2e+06: nothing can meet both",
    ),
    (
        "  ",
        "objective: flops\n",
        7,
        "search.objective: 'flops' is a cost; an objective begins with",
    ),
    ("  ", "objective: [accuracy]\n", 7, "search.objective: ['accuracy'] is not an objective"),
    ("  ", "objective: [accuracy, speed]\n", 7, "search.objective: 'speed' is not a cost"),
    (
        "  ",
        "objective: {reward: accuracy}\n",
        7,
        "search.objective: {'reward': 'accuracy'} is not a reward",
    ),
    (
        "  ",
        "objective: {reward: accuracy, flops: x}\n",
        7,
        "search.objective.flops: 'x' is not understood",
    ),
    ("  ", "stopping: {rungs: []}\n", 7, "search.stopping.rungs: [] cannot be used"),
    ("  ", "stopping: {rungs: [1], keep: 2}\n", 7, "search.stopping.keep: 2.0 cannot be used"),
    ("  ", "stopping: {rungs: [1], share: 1}\n", 7, "search.stopping.share: unknown key 'share'"),
    ("  ", "stopping: {rungs: [1], data: [0]}\n", 7, "search.stopping.data: [0.0] cannot be used"),
    ("  ", "fidelity: {data: 0}\n", 7, "search.fidelity.data: 0.0 cannot be used"),
    ("  ", "fidelity: {resolution: 1.5}\n", 7, "search.fidelity.resolution: 1.5 cannot be used"),
    ("  ", "fidelity: {epochs: 1}\n", 7, "search.fidelity.epochs: unknown key 'epochs'"),
    ("  ", "fidelity: 0.5\n", 7, "search.fidelity: 0.5 is not a mapping"),
    (
        "  ",
        "evaluator: {epochs: 0}\n",
        7,
        "search.evaluator.epochs: 0 cannot be used\n  allowed: 1 or",
    ),
    ("  ", "evaluator: {epoch: 1}\n", 7, "search.evaluator.epoch: unknown key 'epoch'"),
    (
        "  ",
        "limits: {latency: {max: 20ms}}\n",
        7,
        "search.limits.latency: latency is measured only where a study says on what\n"
        "  add a section `latency: {device: cpu, batch: 1, threads: 1}`",
    ),
    (
        "  ",
        "objective: [accuracy, latency]\n",
        7,
        "search.objective: latency is measured only where a study says on what",
    ),
    (
        "",
        "grid: {limits: {latency: {max: 20ms}}}\n",
        7,
        "grid.limits.latency: latency is measured only where a study says on what",
    ),
    (
        "  ",
        "limits: {latency: {max: 20M}}\n",
        7,
        "search.limits.latency.max: '20M' is not a time\n  allowed: a number of seconds, or one",
    ),
    (
        "",
        "latency: {device: gpu}\n",
        7,
        "latency.device: 'gpu' is not known\n  allowed: cpu or cuda",
    ),
    ("", "latency: {batch: 0}\n", 7, "latency.batch: 0 cannot be used\n  allowed: at least 1"),
    (
        "",
        "latency: {theads: 2}\n",
        7,
        "latency.theads: unknown key 'theads'\n  allowed: device, batch, threads, table\n"
        "  did you mean 'threads'?",
    ),
    (
        "",
        "latency: {threads: 4}\n",
        7,
        "latency.threads: 4 threads on workers that may use 1\n"
        "  give each as many: `execution: {cpus: 4}`",
    ),
    (
        "",
        "latency: {device: cuda}\n",
        7,
        "latency.device: no worker has a GPU to measure on\n"
        "  give each a whole one: `execution: {gpus: 1}`",
    ),
    (
        "",
        "latency: {table: none.json}\n",
        7,
        "latency.table: there is no file ",
    ),
    ("", "latency:\n", 7, "latency: 'latency' is empty\n  write `latency: {}` for its defaults"),
]


@pytest.mark.parametrize(
    ("indent", "more", "line", "text"), MISTAKES, ids=[each[1].strip() for each in MISTAKES]
)
def test_mistakes(study, indent, more, line, text):
    path = study(more=indent + more)
    with pytest.raises(UserError) as caught:
        load_study(path)
    message = str(caught.value)
    assert text in message
    if line:
        assert message.startswith(f"{path}:{line}: {text}")
    assert "pydantic" not in message


REPLACED = [
    ("name: tiny", "name: ../tiny", 1, "name: '../tiny' cannot name a file"),
    ("name: tiny", "name: 7", 1, "name: 7 cannot be used\n  allowed: a word"),
    ("name: tiny\n", "", 1, "'name' is missing"),
    ("  trials: 5\n", "", 4, "search: 'trials' is missing"),
    ("trials: 5", "trials: 0", 6, "search.trials: 0 cannot be used\n  allowed: at least 1"),
    ("trials: 5", "trials: 5k", 6, "search.trials: '5k' cannot be used\n  allowed: a whole number"),
    ("space.yaml", "none.yaml", 5, "search.space: there is no file "),
    ("space: space.yaml", "space: 3", 5, "search.space: 3 is not a mapping"),
    ("mnist5k", "mnist", 2, "dataset.name: there is no 'mnist' among the datasets"),
    ("limit: 100", "limits: 100", 2, "dataset.limits: unknown key 'limits'"),
    ("limit: 100", "limit: many", 2, "dataset.limit: 'many' cannot be used"),
    ("{name: mnist5k, limit: 100}", "image_folder", 2, "dataset: 'path' is missing"),
    (
        "epochs: 2",
        "optimizer: adam",
        3,
        "evaluator.optimizer: 'adam' is not known\n  allowed: adamw,",
    ),
    ("epochs: 2", "device: tpu", 3, "evaluator.device: 'tpu' cannot be used"),
    (
        "name: training",
        "name: nowhere_at_all:E",
        3,
        "evaluator.name: cannot import 'nowhere_at_all'",
    ),
    (
        "name: training",
        "name: collections:OrderedDict",
        3,
        "evaluator.name: 'collections:OrderedDict' is not one of the evaluators: it has no method",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "text"), REPLACED, ids=[each[1] or each[0] for each in REPLACED]
)
def test_mistakes_in_place_of_what_is_right(study, old, new, line, text):
    assert old in STUDY
    path = study(STUDY.replace(old, new))
    with pytest.raises(UserError) as caught:
        load_study(path)
    assert str(caught.value).startswith(f"{path}:{line}: {text}")


def test_a_suggestion_follows_what_is_allowed(study):
    path = study(more="sead: 3\n")
    with pytest.raises(UserError) as caught:
        load_study(path)
    assert str(caught.value) == (
        f"{path}:7: sead: unknown key 'sead'\n"
        "  allowed: name, task, seed, dataset, cache, evaluator, latency, baseline, search,"
        " coefficients, grid, family, execution, export\n"
        "  did you mean 'seed'?"
    )


def test_all_mistakes_are_told_at_once(study):
    path = study(STUDY.replace("epochs: 2", "epoch: 2"), "  trails: 9\nseed: x\n")
    with pytest.raises(UserError) as caught:
        load_study(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}:3: evaluator.epoch: unknown key 'epoch'"
    assert [line.strip() for line in lines if line.strip().startswith("and ")] == ["and 2 more:"]
    assert f"  {path}:7: search.trails: unknown key 'trails'; allowed: space," in lines[-2]
    assert f"  {path}:8: seed: 'x' cannot be used; allowed: a whole number" == lines[-1]


@pytest.mark.parametrize(
    ("baseline", "text"),
    [
        ("efficientnet_b9", "no published architecture is called 'efficientnet_b9'"),
        ("none.yaml", "there is no such file"),
        ("nowhere_at_all:f", "cannot import 'nowhere_at_all'"),
        ("3", "baseline: 3 is not a mapping"),
        ("{resolution: 3}", "baseline: {'resolution': 3} does not say which network"),
        ("{name: a, file: b}", "does not say which network"),
        ("{name: efficientnet_b0, resolutoin: 3}", "baseline.resolutoin: unknown key"),
        ("{name: efficientnet_b0, stages: []}", "baseline.stages: 'stages' cannot be replaced"),
        ("{name: efficientnet_b0, stem: {with: 3}}", "baseline.stem.with: unknown key 'with'"),
        ("{name: efficientnet_b0, head: 3}", "baseline.head: 3 cannot be a head"),
        ("{name: efficientnet_b0, resolution: 0}", "baseline.resolution: 0 cannot be used"),
    ],
)
def test_baselines_that_are_none(study, baseline, text):
    with pytest.raises(UserError) as caught:
        load_study(study(scaled(baseline)))
    assert text in str(caught.value)


def test_a_mistake_in_a_baseline_file_is_placed_there(study, tmp_path):
    (tmp_path / "net.yaml").write_text("resolution: 32\nstages:\n  - {widht: 8}\n")
    with pytest.raises(UserError) as caught:
        load_study(study(scaled("net.yaml")))
    assert str(caught.value).startswith(f"{tmp_path / 'net.yaml'}:3: ")
    assert "unknown key 'widht'" in str(caught.value)


def test_nothing_to_do(study):
    with pytest.raises(UserError, match="there is nothing to do"):
        load_study(study("name: x\ndataset: mnist5k\nbaseline: efficientnet_b0\n"))


def test_coefficients_without_a_family(study):
    text = "name: x\ndataset: mnist5k\nbaseline: efficientnet_b0\ngrid: {}\n"
    assert load_study(study(text)).grid.step == 0.05
    more = "coefficients: {alpha: 1, beta: 1, gamma: 1}\n"
    with pytest.raises(UserError, match="coefficients: "):
        load_study(study(text, more))


def test_overrides(study):
    made = load_study(
        study(),
        [
            "search.trials=7",
            "name=other",
            "execution.workers=2",
            "search.limits.flops.max=3M",
            "search.objective=[accuracy, flops]",
        ],
    )
    assert (made.search.trials, made.name, made.search.proposals) == (7, "other", 700)
    assert made.execution.executor.options["workers"] == 2
    assert made.search.limits["flops"].max == 3_000_000
    assert made.search.objective.cost == "flops"


def test_a_section_can_be_switched_off(study):
    assert load_study(study(more="grid: {}\n"), ["grid=null"]).grid is None


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("search.trails=7", "command line: search.trails: unknown key 'trails'"),
        ("search.trials=x", "command line: search.trials: 'x' cannot be used"),
        ("search.trials", "command line: 'search.trials' is not a setting\n  allowed: key=value"),
        ("=3", "command line: '=3' is not a setting"),
        ("name.of=3", "command line: name.of: 'name' is 'tiny' and has no settings below it"),
        ("seed={a", "command line: seed: this is not YAML"),
        ("seed=!!int 3", "command line: seed: the tag"),
    ],
)
def test_overrides_that_are_wrong(study, override, text):
    with pytest.raises(UserError) as caught:
        load_study(study(), [override])
    assert str(caught.value).startswith(text)


def test_a_resolved_study_is_a_study_and_itself_again(study):
    own = study(more="  objective: {reward: accuracy, latency: 1ms}\nlatency: {}\ngrid: {}\n")
    for path in (QUICKSTART, own):
        plain = resolved(load_study(path))
        json.dumps(plain)
        again = path.parent / "resolved.yaml" if path != QUICKSTART else study().parent / "q.yaml"
        again.write_text(format_yaml(plain))
        assert resolved(load_study(again)) == plain
        assert load_study(again) == load_study(path)


def test_resolved_states_every_option(study):
    plain = resolved(load_study(study()))
    assert plain["search"]["proposals"] == 500
    assert plain["search"]["sampler"]["startup"] == 10
    assert plain["evaluator"]["batch_size"] == 128
    assert plain["execution"]["executor"] == "serial"
    assert "grid" not in plain


def test_differences(study):
    old = resolved(load_study(study(), ["search.limits.params.max=1M"]))
    new = resolved(load_study(study(), ["search.trials=7", "search.limits.flops.max=2M", "seed=4"]))
    assert differences(old, old) == []
    assert differences(old, new) == [
        "seed: 0 -> 4",
        "search.trials: 5 -> 7",
        "search.proposals: 500 -> 700",
        "search.limits.params.max: 1000000 -> not set",
        "search.limits.flops.max: not set -> 2000000",
    ]


NAMED = "name: x\nbaseline: efficientnet_b0\ndataset: fashion_mnist\n"


def test_a_budget_of_memory_or_latency(study, tmp_path):
    loaded = load_study(study(NAMED, "grid: {budget: {memory: 1.5}}\n"))
    assert (loaded.grid.budget, loaded.grid.budget_cost) == (1.5, "training_bytes")
    (tmp_path / "table.json").write_text("{}")
    more = "grid: {budget: {latency: 2.0}}\nlatency: {table: table.json}\n"
    loaded = load_study(study(NAMED, more))
    assert (loaded.grid.budget, loaded.grid.budget_cost) == (2.0, "latency")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ("grid: {budget: {flop: 2}}\n", "{'flop': 2} names no budget"),
        ("grid: {budget: {memory: 2, latency: 2}}\n", "names no budget"),
        ("grid: {budget: {memory: 0}}\n", "grid.budget: 0 cannot be used\n  allowed: more than 0"),
        ("grid: {budget: {memory: 2}, match: nominal}\n", "networks of a nominal grid have no"),
        ("grid: {budget: {latency: 2}}\n", "grid.budget: networks can only be made equal in a"),
        (
            "coefficients: {alpha: 1, beta: 1.2, gamma: 1}\n"
            "family: {phi: [1], strategies: [widht]}\n",
            "family.strategies[0]: 'widht' is not known\n  allowed: compound, depth, width, "
            "resolution, depth_width, fast_compound, or weights of one's own such as d1_w8_r1\n"
            "  did you mean 'width'?",
        ),
        (
            "coefficients: {alpha: 1, beta: 1.2, gamma: 1}\n"
            "family: {phi: [1], strategies: [d0_w0_r0]}\n",
            "the weights of 'd0_w0_r0' are all 0",
        ),
    ],
)
def test_budgets_and_strategies_that_cannot_be(study, more, text):
    with pytest.raises(UserError) as raised:
        load_study(study(NAMED, more))
    assert text in str(raised.value)


def test_strategies_of_ones_own(study):
    more = "coefficients: {alpha: 1.2, beta: 1.1, gamma: 1.15}\n"
    more += "family: {phi: [1], strategies: [compound, fast_compound, d1_w8_r1, d0.5_w1_r0]}\n"
    loaded = load_study(study(NAMED, more))
    assert loaded.family.strategies[2:] == ("d1_w8_r1", "d0.5_w1_r0")


BY_RECIPE = (
    "evaluator: {recipe: efficientnet_imagenet, name: training, batch_size: 256, epochs: 12}"
)


def test_a_recipe_by_name_is_its_options_and_what_the_study_says_otherwise(study):
    text = STUDY.replace("evaluator: {name: training, epochs: 2}", BY_RECIPE)
    more = "  evaluator: {epochs: 1}\ngrid: {evaluator: {recipe: quick, epochs: 4}}\n"
    made = load_study(study(text, more + "family: {phi: [0], evaluator: {mixup: 0.2}}\n"))
    own = Evaluator.named("efficientnet_imagenet", batch_size=256, epochs=12)
    assert made.evaluator.make() == own
    assert made.search.evaluator.make() == replace(own, epochs=1)
    # A recipe of its own takes nothing of the study's.
    assert made.grid.evaluator.make() == Evaluator(epochs=4)
    assert made.family.evaluator.make() == replace(own, mixup=0.2)
    assert "recipe" not in resolved(made)["evaluator"]


def test_a_recipe_that_is_none(study):
    text = STUDY.replace("epochs: 2", "recipe: finetuning")
    with pytest.raises(UserError, match="'finetuning' is no recipe") as caught:
        load_study(study(text))
    assert caught.value.line == 3
    assert caught.value.key == "evaluator.recipe"


def test_a_file_of_a_teacher_starts_at_the_study(study, tmp_path):
    teacher = "evaluator: {name: training, teacher: big.yaml, teacher_weights: big.safetensors}"
    made = load_study(study(STUDY.replace("evaluator: {name: training, epochs: 2}", teacher)))
    assert made.evaluator.make().teacher == str(tmp_path / "big.yaml")
    assert made.evaluator.make().teacher_weights == tmp_path / "big.safetensors"
    named = STUDY.replace("epochs: 2", "teacher: efficientnet_b4, teacher_weights: b4.pth")
    assert load_study(study(named)).evaluator.make().teacher == "efficientnet_b4"


def test_the_processes_that_read_decide_nothing(study):
    few, many = (STUDY.replace("epochs: 2", f"epochs: 2, loaders: {count}") for count in (1, 4))
    more = "  evaluator: {loaders: 3}\n"
    ours, theirs = (deciding(resolved(load_study(study(t, more)))) for t in (few, many))
    assert ours == theirs
    assert "epochs" in ours["search"]["evaluator"]
    assert "loaders" not in ours["search"]["evaluator"]


def test_a_share_of_a_gpu_is_no_memory_to_fit_into(study):
    text = STUDY.replace("epochs: 2", "epochs: 2, micro_batch: auto")
    with pytest.raises(UserError, match=r"workers with 0\.5 of a GPU would each take") as caught:
        load_study(study(text, "execution: {executor: ray, gpus: 0.5}\n"))
    assert caught.value.key.endswith("evaluator.micro_batch")
    load_study(study(text, "execution: {executor: ray, gpus: 1}\n"))


def test_files_of_phases_are_asked_for_before_the_first(study, tmp_path):
    more = "grid: {evaluator: {weights: begin.pth}}\n"
    made = load_study(study(more=more))
    with pytest.raises(UserError, match=r"there is no file .*begin\.pth") as caught:
        made.require_files()
    assert caught.value.key == "grid.evaluator.weights"
    (tmp_path / "begin.pth").write_bytes(b"x")
    made.require_files()
