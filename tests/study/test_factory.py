"""Studies whose baseline a factory builds, from the grid to the export."""

import pytest
import yaml

from scalesearch.arch.factory import Factory
from scalesearch.cost.factory import factory_cost, factory_counts
from scalesearch.errors import UserError
from scalesearch.study.folder import RunFolder
from scalesearch.study.load import load_study as read_study
from scalesearch.study.run import load_study, run
from tests import factories


def study(path, baseline, grid, **more):
    settings = {
        "name": "own",
        "dataset": {"name": "mnist5k", "limit": 120},
        "evaluator": {"name": "training", "epochs": 1, "batch_size": 64},
        "baseline": baseline,
        **({} if grid is None else {"grid": grid}),
        "execution": {"workers": 1},
        **more,
    }
    file = path / "own.yaml"
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    return file


def varied(trials):
    return [name for name in ("alpha", "beta", "gamma") if name in trials]


@pytest.mark.slow
def test_a_network_of_ones_own_from_the_grid_to_the_export(tmp_path):
    baseline = {"factory": "tests.factories:wide_of_any", "resolution": 16}
    grid = {"step": 0.1, "tolerance": 0.15, "trainings": 8}
    grid["stopping"] = {"rungs": [1], "data": [0.5], "resolution": [0.5]}
    grid["confirm"] = {"lengths": [1, 2], "phi": [1], "top": 2, "strategies": ["width", "depth"]}
    family = {"phi": [1], "strategies": ["compound", "depth_width", "resolution"]}
    evaluator = {"name": "training", "epochs": 2, "batch_size": 64, "learning_rate": 0.01}
    more = {"family": family, "evaluator": evaluator, "export": ["python"]}
    file = study(tmp_path, baseline, grid, **more)
    done = run(file, folder=tmp_path / "run")
    assert isinstance(done.baseline, Factory)
    assert (done.baseline.in_channels, done.baseline.num_classes) == (1, 10)
    tried = done.trials.loc[done.trials["phase"] == "grid"]
    assert varied(tried) == ["beta", "gamma"]
    assert {"assessed", "stopped"} <= set(tried["state"])
    # 64 channels of 9 s^2 + 10 FLOPs.
    assert (abs(tried["flops"] / (64 * (9 * 16**2 + 10)) / 2 - 1) <= 0.02).all()
    confirmed = done.trials.loc[done.trials["phase"] == "grid_confirm"]
    # Two leaders and width alone, each of two lengths: depth is not scaled.
    assert len(confirmed) == 3 * 2
    assert [member.strategy for member in done.family] == ["compound", "resolution"]
    log = (done.path / "log.txt").read_text()
    assert "does not scale depth (alpha is 1)" in log
    assert "no depth_width_phi1" in log
    assert "to epoch 1 on 50 % of the images at 50 % of the side" in log
    known = yaml.safe_load((done.path / "coefficients.yaml").read_text())
    assert known["alpha"] == 1
    # Of two epochs the first is an eighth.
    stopped = (tried["state"] == "stopped").sum()
    whole = (tried["state"] == "assessed").sum()
    assert known["trainings"] == pytest.approx((stopped / 8 + whole * 9 / 8) / 2, abs=0.01)
    assert known["trainings"] <= 8
    assert set(known["interval"]) == {"beta", "gamma"}
    page = (done.path / "report.html").read_text()
    assert "What is scaled, effectively" in page
    assert "saw 50 % of the images at 50 % of the side to epoch 1, then all images" in page
    assert "tests.factories:wide_of_any" in page
    assert (done.path / "export" / "compound_phi1.py").exists()
    again = run(file, folder=done.path)
    assert again.trials.equals(done.trials)  # nothing is trained anew
    assert load_study(done.path).baseline == done.baseline


def test_a_module_for_images_of_one_size_is_rejected_before_anything_is_trained(tmp_path):
    baseline = {"factory": "tests.factories:of_one_side", "resolution": 16}
    grid = {"step": 0.1, "trainings": 8, "stopping": {"rungs": [1], "resolution": [0.5]}}
    evaluator = {"name": "training", "epochs": 2, "batch_size": 64}
    file = study(tmp_path, baseline, grid, evaluator=evaluator)
    message = (
        r"grid\.stopping\.resolution: tests\.factories:of_one_side builds a module for images "
    )
    with pytest.raises(UserError, match=message + "of 16 pixels that takes none of about 8: "):
        run(file, folder=tmp_path / "run")
    assert not RunFolder(tmp_path / "run").read().get("grid")


def test_a_folded_export_is_rejected_before_anything_is_trained(tmp_path):
    baseline = {"factory": "tests.factories:wide_of_any", "resolution": 16}
    more = {"family": {"phi": [1]}, "export": [{"name": "python", "fold": True}]}
    file = study(tmp_path, baseline, {"step": 0.1}, **more)
    with pytest.raises(UserError, match=r"export\[0\].fold: what a factory builds"):
        read_study(file)


def test_forms_that_fold_by_default_take_a_factory_as_it_is(tmp_path):
    baseline = {"factory": "tests.factories:wide_of_any", "resolution": 16}
    more = {"family": {"phi": [1]}, "export": ["python", "onnx", "torch_export"]}
    assert len(read_study(study(tmp_path, baseline, {"step": 0.1}, **more)).export) == 3


def test_a_factory_whose_code_has_changed_since(tmp_path, monkeypatch):
    baseline = {"factory": "tests.factories:wide_of_any", "resolution": 8}
    family = {"lines": {"wider": {"width": [1, 2]}}}
    file = study(tmp_path, baseline, None, family=family)
    run(file, folder=tmp_path / "run")

    def wider(width, in_channels, num_classes):
        return factories.network(round(72 * width), num_classes, in_channels)

    monkeypatch.setattr(factories, "wide_of_any", wider)
    for cached in (factory_counts, factory_cost):
        cached.cache_clear()
    with pytest.raises(UserError, match="the code that builds it has changed since"):
        run(file, folder=tmp_path / "run")


def test_a_listed_factory_is_looked_at_before_anything_is_trained(tmp_path):
    baseline = {"factory": "tests.factories:wide_of_any", "resolution": 16}
    listed = {"factory": "tests.factories:wide", "resolution": 16}  # for images of three channels
    more = {"family": {"phi": [1], "lines": {"others": {"networks": [listed]}}}}
    file = study(tmp_path, baseline, {"step": 0.1}, **more)
    with pytest.raises(UserError, match=r"family\.lines\.others"):
        run(file, folder=tmp_path / "run")
    assert not RunFolder(tmp_path / "run").read().get("grid")
