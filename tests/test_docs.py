"""Every snippet of README and docs runs, every study file is valid, every link leads somewhere."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from scalesearch.cli.main import app
from scalesearch.study.load import load_study

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Commands that are whole runs; `make quickstart` and the tests of the command line run them.
LONG = ("scalesearch run", "make ", "pip ", "git ", "optuna-dashboard")


def blocks(language):
    for page in PAGES:
        for number, text in enumerate(
            re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S), 1
        ):
            yield pytest.param(text, id=f"{page.name}-{language}-{number}")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder to write into that looks like the checkout where snippets read."""
    for folder in ("studies", "search_spaces"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", list(blocks("python")))
def test_python_snippets_run(text, checkout, capsys):
    exec(compile(text, "snippet", "exec"), {"__name__": "snippet"})
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("text", list(blocks("bash")))
def test_commands_run(text, checkout):
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words or line.startswith(LONG) or "runs/" in line:
            continue
        assert words[0] == "scalesearch", f"a command that no test knows: {line}"
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception}"


@pytest.mark.parametrize("text", list(blocks("yaml")))
def test_yaml_snippets_are_valid_studies(text, checkout):
    study = checkout / "study.yaml"
    study.write_text(text)
    assert load_study(study).name == yaml.safe_load(text)["name"]


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda p: p.name)
def test_studies_are_valid(path):
    assert load_study(path).name == path.stem


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_glossary_has_every_cost_state_and_strategy():
    from scalesearch.cost.cost import UNITS
    from scalesearch.history.trials import STATES
    from scalesearch.scaling.family import DETECTOR_STRATEGIES, STRATEGIES

    text = (ROOT / "docs" / "glossary.md").read_text()
    for word in (*UNITS, *STATES, *STRATEGIES, *DETECTOR_STRATEGIES):
        assert word in text, word
