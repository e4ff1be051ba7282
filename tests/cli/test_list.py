from __future__ import annotations

import json
import subprocess
import sys

from scalesearch import plugins
from scalesearch.arch.published import names
from scalesearch.cli.list import words
from scalesearch.evaluators.detection import Evaluator as DetectionEvaluator
from scalesearch.evaluators.training import Evaluator
from scalesearch.study.schema import Family, Search, Study


def test_every_network_is_listed_with_its_costs(scalesearch):
    done = scalesearch("list")
    assert done.code == 0
    lines = {line.split()[0]: line.split() for line in done.out.splitlines() if line.strip()}
    assert set(names()) <= set(lines)
    # torchvision: 25,557,032 parameters, 4.089 G; Zagoruyko & Komodakis 2016: 36.5 M.
    assert lines["resnet50"][:6] == ["resnet50", "224", "25.6", "M", "4.1", "G"]
    assert lines["wrn_28_10"][:4] == ["wrn_28_10", "32", "36.5", "M"]
    assert "wrn_D_K" in done.out
    assert "package.module:Name" in done.out


def test_json_is_exact(scalesearch):
    plain = json.loads(scalesearch("list", "--json").out)
    assert plain["networks"]["resnet"]["resnet50"] == {
        "resolution": 224,
        "params": 25_557_032,
        "flops": 4_089_184_256,
        "activations": 11_114_984,
    }
    assert tuple(name for family in plain["networks"].values() for name in family) == names()
    assert plain["words"]["search.sampler"] == list(plugins.names("samplers"))


def test_words_are_keys_of_a_study_or_a_network():
    from scalesearch.arch.backbone import Backbone
    from scalesearch.arch.neck import Neck
    from scalesearch.arch.stage import Stage

    known = {
        *Study.model_fields,
        *(f"search.{key}" for key in Search.model_fields),
        *(f"family.{key}" for key in Family.model_fields),
        *(f"stages.{key}" for key in Stage.__dataclass_fields__),
        *Backbone.__dataclass_fields__,
        *(f"neck.{key}" for key in Neck.__dataclass_fields__),
        "limits",
        "execution.executor",
        "evaluator.recipe",
    }
    assert set(words()) <= known
    assert all(words().values())
    presets = {*Evaluator.presets, *DetectionEvaluator.presets}
    assert set(words()["evaluator.recipe"]) == presets


def test_on_a_narrow_screen_words_are_wrapped_below_each_other(monkeypatch, capsys):
    from rich.console import Console

    from scalesearch.cli import list as listing

    monkeypatch.setattr(listing, "console", lambda: Console(width=60))
    listing.show_names(as_json=False)
    text = capsys.readouterr().out
    block = text[text.index("words of") :].splitlines()
    assert max(map(len, block[1:-2])) <= 60
    second = block[block.index(next(line for line in block if line.startswith("  limits"))) + 1]
    assert second.startswith(" " * 20)


def test_it_loads_nothing_heavy():
    heavy = ("torch", "ray", "optuna", "matplotlib", "pandas", "fvcore", "scipy")
    code = (
        "import sys; from scalesearch.cli.list import show_names; show_names(True);"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
