"""`python -m scalesearch`: the command line."""

from scalesearch.cli.main import main

if __name__ == "__main__":
    main()
