"""Searches among networks of a table: what is looked up, left out, said and refused."""

from __future__ import annotations

import json
import statistics

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from scalesearch.cli.main import app
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.spaces.space import Space
from scalesearch.study.load import load_study
from scalesearch.study.run import run
from tests.fakes import SPACE

NAMES = ("stage1.width", "stage1.depth", "stage1.kernel", "stage1.expand")


def results(space):
    """Every network of the fakes' space with two seeds of a made-up result."""
    rows = []
    for point in space.points():
        top = 50 + 3 * point["stage1.depth"] + 0.5 * point["stage1.width"] + point["stage1.expand"]
        rows += [{**point, "top1": top + shake} for shake in (-0.1, 0.1)]
    return pd.DataFrame(rows)


@pytest.fixture
def table(tmp_path):
    """A space's file, a table of its networks, and a writer of studies of them."""
    (tmp_path / "space.yaml").write_text(SPACE)
    frame = results(Space.load(tmp_path / "space.yaml"))
    frame.to_csv(tmp_path / "x.csv", index=False)

    def write(evaluator="{name: table, path: x.csv, metric: top1}", space="space.yaml", more=""):
        file = tmp_path / "study.yaml"
        file.write_text(
            f"name: looked_up\nevaluator: {evaluator}\n"
            f"search:\n  space: {space}\n  trials: 12\n{more}"
        )
        return file

    return write, frame, tmp_path


OWN = "{table: x.csv, parameters: [a, b]}"


def own_table(folder, **columns):
    """Networks that nobody here can build: two words decide."""
    rows = [
        {"a": a, "b": b, "acc": 10 * i + j, "flops": 1e6 * (i + j + 1)}
        for i, a in enumerate(("none", "skip", "conv"))
        for j, b in enumerate((1, 2, 4, 8))
    ]
    frame = pd.DataFrame(rows).assign(**columns)
    frame.to_csv(folder / "x.csv", index=False)
    return frame


def test_a_search_in_a_table_needs_no_data_set_and_finds_the_best(table):
    write, frame, folder = table
    study = run(write(), folder=folder / "run")
    trials = study.trials
    assert len(trials) == 12
    assert set(trials["state"]) == {"assessed"}
    assert set(trials["looked_up"]) == {1}
    for trial in trials.to_dict("records"):
        same = (frame[list(NAMES)] == [trial[name] for name in NAMES]).all(axis=1)
        assert trial["top1"] in frame[same]["top1"].tolist(), "one of the two seeds"
    assert study.objective.metric == "top1"
    assert cost(study.baseline).flops > 0
    page = (folder / "run" / "report.html").read_text()
    assert "looked up in a table" in page


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_other_forms_of_tables(table, form):
    write, frame, folder = table
    if form == "json":
        frame.to_json(folder / "x.json", orient="records")
    else:
        frame.to_parquet(folder / "x.parquet")
    evaluator = f"{{name: table, path: x.{form}, metric: top1, noise: none}}"
    study = run(write(evaluator), folder=folder / "run")
    assert study.trials["top1"].max() == frame.groupby(list(NAMES))["top1"].mean().max()


def test_columns_of_seeds_and_a_metric_that_is_minimised(table):
    write, frame, folder = table
    pairs = frame.groupby(list(NAMES))["top1"].apply(list)
    wide = pairs.index.to_frame(index=False)
    wide["top1_error_seed1"] = [100 - pair[0] for pair in pairs]
    wide["top1_error_seed2"] = [100 - pair[1] for pair in pairs]
    wide.to_csv(folder / "x.csv", index=False)
    options = "name: table, path: x.csv, metric: top1_error, noise: none"
    with pytest.raises(UserError, match="sounds as if smaller were better"):
        load_study(write(f"{{{options}}}"))
    study = run(write(f"{{{options}, direction: minimize}}"), folder=folder / "run")
    best = pairs.apply(statistics.mean).max()
    assert study.trials["top1_error"].max() == pytest.approx(best - 100)


def test_networks_that_cannot_be_built(table):
    write, _, folder = table
    frame = own_table(folder)
    evaluator = "{name: table, path: x.csv, metric: acc}"
    more = "  limits: {flops: {max: 4M}}\n"
    study = run(write(evaluator, OWN, more), folder=folder / "run")
    trials = study.trials
    allowed = frame[frame["flops"] <= 4e6]
    assert (trials["state"] == "assessed").sum() == len(allowed), "the limit leaves no others"
    assert trials[trials["state"] == "assessed"]["acc"].max() == allowed["acc"].max()
    assert "params" not in trials or trials["params"].isna().all(), "no column gives it"
    baseline = study.baseline
    assert dict(baseline.parameters) == {"a": "conv", "b": 2}
    assert dict(baseline.costs) == {"flops": 4_000_000}
    assert "params" not in (folder / "run" / "baseline.yaml").read_text()


def test_an_objective_on_a_cost_that_the_table_lacks(table):
    write, _, folder = table
    own_table(folder)
    evaluator = "{name: table, path: x.csv, metric: acc}"
    for more in ("  objective: [acc, params]\n", "  limits: {params: {max: 4M}}\n"):
        with pytest.raises(UserError, match=r"the table x\.csv has no params"):
            load_study(write(evaluator, OWN, more))
    with pytest.raises(UserError, match="no column 'c'"):
        run(write(evaluator, "{table: x.csv, parameters: [a, c]}"), folder=folder / "run")


def test_a_latency_of_the_table_is_a_measured_limit(table):
    write, _, folder = table
    own_table(folder, ms=np.linspace(1, 12, 12))
    latency = "latency: {column: ms, times: 0.001}"
    evaluator = f"{{name: table, path: x.csv, metric: acc, {latency}}}"
    more = "  limits: {latency: {max: 6ms}}\n"
    trials = run(write(evaluator, OWN, more), folder=folder / "run").trials
    done = trials[trials["state"] == "assessed"]
    assert done["latency"].max() <= 0.006
    assert len(done) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="stage1.kernel"), "no column 'stage1.kernel'"),
        (lambda f: f.rename(columns={"top1": "top_1"}), "no column 'top1'"),
        (lambda f: f.assign(top1=70.0), "all results in 'top1' are 70"),
        (lambda f: f.assign(top1=float("nan")), "no row of x.csv is a network of the space"),
        (lambda f: f.assign(top1="good"), "something else than numbers"),
        (lambda f: f.assign(**{"stage1.kernel": 7}), "other choices, such as stage1.kernel 7"),
        (lambda f: f.iloc[:2], "1 different networks"),
        (lambda f: f.iloc[:0], "no rows"),
    ],
)
def test_tables_that_cannot_be_used(table, change, message):
    write, frame, folder = table
    change(frame).to_csv(folder / "x.csv", index=False)
    with pytest.raises(UserError, match=message):
        run(write(), folder=folder / "run")


def test_what_is_left_out_is_said(table):
    write, frame, folder = table
    frame.loc[0, "top1"] = float("nan")
    frame.loc[2, "stage1.kernel"] = 9
    frame.to_csv(folder / "x.csv", index=False)
    run(write(), folder=folder / "run")
    log = (folder / "run" / "log.txt").read_text()
    assert "1 rows are left out: no number in 'top1'" in log
    assert "1 rows are left out: other choices, such as stage1.kernel 9" in log
    assert "have several results: they are taken as seeds" in log


def test_a_table_in_the_folder_that_a_variable_names(table, monkeypatch, tmp_path_factory):
    write, _, folder = table
    elsewhere = tmp_path_factory.mktemp("data")
    (folder / "x.csv").rename(elsewhere / "x.csv")
    monkeypatch.delenv("SCALESEARCH_DATA", raising=False)
    study = write()
    result = CliRunner().invoke(app, ["run", str(study), "--folder", str(folder / "run")])
    assert isinstance(result.exception, UserError)
    assert "$SCALESEARCH_DATA is not set" in str(result.exception)
    assert "study.yaml:2" in str(result.exception)
    monkeypatch.setenv("SCALESEARCH_DATA", str(elsewhere))
    assert len(run(study, folder=folder / "run").trials) == 12


def test_what_trains_needs_images_and_what_is_looked_up_is_not_scaled(table):
    write, _, _ = table
    with pytest.raises(UserError, match="a study that trains needs a data set"):
        load_study(write("{name: training}"))
    with pytest.raises(UserError, match="knows networks of the search alone"):
        load_study(write(more="grid: {}\n"))


def test_a_surrogate_says_how_well_it_predicts_and_what_it_predicted(table):
    write, frame, folder = table
    best = frame["top1"].max()
    few = frame[frame["top1"] < best - 2]
    few.to_csv(folder / "x.csv", index=False)
    evaluator = "{name: surrogate, path: x.csv, metric: top1, folds: 4}"
    study = run(write(evaluator), folder=folder / "run")
    log = (folder / "run" / "log.txt").read_text()
    assert "surrogate of 'top1': Kendall's tau 0.9" in log or "tau 1.0" in log
    trials = study.trials
    assert set(trials["looked_up"]) == {0, 1} or set(trials["looked_up"]) == {0}
    assert trials["top1"].max() == pytest.approx(best - 0.1, abs=1)
    page = (folder / "run" / "report.html").read_text()
    assert "a prediction from a table" in page
    frame.iloc[:8].to_csv(folder / "x.csv", index=False)
    with pytest.raises(UserError, match="4 networks are too few to predict others"):
        run(write(evaluator), folder=folder / "other")


def test_named_networks_are_compared_and_the_search_does_not_see_them(table):
    write, _, folder = table
    plain = Space.load(folder / "space.yaml").sample(3)
    from scalesearch.files.architecture import save_architecture

    save_architecture(folder / "mine.yaml", plain)
    study = run(write(more="  compare: [{file: mine.yaml}]\n"), folder=folder / "run")
    rows = study.trials
    assert rows[rows["phase"] == "compare"]["network"].tolist() == ["mine"]
    assert (rows["phase"] == "search").sum() == 12
    assert "Compared networks" in (folder / "run" / "report.html").read_text()


def test_a_looked_up_study_resumes_to_the_same(table):
    write, _, folder = table
    whole = run(write(), folder=folder / "a").trials
    run(write(), ["search.trials=5"], folder=folder / "b")
    settings = json.dumps(whole["top1"].tolist())
    again = run(write(), folder=folder / "c").trials
    assert json.dumps(again["top1"].tolist()) == settings


def test_what_was_not_trained_is_exported_without_weights(table):
    write, _, folder = table
    run(write(more="export: [python]\n"), folder=folder / "run")
    assert (folder / "run" / "export" / "baseline.py").exists()
    assert not list((folder / "run" / "export").glob("*.safetensors"))


def test_a_reward_of_a_score_whose_sign_was_changed_makes_no_sense(table):
    write, frame, folder = table
    frame.assign(top1=100 - frame["top1"]).to_csv(folder / "x.csv", index=False)
    evaluator = "{name: table, path: x.csv, metric: top1, direction: minimize}"
    more = "  objective: {reward: top1, flops: 1M, exponent: -0.07}\n"
    with pytest.raises(UserError, match=r"reward") as caught:
        load_study(write(evaluator, more=more))
    assert "accuracy = 100 - error" in str(caught.value)


@pytest.mark.parametrize("name", ["state", "flops", "number", "seconds", "looked_up"])
def test_a_parameter_is_no_column_that_trials_have_anyway(table, name):
    write, _, folder = table
    own_table(folder).rename(columns={"a": name}).to_csv(folder / "x.csv", index=False)
    evaluator = "{name: table, path: x.csv, metric: acc}"
    with pytest.raises(UserError, match=f"'{name}' is a column of trials.csv") as caught:
        load_study(write(evaluator, f"{{table: x.csv, parameters: [{name}, b]}}"))
    assert "rename" in str(caught.value)


@pytest.mark.parametrize("name", ["loss", "state", "flops", "objective"])
def test_a_metric_is_no_column_that_trials_have_anyway(table, name):
    write, _, _ = table
    with pytest.raises(UserError, match=f"a score cannot be named '{name}'"):
        load_study(write(f"{{name: table, path: x.csv, metric: {name}}}"))


def test_a_parameter_is_not_the_metric(table):
    write, _, folder = table
    own_table(folder)
    with pytest.raises(UserError, match="'b' is a parameter and the metric"):
        load_study(write("{name: table, path: x.csv, metric: b}", OWN))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([4.5 * n + 0.7 for n in range(1, 13)], "which is not whole.*times: 1000000"),
        ([1e6] * 11 + [0], "has 0, which is no amount of flops"),
        ([1e6] * 11 + [1e30], "no amount of flops.*at most 1e.18"),
        ([1e6] * 11 + [None], "has None, which is no amount"),
        (["many"] * 12, "has 'many', which is no amount"),
    ],
)
def test_costs_that_are_no_amounts(table, column, message):
    write, _, folder = table
    own_table(folder, flops=column)
    with pytest.raises(UserError, match=f"(?s){message}") as caught:
        run(write("{name: table, path: x.csv, metric: acc}", OWN), folder=folder / "run")
    assert "space.costs.flops" in str(caught.value)


def test_cells_that_are_no_choices(table):
    write, _, folder = table
    rows = own_table(folder).to_dict("records")
    evaluator = "{name: table, path: x.json, metric: acc}"
    space = OWN.replace("csv", "json")
    for odd in ([1, 2], {"of": 3}):
        (folder / "x.json").write_text(json.dumps([{**rows[0], "b": odd}, *rows[1:]]))
        with pytest.raises(UserError, match="the column 'b' holds"):
            run(write(evaluator, space), folder=folder / "run")
    (folder / "x.json").write_text(json.dumps([{**row, "b": None} for row in rows]))
    with pytest.raises(UserError, match="the column 'b' is empty"):
        run(write(evaluator, space), folder=folder / "run")


def test_words_that_mean_nothing_elsewhere_are_choices_here(table):
    write, _, folder = table
    frame = own_table(folder)
    frame["a"] = frame["a"].map({"none": "None", "skip": "NA", "conv": "null"})
    frame.to_csv(folder / "x.csv", index=False)
    trials = run(
        write("{name: table, path: x.csv, metric: acc}", OWN), folder=folder / "run"
    ).trials
    assert set(trials["a"]) == {"None", "NA", "null"}
    assert len(trials) == len(frame)


def test_numbers_among_words_are_matched_as_they_are_written(table):
    """A column of 3, 5 and `none` is read as words; the space has 3 and 5 as numbers."""
    write, frame, folder = table
    frame["stage1.kernel"] = frame["stage1.kernel"].astype(str)
    frame.loc[0, "stage1.kernel"] = "none"
    frame.to_csv(folder / "x.csv", index=False)
    run(write(), folder=folder / "run")
    log = (folder / "run" / "log.txt").read_text()
    assert "1 rows are left out: other choices, such as stage1.kernel 'none'" in log


def test_a_network_without_its_latency_is_left_out(table):
    write, _, folder = table
    own_table(folder, ms=[None, -1.0, *np.linspace(1, 10, 10)])
    more = "  limits: {latency: {max: 6s}}\n"
    for latency in ("ms", "{column: ms}"):
        evaluator = f"{{name: table, path: x.csv, metric: acc, latency: {latency}}}"
        own = folder / latency.strip("{}")[:3]
        study = run(write(evaluator, OWN, more), folder=own)
        done = study.trials[study.trials["state"] == "assessed"]
        assert done["latency"].max() <= 6
        assert "no time in 'ms'" in (own / "log.txt").read_text()


def test_without_a_column_of_flops_nothing_speaks_of_them(table):
    write, _, folder = table
    own_table(folder).drop(columns="flops").to_csv(folder / "x.csv", index=False)
    study = write("{name: table, path: x.csv, metric: acc}", OWN)
    result = CliRunner().invoke(app, ["check", str(study)])
    assert result.exit_code == 0, result.output
    assert "flops not known" in result.output
    result = CliRunner().invoke(app, ["run", str(study), "--folder", str(folder / "run")])
    assert result.exit_code == 0, result.output
    assert "0 flops" not in result.output
    assert "0 flops" not in (folder / "run" / "log.txt").read_text()


def test_a_name_of_two_networks_of_the_space_is_left_out(table):
    """Choices of which no combination is in the table's list are no network of a study."""
    write, _, folder = table
    frame = own_table(folder)
    (folder / "more.csv").write_text(
        frame.assign(a=frame["a"]).to_csv(index=False) + "none,16,99,1e6\n"
    )
    evaluator = "{name: table, path: more.csv, metric: acc}"
    trials = run(write(evaluator, OWN), folder=folder / "run").trials
    assert trials["acc"].max() == frame["acc"].max()
    log = (folder / "run" / "log.txt").read_text()
    assert "1 rows are left out: other choices, such as b 16" in log
