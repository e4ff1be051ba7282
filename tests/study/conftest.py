from __future__ import annotations

from types import SimpleNamespace

import pytest

from scalesearch.study.run import run
from tests.fakes import write_study


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A whole small study, run once: its file and its folder. Tests leave it as it is."""
    place = tmp_path_factory.mktemp("whole")
    file = write_study(place, export=["python"])
    return SimpleNamespace(file=file, folder=run(file, folder=place / "run"))
