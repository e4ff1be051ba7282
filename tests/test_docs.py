"""Every snippet and command of README and docs runs, and every link leads somewhere."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from scalesearch.cli.main import app
from scalesearch.study import tabulate
from scalesearch.study.load import load_study
from tests.smoke import SMOKE

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Commands that install, that `make` runs, or that open a server.
CELLS = "op1,op2,op3,accuracy,mflops,ms\na,a,a,90,50,2\na,a,b,91,70,3\n"
# Studies with Ray's workers are run by `test_studies.py`.
ALONE = ("execution.executor=serial", "execution.workers=1")
NOT_OURS = ("make", "pip", "git", "optuna-dashboard")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder to write into that looks like the checkout where snippets read."""
    for folder in ("studies", "search_spaces"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "cells.csv").write_text(CELLS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python_snippets():
    for page in PAGES:
        for number, text in enumerate(blocks(page, "python"), 1):
            yield pytest.param(text, id=f"{page.name}-{number}")


@pytest.mark.parametrize("text", list(python_snippets()))
def test_python_snippets_run(text, checkout, capsys):
    exec(compile(text, "snippet", "exec"), {"__name__": "snippet"})
    assert "Traceback" not in capsys.readouterr().err


def pages_with_commands():
    for page in PAGES:
        if text := "\n".join(blocks(page, "bash")):
            marks = [pytest.mark.slow] if "scalesearch run" in text else []
            yield pytest.param(page, id=page.name, marks=marks)


@pytest.mark.parametrize("page", list(pages_with_commands()))
def test_commands_run_in_their_order(page, checkout, monkeypatch):
    """Studies run in their smoke size; what later commands open is what they left."""
    for name, least in {"_SECONDS": 0.001, "READINGS": 1, "CHECKS": 2}.items():
        monkeypatch.setattr(tabulate, name, least)
    if snippets := blocks(page, "yaml"):
        (checkout / "study.yaml").write_text(snippets[0])
    for line in "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0] in NOT_OURS:
            continue
        assert words[0] == "scalesearch", f"a command that no test knows: {line}"
        if words[1] in ("check", "run"):
            words += [*SMOKE[load_study(words[2]).name], *ALONE]
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception}"


def test_yaml_snippets_are_valid_studies(checkout):
    for page in PAGES:
        for text in blocks(page, "yaml"):
            (checkout / "study.yaml").write_text(text)
            assert load_study(checkout / "study.yaml").name == yaml.safe_load(text)["name"]


def test_links_between_pages_lead_somewhere():
    broken = [
        (page.name, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text())
        if not target.startswith("http") and not (page.parent / target).exists()
    ]
    assert broken == []


def test_files_that_the_docs_name_are_there():
    """`cost/memory.py` and the like, as the guide to the house names them."""
    named = re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", (ROOT / "docs" / "architecture.md").read_text())
    assert len(named) > 20
    homes = (ROOT, ROOT / "scalesearch")
    assert [n for n in named if not any((home / n).exists() for home in homes)] == []


def test_the_glossary_has_every_cost_state_and_strategy():
    from scalesearch.cost.cost import UNITS
    from scalesearch.history.trials import STATES
    from scalesearch.scaling.family import DETECTOR_STRATEGIES
    from scalesearch.scaling.strategies import STRATEGIES

    text = (ROOT / "docs" / "glossary.md").read_text()
    words = (*UNITS, *STATES, *STRATEGIES, *DETECTOR_STRATEGIES)
    assert [word for word in words if word not in text] == []
