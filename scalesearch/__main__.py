"""`python -m scalesearch`, and the command `scalesearch`: the command line."""

import sys
from pathlib import Path


def main() -> None:
    """Runs the command line; an interrupt ends it in one line, while it is imported as well."""
    try:
        from scalesearch.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)  # the shell's code for Ctrl-C


if __name__ == "__main__":
    # Python puts the current folder first, where a `yaml.py` hides the real one. The command
    # `scalesearch` does not; `plugins.py` adds it, last.
    if sys.path and not sys.flags.safe_path and Path(sys.path[0]) == Path.cwd():
        sys.path.append(sys.path.pop(0))
    main()
