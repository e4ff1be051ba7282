"""`python -m scalesearch`: the command line."""

import sys
from pathlib import Path

# Python puts the current folder first, where a `yaml.py` hides the real one. The command
# `scalesearch` does not; `plugins.py` adds it, last.
if sys.path and not sys.flags.safe_path and Path(sys.path[0]) == Path.cwd():
    sys.path.append(sys.path.pop(0))

from scalesearch.cli.main import main

if __name__ == "__main__":
    main()
