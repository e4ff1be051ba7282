from __future__ import annotations

import dataclasses
import re

import pytest

from scalesearch.cli.check import describe_count, describe_flops
from scalesearch.cost.closed_form import cost
from scalesearch.population.feasible import Count
from scalesearch.study.feasible import Survey
from tests.fakes import FOUR, SPACE, STUDY, write_study
from tests.pool import space


def test_a_study_is_measured_before_anything_is_trained(scalesearch, tmp_path):
    file = write_study(tmp_path, execution={"executor": "ray", "workers": 2})
    done = scalesearch("check", file, "--samples", "600")
    assert done.code == 0
    assert f"{file} is valid" in done.out
    assert "16 training and 16 validation images, 10 classes" in done.out
    points = sorted(cost(space().decode(p)).flops for p in space().points())
    least, most = (f"{flops / 1000:.1f} k" for flops in (points[0], points[-1]))
    assert f"24 networks, 4 parameters; flops {least} to {most}, median" in done.out
    within = [flops for flops in points if flops <= 15_000]
    share = f"{len(within)} of 24 networks ({100 * len(within) / 24:.3g} %)"
    middle = f"{within[len(within) // 2] / 1000:.1f} k"
    most = f"{within[-1] / 1000:.1f} k"
    assert f"within limits {share}; flops {least} to {most}, median {middle}" in done.out
    assert "search        6 trials, about" in done.out
    assert re.search(r"grid +10 triples, \d+ different networks, \d+ within limits", done.out)
    assert re.search(r"family +8 members, \d different networks", done.out)
    assert re.search(r"in all +about .* on 2 worker", done.out)
    assert not (tmp_path / "runs").exists()


def test_what_a_large_space_has_within_limits():
    within = Count(value=3_240_123_456, error=412_345.0, exact=False)
    sizes = Survey(104_485_552_128, within, (1, 2, 3), (1, 2), space().sample(0))
    assert describe_count(sizes) == "about 3.24e+09 of 1.04e+11 networks (3.10103 % +- 0.00039 %)"
    one = dataclasses.replace(sizes, within=Count(value=1, error=0.0, exact=True))
    assert describe_count(one) == "1 of 104,485,552,128 networks (9.57e-10 %)"
    assert describe_flops((900, 1_500, 2_000_000)) == "flops 900 to 2.0 M, median 1.5 k"


def test_overrides(scalesearch, tmp_path):
    done = scalesearch("check", write_study(tmp_path), "search.trials=11", "--samples", "10")
    assert "11 trials" in done.out


def test_a_named_baseline(scalesearch, tmp_path):
    file = write_study(tmp_path, without=("search",), baseline="efficientnet_b0")
    done = scalesearch("check", file)
    assert done.code == 0
    # B0 with one channel in and ten classes: less the stem's other two and 990 outputs
    flops = 385_814_752 - 2 * 9 * 32 * 112 * 112 - 1280 * 990
    assert f"baseline      {flops / 1e6:.1f} M flops" in done.out


def bad(tmp_path, text):
    file = tmp_path / "bad.yaml"
    (tmp_path / "space.yaml").write_text(SPACE)
    file.write_text(text)
    return file


DATA = "dataset: {name: image_folder, path: nowhere}"
GOOD = """\
name: small
dataset: {name: "tests.fakes:Dataset"}
evaluator: {name: "tests.fakes:Evaluator"}
search: {space: space.yaml, trials: 6}
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("trials: 6", "trails: 6"), ["bad.yaml:4", "trails", "did you mean 'trials'?"]),
        (("trials: 6", "trials: six"), ["bad.yaml:4", "search.trials", "'six'"]),
        (("trials: 6", "trials: 0"), ["search.trials", "at least 1"]),
        (("space.yaml", "spice.yaml"), ["search.space", "there is no file"]),
        (("name: small", "name:\tsmall\n\tx: 1"), ["bad.yaml", "tab"]),
        (("name: small", "name: !!python/object:os.system x"), ["bad.yaml:1", "tag"]),
        (("fakes:Evaluator", "fakes:Evaluater"), ["Evaluater", "did you mean 'Evaluator'?"]),
        (("tests.fakes:Dataset", "mnist6k"), ["mnist6k", "mnist5k"]),
    ],
)
def test_a_study_with_a_mistake(wrong, tmp_path, change, said):
    file = bad(tmp_path, GOOD.replace(*change))
    message = wrong("check", file)
    for words in said:
        assert words in message, message


def test_a_file_that_is_not_there(wrong, tmp_path):
    assert "nowhere.yaml" in wrong("check", tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("command", ["check", "run"])
def test_what_shows_itself_later_has_its_line_too(wrong, tmp_path, command):
    file = write_study(tmp_path)
    text = file.read_text()
    assert "dataset:" in text
    line = [row.split(":")[0] for row in text.splitlines()].index("dataset") + 1
    folder = ("--folder", tmp_path / "run", "-q") if command == "run" else ()
    file.write_text(text.replace(text.splitlines()[line - 1], DATA))
    said = wrong(command, file, *folder)
    assert f"{file.name}:{line}: dataset.path: there is no folder" in said
    said = wrong(command, file, "dataset.path=elsewhere", *folder)
    assert "command line: dataset.path: there is no folder" in said


def test_limits_that_nothing_meets(wrong, tmp_path):
    file = write_study(tmp_path)
    message = wrong("run", file, "search.limits.flops.max=1k", "--folder", tmp_path / "r", "-q")
    assert "nothing in the space can meet the limits" in message
    assert re.search(r"has flops [\d,]+, and flops\.max is 1,000", message)


def test_a_space_without_a_choice(wrong, tmp_path):
    file = write_study(tmp_path)
    one = FOUR.replace("[1, 2]", "1")
    (tmp_path / "space.yaml").write_text(one)
    assert "there is nothing to search" in wrong("check", file)


def test_a_phi_without_a_pixel(wrong, tmp_path):
    file = write_study(tmp_path, family={"phi": [-50], "strategies": ["compound"]})
    assert "resolution" in wrong("run", file, "--folder", tmp_path / "run", "-q")


def test_an_unreadable_image(wrong, tmp_path):
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "images" / name / f"{number}.png").write_bytes(b"not an image")
    data = {"name": "image_folder", "path": "images"}
    message = wrong("check", write_study(tmp_path, dataset=data))
    assert ".png" in message


def test_how_long_the_candidates_take(scalesearch, tmp_path):
    search = {**STUDY["search"], "confirm": {"top": 9, "seeds": 4, "evaluator": {"epochs": 5}}}
    done = scalesearch("check", write_study(tmp_path, search=search), "--samples", "10")
    assert re.search(r"confirm +6 candidates, 4 trainings of each, about ", done.out)
    assert "note          confirm: 6 candidates instead of 9: the search has 6 trials" in done.out
    file = write_study(tmp_path, search=search)
    assert "search.confirm.seeds" in scalesearch("check", file, "search.confirm.seeds=1").err
