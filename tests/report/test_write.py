from __future__ import annotations

import subprocess
import sys

import pytest

from scalesearch.errors import UserError
from scalesearch.report.write import write_report


def test_all_files_of_a_whole_study(small, tmp_path):
    paths = write_report(small, tmp_path)
    names = [str(path.relative_to(tmp_path)) for path in paths]
    figures = [f"figures/{p}.{e}" for p in ("search", "grid", "family") for e in ("png", "svg")]
    assert names == [*figures, "report.html"]
    assert all(path.stat().st_size > 1000 for path in paths)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figures", "report.html"]  # no leftovers


def test_the_page_alone_where_nothing_has_a_score(empty, tmp_path):
    assert write_report(empty, tmp_path) == [tmp_path / "report.html"]
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_named(empty, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="cannot be written") as caught:
        write_report(empty, tmp_path / "file")
    assert "report.html" in str(caught.value)


def test_no_window_system_and_no_torch_is_loaded():
    code = (
        "import sys, scalesearch.report.write\n"
        "print([m for m in ('matplotlib.pyplot', 'tkinter', 'torch', 'ray', 'optuna')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
