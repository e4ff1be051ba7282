"""Terminals that cannot print, that are closed, narrow or dumb; and Ctrl-C wherever it comes."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.fakes import write_study

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "scalesearch")


def environment(**changes):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    return {**inherited, "PYTHONPATH": str(ROOT), **changes}


def called(*arguments, shell="", folder=None, **changes):
    """A command in a process of its own; `shell` is put behind it: `>&-`, `| true`."""
    words = [os.fsencode(str(word)) for word in (*COMMAND, *arguments)]
    if shell:
        words = ["bash", "-c", f'"$@" {shell}; exit ${{PIPESTATUS[0]}}', "bash", *words]
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment(**changes),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert b"Traceback" not in done.stdout + done.stderr, done.stderr.decode()
    return done


ASCII = {"PYTHONIOENCODING": "ascii"}
LATIN = {"PYTHONIOENCODING": "latin-1"}
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("encoding", [ASCII, LATIN, C_LOCALE, {"LC_ALL": "POSIX"}], ids=str)
def test_names_that_the_terminal_cannot_print(tmp_path, encoding):
    done = called("profile", "réseau_漢字.yaml", folder=tmp_path, **encoding)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert called("list", **encoding).returncode == 0


def test_a_name_that_is_no_text(tmp_path):
    name = os.fsdecode(b"caf\xe9.yaml")
    done = called("profile", name, folder=tmp_path)
    assert done.returncode == 2
    assert rb"caf\udce9.yaml" in done.stderr


def test_files_are_utf_8_in_a_locale_of_ascii(tmp_path):
    encoding = C_LOCALE
    write_study(tmp_path, name="étude", without=("grid", "family"))
    done = called("run", "study.yaml", "--folder", "run", folder=tmp_path, **encoding)
    assert done.returncode == 0, done.stderr
    assert "étude" in (tmp_path / "run" / "resolved.yaml").read_text("utf-8")
    assert "étude" in (tmp_path / "run" / "report.html").read_text("utf-8")
    assert called("report", "run", folder=tmp_path, **encoding).returncode == 0
    assert called("status", "run", folder=tmp_path, **encoding).returncode == 0


def test_a_file_that_the_locale_cannot_name(tmp_path):
    write_study(tmp_path, name="étude")
    done = called("run", "study.yaml", folder=tmp_path, **C_LOCALE)
    assert done.returncode == 2
    assert b"cannot name a file here, where names are in ascii" in done.stderr
    assert b"PYTHONUTF8=1" in done.stderr


@pytest.mark.parametrize("shell", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_output_that_is_closed(shell):
    assert called("profile", "efficientnet_b0", shell=shell).returncode == 0
    assert called("profile", "no_such_net", shell=shell).returncode == 2


@pytest.mark.parametrize("shell", ["2>&-", "<&- >&- 2>&-"])
def test_a_run_whose_output_is_closed(tmp_path, shell):
    write_study(tmp_path, without=("grid", "family"))
    run = called("run", "study.yaml", "--folder", "run", shell=shell, folder=tmp_path)
    assert run.returncode == 0
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("command", [["list"], ["profile", "efficientnet_b7"], ["list", "--json"]])
def test_a_reader_that_goes_away(command):
    assert called(*command, shell="| true").returncode in (0, 1)


def on_terminal(width, *arguments, folder, **changes):
    """The exit code and the output of a command on a terminal so wide."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        os.chdir(folder)
        os.execve(COMMAND[0], [*COMMAND, *arguments], environment(**changes))
    output, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:  # EIO: so a terminal ends
            break
        if not part:
            break
        output += part
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.decode()


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A folder with a run in it."""
    folder = tmp_path_factory.mktemp("ended")
    write_study(folder)
    assert called("run", "study.yaml", "--folder", "run", folder=folder).returncode == 0
    return folder


@pytest.mark.parametrize(
    ("width", "kind"),
    [(0, "dumb"), (1, "dumb"), (30, "dumb"), (0, "xterm"), (1, "xterm"), (30, "")],
)
def test_narrow_and_dumb_terminals(ended, kind, width):
    """On a dumb one a table wider than 80 columns once never ended."""
    code, text = on_terminal(width, "status", "run", folder=ended, TERM=kind)
    assert code == 0, text
    assert "Traceback" not in text
    assert "assessed" in text


@pytest.mark.slow
@pytest.mark.parametrize(("width", "kind"), [(0, "dumb"), (1, "xterm"), (30, "dumb")])
def test_every_command_on_them(ended, tmp_path, kind, width):
    study = str(ended / "study.yaml")
    for command in (["list"], ["profile", "efficientnet_b0"], ["check", study], ["run", study]):
        code, text = on_terminal(width, *command, folder=tmp_path, TERM=kind)
        assert code == 0, text
        assert "Traceback" not in text


# Ctrl-C.
SLOW = "import time\nopen({mark!r}, 'w').close()\ntime.sleep(60)\n"


def interrupted(*arguments, folder, mark=None, after=0.0, **changes):
    """A command that gets SIGINT once it has made the file `mark`, or after some seconds."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while mark is not None and not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    # Before `main` runs, the interrupt is Python's own.
    assert "Traceback" not in out + err or ("in main" not in err and not mark), err
    return process.returncode, (out + err).splitlines()


@pytest.mark.parametrize(
    "command",
    [
        ["check", "study.yaml"],
        ["run", "study.yaml"],
        ["profile", "my_slow:net"],
        ["export", "my_slow:net"],
        ["scale", "my_slow:net", "--phi", "1"],
    ],
    ids=lambda words: words[0],
)
def test_an_interrupt_while_something_is_imported(tmp_path, command):
    mark = tmp_path / "mark"
    (tmp_path / "my_slow.py").write_text(SLOW.format(mark=str(mark)))
    write_study(tmp_path, evaluator="my_slow:Evaluator")
    code, lines = interrupted(*command, folder=tmp_path, mark=mark)
    assert code == 130
    assert len(lines) == 1
    assert lines[0].startswith("stopped")


def test_an_interrupt_that_a_library_turns_into_another_error(tmp_path):
    mark = tmp_path / "mark"
    text = SLOW.format(mark=str(mark)).replace("time.sleep", "  time.sleep")
    (tmp_path / "my_slow.py").write_text(
        text.replace("  time", "try:\n  time") + "except BaseException: raise ImportError('no')\n"
    )
    write_study(tmp_path, evaluator="my_slow:Evaluator")
    code, lines = interrupted("check", "study.yaml", folder=tmp_path, mark=mark)
    assert (code, lines) == (130, ["stopped"])


DEAF = """
import time
class Deaf:
    def __del__(self):
        open({mark!r}, "w").close()
        time.sleep(1)
Deaf()
time.sleep(60)
"""


def test_an_interrupt_that_python_cannot_raise_comes_again(tmp_path):
    mark = tmp_path / "mark"
    (tmp_path / "my_deaf.py").write_text(DEAF.format(mark=str(mark)))
    code, lines = interrupted("profile", "my_deaf:net", folder=tmp_path, mark=mark)
    assert (code, lines) == (130, ["stopped"])


@pytest.mark.slow
@pytest.mark.parametrize("command", [["profile", "efficientnet_b0", "--measured"], ["list"]])
@pytest.mark.parametrize("after", [0.15, 0.5, 1.5])
def test_an_interrupt_at_any_time(tmp_path, command, after):
    code, _ = interrupted(*command, folder=tmp_path, after=after)
    assert code in (0, 130, -signal.SIGINT)  # the last while Python itself starts or ends


@pytest.mark.slow
@pytest.mark.parametrize("after", [2.0, 3.6])
def test_an_interrupt_while_ray_starts(tmp_path, after):
    """Ray's core crashed the process where its start was left half done."""
    write_study(tmp_path, execution={"workers": 2})
    code, _ = interrupted("check", "study.yaml", folder=tmp_path, after=after)
    assert code in (0, 130, -signal.SIGINT)
