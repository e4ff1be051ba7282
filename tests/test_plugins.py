"""From a name in YAML to a class, shipped or anyone's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import scalesearch
from scalesearch import plugins
from scalesearch.errors import UserError

PACKAGE = Path(scalesearch.__file__).parent


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module of a user's in the folder that the command is called from."""
    (tmp_path / "my_things_for_test.py").write_text(
        "class Sampler:\n    def make(self, space, seed, limits, workload): ...\n\n_hidden = 1\n"
    )
    (tmp_path / "my_broken_for_test.py").write_text("import no_such_package_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield "my_things_for_test"
    sys.modules.pop("my_things_for_test", None)


@pytest.mark.parametrize("folder", plugins.FOLDERS)
def test_a_file_is_a_plug_in_unless_it_starts_with_an_underscore(folder):
    files = {path.stem for path in (PACKAGE / folder).glob("*.py")}
    expected = sorted(name for name in files if not name.startswith("_"))
    assert plugins.names(folder) == tuple(expected)
    assert expected


@pytest.mark.parametrize(
    ("folder", "name"),
    [(folder, name) for folder in plugins.FOLDERS for name in plugins.names(folder)],
)
def test_every_file_defines_its_class(folder, name):
    loaded = plugins.load(folder, name)
    assert loaded.__name__ == plugins.FOLDERS[folder]
    assert loaded.__module__ == f"scalesearch.{folder}.{name}"


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(UserError) as told:
        plugins.load("samplers", "randon")
    shipped = ", ".join(plugins.names("samplers"))
    assert str(told.value) == (
        "there is no 'randon' among the samplers\n"
        f"  allowed: {shipped}, or package.module:Name of your own\n"
        "  did you mean 'random'?"
    )


def test_private_modules_are_no_plug_ins():
    with pytest.raises(UserError, match="there is no '_fixed' among the samplers"):
        plugins.load("samplers", "_fixed")


def test_anyones_class_is_found_beside_the_call(own_module):
    assert plugins.load("samplers", f"{own_module}:Sampler").__name__ == "Sampler"
    assert plugins.load_object("collections:OrderedDict").__name__ == "OrderedDict"


def test_a_module_that_is_not_there_is_told(own_module):
    with pytest.raises(UserError) as told:
        plugins.load("samplers", "my_thongs_for_test:Sampler")
    assert str(told.value) == (
        "cannot import 'my_thongs_for_test': "
        "ModuleNotFoundError: No module named 'my_thongs_for_test'\n"
        "  install its package, or run from the folder that holds it"
    )


def test_a_module_that_lacks_something_itself_says_what(own_module):
    with pytest.raises(UserError, match="No module named 'no_such_package_at_all'"):
        plugins.load_object("my_broken_for_test:Sampler")


def test_a_name_that_is_not_there_is_told_with_the_nearest(own_module):
    with pytest.raises(UserError) as told:
        plugins.load("samplers", f"{own_module}:Samplr")
    assert str(told.value) == f"{own_module} has no 'Samplr'\n  did you mean 'Sampler'?"


@pytest.mark.parametrize("path", ["a:b:c", "a:", ":b", "a b:c", "a-b:c", "1a:b", "a:b.c", "a\n:b"])
def test_a_path_of_another_form_is_told(path):
    with pytest.raises(UserError) as told:
        plugins.load("samplers", path)
    assert str(told.value) == f"{path!r} is not of the form package.module:Name"
