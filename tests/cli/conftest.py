from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from scalesearch.cli.main import main
from scalesearch.study.run import run
from tests.fakes import write_study


@pytest.fixture
def scalesearch(monkeypatch, capsys):
    """Calls the command line in this process; gives its exit code, output and errors."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["scalesearch", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return SimpleNamespace(code=code, out=out, err=err)

    return call


@pytest.fixture
def wrong(scalesearch):
    """Calls the command line with a mistake: exit code 2, one message, nothing else."""

    def call(*arguments):
        done = scalesearch(*arguments)
        assert done.code == 2, done
        assert done.err.startswith("error: ")
        assert done.out == ""
        return done.err

    return call


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A whole small study, run once: its file and its folder. Tests leave it as it is."""
    path = tmp_path_factory.mktemp("whole")
    file = write_study(path, export=["python"])
    return SimpleNamespace(file=file, folder=run(file, folder=path / "run"))
