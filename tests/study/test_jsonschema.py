"""The schemas for editors: current, and of one mind with what the programs read."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from scalesearch.study.jsonschema import format_schema, main, space_schema, study_schema

ROOT = Path(__file__).parents[2]
STUDIES = sorted([*(ROOT / "studies").glob("*.yaml"), *(ROOT / "studies").glob("paper/*.yaml")])
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))


def fits(plain, schema):
    return jsonschema.Draft202012Validator(schema).is_valid(plain)


def read(path):
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("schema", [study_schema(), space_schema()], ids=["study", "space"])
def test_they_are_schemas(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    # Every reference is found, and everything that is defined is used.
    text = format_schema(schema)
    used = set(re.findall(r'"\$ref": "#/\$defs/([^"]+)"', text))
    assert used == set(schema["$defs"])
    assert json.loads(text) == schema


@pytest.mark.parametrize(("name", "schema"), [("study", study_schema), ("space", space_schema)])
def test_the_files_are_current(name, schema):
    path = ROOT / "docs" / "schema" / f"{name}.schema.json"
    assert path.read_text() == format_schema(schema()), (
        "run `python -m scalesearch.study.jsonschema docs/schema`"
    )


def test_files_are_written(tmp_path):
    main(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "space.schema.json",
        "study.schema.json",
    ]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_studies_fit(path):
    assert fits(read(path), study_schema())


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_shipped_spaces_fit(path):
    assert fits(read(path), space_schema())


@pytest.mark.parametrize(
    "change",
    [
        {"sead": 3},
        {"seed": "three"},
        {"baseline": "efficientnet_b0"},
        {"task": "detection"},
        {"dataset": "mnist"},
        {"dataset": {"name": "mnist5k", "limits": 3}},
        {"execution": {"worker": 2}},
        {"export": "python"},
        {"family": {"phi": 1}},
        {"search": {"space": "a.yaml"}},
        {"search": {"space": "a.yaml", "trials": 3, "limits": {"flop": {"max": 3}}}},
        {"search": {"space": "a.yaml", "trials": 3, "limits": {"flops": {}}}},
        {"search": {"space": "a.yaml", "trials": 3, "objective": "flops"}},
    ],
    ids=str,
)
def test_mistakes_do_not_fit_a_study(change):
    plain = read(ROOT / "studies" / "quickstart.yaml")
    assert not fits(plain | change, study_schema())


@pytest.mark.parametrize(
    "change",
    [
        {"resolutoin": 3},
        {"stages": []},
        {"num_classes": [10, 20]},
        {"stages": [{"width": 8, "kernal": [3, 5]}]},
        {"stages": [{"options": [{"width": [8, 16]}]}]},
        {"stages": [{"width": 8, "kernel": []}]},
        {"stages": [{"width": 8, "kernel": [3, 3]}]},
    ],
    ids=str,
)
def test_mistakes_do_not_fit_a_space(change):
    plain = read(ROOT / "search_spaces" / "mbconv_small.yaml")
    assert not fits(plain | change, space_schema())


def test_a_baseline_with_replaced_fields_fits():
    plain = read(ROOT / "studies" / "quickstart.yaml")
    del plain["search"]
    stem = {"kernel": 3, "stride": 1, "pool": 1}
    assert fits(plain | {"baseline": {"name": "resnet18", "stem": stem}}, study_schema())
    for wrong in ({"stem": {"kernal": 3}}, {"stages": []}):
        assert not fits(plain | {"baseline": {"name": "resnet18", **wrong}}, study_schema())


def test_own_plug_ins_and_forms_fit():
    plain = read(ROOT / "studies" / "quickstart.yaml")
    plain["dataset"] = {"name": "mine.images:Dataset", "folder": "x"}
    plain["search"] |= {"sampler": "random", "objective": {"reward": "accuracy", "flops": "1M"}}
    plain["search"]["evaluator"] = {"name": "training", "epochs": 1}
    plain["execution"] = {"workers": 2, "timeout": 60}
    assert fits(plain, study_schema())
