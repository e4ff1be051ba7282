"""The door: what it loads, what it says, how it ends."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "optuna", "matplotlib", "pandas", "fvcore", "scipy")
COMMANDS = ("run", "check", "status", "report", "profile", "scale", "export", "list")


def python(program):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


LOADED = f"print([name for name in {HEAVY!r} if name in sys.modules])"


def test_importing_loads_nothing_heavy():
    assert python(f"import sys, scalesearch; {LOADED}") == "[]\n"


def test_help_loads_nothing_heavy():
    program = f"""
import sys
from scalesearch.cli.main import app
try:
    app(["--help"])
except SystemExit as end:
    print(end.code)
{LOADED}
"""
    text = python(program)
    assert text.endswith("0\n[]\n")
    assert all(f"  {command} " in text for command in COMMANDS)


def test_profile_loads_nothing_heavy():
    program = f"""
import sys
from scalesearch.cli.main import app
try:
    app(["profile", "efficientnet_b0"])
except SystemExit:
    pass
{LOADED}
"""
    assert python(program).endswith("[]\n")


def test_it_is_a_module_too():
    done = subprocess.run(
        [sys.executable, "-m", "scalesearch", "profile", "efficientnet_b9"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "did you mean 'efficientnet_b0'?" in done.stderr or "efficientnet_b" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(scalesearch, command):
    done = scalesearch(command, "--help")
    assert done.code == 0
    assert f"{command} [OPTIONS]" in done.out


def test_no_command_shows_the_help(scalesearch):
    done = scalesearch()
    assert "Commands:" in done.out + done.err


@pytest.mark.parametrize("arguments", [["nonsense"], ["run"], ["profile", "x", "--batch", "y"]])
def test_wrong_usage(scalesearch, arguments):
    done = scalesearch(*arguments)
    assert done.code == 2
    assert "Usage:" in done.err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/big"), "/big: No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "/cd"), "/cd: Read-only file system"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (
            ImportError("libtorch.so: failed to map segment from shared object"),
            "a package that scalesearch needs cannot be imported: libtorch.so: failed to map "
            "segment from shared object\n"
            "  install it anew: `pip install --force-reinstall scalesearch`",
        ),
    ],
)
def test_a_systems_failure_is_one_sentence(wrong, monkeypatch, error, said):
    def fails(*_):
        raise error

    monkeypatch.setattr("scalesearch.cli.list.show_names", fails)
    assert wrong("list") == f"error: {said}\n"
