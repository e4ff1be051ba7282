"""What each phase reads and writes; the files are read back as a user would."""

from __future__ import annotations

import pytest
import yaml

from scalesearch.arch.plain import digest
from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.files.architecture import load_architecture, save_architecture
from scalesearch.history.jobs import seed_for
from scalesearch.history.points import points
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.scale import scale
from scalesearch.study import run as running
from scalesearch.study.run import run
from scalesearch.study.surface import best_point, surface_of
from tests.fakes import STUDY, accuracy_of, write_study


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Runs a study of its own without figures, which take longer than all the rest."""
    monkeypatch.setattr(running, "report", lambda folder: [])

    def go(*overrides, watches=(), **changes):
        file = write_study(tmp_path, **changes)
        return run(file, overrides, folder=tmp_path / "run", watches=watches)

    return go


class Notes:
    """A watch that remembers what it was told."""

    def __init__(self):
        self.phases, self.notes, self.trials = [], [], []

    def phase(self, name, trials, done):
        self.phases.append((name, trials, done))

    def trial(self, trial):
        self.trials.append(trial)

    def score(self, trial, score):
        pass

    def note(self, text):
        self.notes.append(text)

    def end(self, counts):
        pass


def test_the_baseline_is_the_best_network_within_the_limits(whole):
    trials = [t for t in whole.folder.read()["search"] if t.state == "assessed"]
    assert len(trials) == 6
    best = max(trials, key=lambda t: t.scores["accuracy"])
    net = whole.folder.baseline
    assert accuracy_of(net, seed_for(0, "search", best.number)) == best.scores["accuracy"]
    assert cost(net).flops <= 15_000
    text = (whole.folder.path / "baseline.yaml").read_text()
    assert f"# trial: {best.number}" in text


def test_coefficients_are_where_the_surface_is_highest_and_the_runners_up_follow(whole):
    trials = whole.folder.read()["grid"]
    plain = yaml.safe_load((whole.folder.path / "coefficients.yaml").read_text())
    order = sorted(
        (t for t in trials if t.state == "assessed"), key=lambda t: -t.scores["accuracy"]
    )
    chosen = {name: plain[name] for name in ("alpha", "beta", "gamma")}
    best = best_point(
        points(trials, "accuracy"),
        surface_of({"budget": 2.0, "phi": 1.0}, "accuracy", whole.folder.baseline, trials),
    )
    assert chosen == best.parameters[0]
    assert plain["accuracy"] == pytest.approx(best.scores["accuracy"], abs=1e-6)
    told = [{k: r[k] for k in ("alpha", "beta", "gamma")} for r in plain["runners_up"]]
    assert told == [t.parameters for t in order if t.parameters != chosen][:9]
    assert plain["growth"] == pytest.approx(
        plain["alpha"] * plain["beta"] ** 2 * plain["gamma"] ** 2
    )
    assert plain["baseline_digest"] == digest(whole.folder.baseline)
    assert plain["data"] == "tests.fakes:Dataset"
    assert set(plain["interval"]) == {"alpha", "beta", "gamma"}


def test_the_grid_has_every_triple_once(whole):
    """By hand: 1, 1.2, ... with |alpha * beta^2 * gamma^2 - 2| <= 0.3."""
    from fractions import Fraction
    from itertools import product

    values = [1 + Fraction(n, 5) for n in range(8)]
    wanted = {
        tuple(map(float, (a, b, c)))
        for a, b, c in product(values, repeat=3)
        if abs(a * b**2 * c**2 - 2) <= Fraction(3, 10)
    }
    trials = whole.folder.read()["grid"]
    assert {tuple(t.parameters.values()) for t in trials} == wanted
    assert len(trials) == len(wanted)


def test_the_family_is_the_baseline_scaled_by_the_coefficients(whole):
    net, triple = whole.folder.baseline, whole.folder.coefficients
    files = {f.stem: load_architecture(f) for f in (whole.folder.path / "family").iterdir()}
    names = ("compound", "depth", "width", "resolution")
    assert set(files) == {f"{name}_phi{phi}" for name in names for phi in (0, 1)}
    assert all(files[f"{name}_phi0"] == net for name in names)
    assert files["compound_phi1"] == scale(net, triple, 1)
    assert files["width_phi1"].resolution == net.resolution
    assert files["resolution_phi1"].depth == net.depth


def test_a_named_baseline_follows_the_data_set(study):
    small = {"name": "efficientnet_b0", "resolution": 32}
    triple = {"alpha": 1.2, "beta": 1.1, "gamma": 1.15}
    one = {"phi": [0], "strategies": ["compound"]}
    folder = study(without=("search", "grid"), baseline=small, coefficients=triple, family=one)
    net = folder.baseline
    expected = published("efficientnet_b0", resolution=32, in_channels=1, num_classes=10)
    assert net == expected
    assert "search" not in folder.read()
    assert {m.architecture for m in folder.family if m.phi == 0} == {net}


def _b_four():
    from tests.pool import space

    return space().sample(4)


def test_a_baseline_from_a_file(study, tmp_path):
    save_architecture(tmp_path / "mine.yaml", _b_four(), {})
    folder = study(
        without=("search", "grid", "family"),
        baseline="mine.yaml",
        grid={"step": 0.5, "tolerance": 0.5},
    )
    assert folder.baseline == _b_four()


def test_a_baseline_from_a_factory(study):
    folder = study(
        without=("search",),
        baseline="tests.study.test_phases:_b_four",
        grid={"step": 0.5, "tolerance": 0.5},
    )
    assert folder.baseline == _b_four()


def test_given_coefficients_need_no_grid(study):
    triple = {"alpha": 1.3, "beta": 1.1, "gamma": 1.2}
    folder = study(without=("grid",), coefficients=triple)
    assert folder.coefficients == Coefficients(**triple)
    assert set(folder.read()) == {"search", "family"}
    assert scale(folder.baseline, Coefficients(**triple), 1) in {
        m.architecture for m in folder.family
    }


def test_a_search_alone(study):
    folder = study(without=("grid", "family"))
    assert set(folder.read()) == {"search"}
    assert not (folder.path / "coefficients.yaml").exists()
    assert not (folder.path / "family").exists()


def test_a_grid_without_a_family(study):
    folder = study(without=("family",))
    assert folder.coefficients
    assert folder.family == ()


def test_an_impossible_limit_is_told_before_the_first_trial(study, tmp_path):
    with pytest.raises(UserError, match="nothing in the space can meet the limits") as error:
        study("search.limits.flops.max=1k")
    assert "the closest network has flops" in str(error.value)
    assert "flops.max is 1,000" in str(error.value)
    assert not (tmp_path / "run" / "record.journal").read_text()


def test_a_grid_that_no_triple_can_meet_keeps_the_search(study, tmp_path):
    with pytest.raises(UserError, match="nothing in the space can meet the limits"):
        study("grid.limits.flops.max=1k")
    from scalesearch.study.run import load_study

    folder = load_study(tmp_path / "run")
    assert folder.baseline
    assert set(folder.read()) == {"search"}


def test_limits_of_the_grid_refuse_triples(study, whole):
    watch = Notes()
    costs = sorted(t.cost.flops for t in whole.folder.read()["grid"])
    limit = costs[len(costs) // 2]
    folder = study(f"grid.limits.flops.max={limit}", watches=[watch])
    trials = folder.read()["grid"]
    infeasible = [t for t in trials if t.state == "infeasible"]
    assert infeasible
    assert all(t.cost.flops > limit for t in infeasible)
    different = {t.digest for t in trials if t.state != "infeasible"}
    said = next(note for note in watch.notes if note.startswith("grid: "))
    assert said.startswith(f"grid: {len(trials)} triples, ")
    assert f" different networks, {len(different)} within limits" in said


def test_if_all_trials_fail_the_reason_is_told(study):
    with pytest.raises(UserError, match="no trial of the search has a result") as error:
        study(
            evaluator={"name": "tests.fakes:Evaluator", "fail_on": 1},
            search=STUDY["search"] | {"limits": {"flops": {"max": "4.3k"}}, "trials": 2},
        )
    assert "2 x error: made to fail" in str(error.value)


def test_a_failed_member_does_not_end_the_family(study):
    plain = {"name": "tests.fakes:Evaluator"}
    triple = {"alpha": 2.0, "beta": 1.0, "gamma": 1.0}
    folder = study(
        without=("grid", "search"),
        baseline="tests.study.test_phases:_b_four",
        coefficients=triple,
        evaluator=plain,
        family={"phi": [0, 1], "evaluator": {"fail_on": 2 * _b_four().depth}},
    )
    states = {
        (t.parameters["strategy"], t.parameters["phi"]): t.state for t in folder.read()["family"]
    }
    assert states[("compound", 1.0)] == "failed"
    assert states[("compound", 0.0)] == "assessed"
    assert "# state: failed" in (folder.path / "family" / "compound_phi1.yaml").read_text()


def test_a_family_without_members(study):
    with pytest.raises(UserError, match="the family has no members") as error:
        study(family={"phi": [-1], "strategies": ["depth", "width"]})
    assert "compound" in error.value.hint


def test_a_phi_that_leaves_no_pixel(study):
    with pytest.raises(UserError, match="resolution"):
        study(family={"phi": [-40], "strategies": ["compound"]})


def test_other_metrics_go_through_every_phase(study):
    folder = study(
        evaluator={"name": "tests.fakes:Evaluator", "metric": "f1"},
        search=STUDY["search"] | {"objective": "f1"},
    )
    assert {"search", "grid", "family"} == set(folder.read())
    assert "f1" in folder.trials.columns
    assert "f1" in yaml.safe_load((folder.path / "coefficients.yaml").read_text())


def test_a_pareto_search_takes_the_most_accurate_of_its_front(study):
    folder = study(search=STUDY["search"] | {"objective": ["accuracy", "flops"]})
    done = [t for t in folder.read()["search"] if t.state == "assessed"]
    best = max(done, key=lambda t: t.scores["accuracy"])
    assert best.objective == (best.scores["accuracy"], best.cost.flops)
    assert cost(folder.baseline).flops == best.cost.flops


def test_a_reward_weighs_the_cost(study):
    reward = {"reward": "accuracy", "flops": "8k", "exponent": -0.5}
    folder = study(search=STUDY["search"] | {"objective": reward, "limits": {}})
    for trial in folder.read()["search"]:
        if trial.has_result:
            by_hand = trial.scores["accuracy"] * (trial.cost.flops / 8_000) ** -0.5
            assert trial.objective == pytest.approx((by_hand,))


def test_a_search_that_runs_out_of_proposals_says_so(study):
    watch = Notes()
    limits = {"flops": {"max": "5.2k"}}
    study(search=STUDY["search"] | {"limits": limits, "proposals": 8}, watches=[watch])
    (said,) = [note for note in watch.notes if "the search ended" in note]
    assert "after 8 proposals" in said
    assert "few candidates are new and within the limits" in said


@pytest.mark.parametrize(("most", "networks"), [(None, 24), (5_000, 5)])
def test_a_space_that_is_used_up_says_so(study, most, networks):
    watch = Notes()
    limits = {"limits": {"flops": {"max": most}} if most else {}}
    folder = study(search=STUDY["search"] | {"trials": 60} | limits, watches=[watch])
    trials = folder.read()["search"]
    assert sum(t.state == "assessed" for t in trials) == networks
    (said,) = [note for note in watch.notes if "the search ended" in note]
    assert f"after {len(trials)} proposals with {networks} of 60 networks tried" in said
    assert f"no more than {networks} networks within the limits" in said


def test_only_the_best_weights_of_a_search_stay_and_every_members(whole):
    names = {file.stem for file in (whole.folder.path / "checkpoints").iterdir()}
    phases = whole.folder.read()
    best = max(phases["search"], key=lambda t: t.objective or (0,))
    family = {f"family-{t.number}" for t in phases["family"] if t.state == "assessed"}
    assert names == {f"search-{best.number}"} | family


def test_watches_hear_of_every_phase(study):
    watch = Notes()
    study(watches=[watch])
    assert [name for name, _, _ in watch.phases] == ["search", "grid", "family"]
    assert watch.phases[0] == ("search", 6, 0)
    again = Notes()
    study(watches=[again])
    assert again.phases[0] == ("search", 6, 6)
    assert again.trials == []


def test_when_nothing_is_fast_enough_the_closest_networks_are_shown(study):
    limits = {"latency": {"max": "0.001ms"}}
    search = {**STUDY["search"], "limits": limits, "trials": 4, "proposals": 5}
    with pytest.raises(UserError, match="none of 5 was within the limits") as error:
        study(without=("grid", "family"), search=search, latency={})
    head, *closest = error.value.hint.splitlines()
    assert head == "the closest:"
    assert 1 <= len(closest) <= 3
    assert all("over latency.max by" in line and "width" in line for line in closest)
