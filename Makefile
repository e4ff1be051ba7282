# Two commands do everything on a machine with Python 3.11 or newer: `make quickstart`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/scalesearch

.PHONY: install quickstart test test-all lint types bench docs paper-costs clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), 'scalesearch needs Python 3.11 or newer'"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

install: $(VENV)/.installed

# The whole path on real images: search, grid, family, report and export, in a few minutes.
quickstart: $(VENV)/.installed
	$(RUN) run studies/quickstart.yaml

# Tests run on every core, a file at a time in the order of `tests/conftest.py`, with one thread of
# torch each. `make test-all`, as CI,
# also runs what takes more than a few seconds each, every study in a smoke size among it.
MARKS ?= not slow and not gpu

test: lint types
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m "$(MARKS)"

test-all:
	$(MAKE) test MARKS="not gpu"

# Not the files that commands write into the folder, such as exports.
OURS := scalesearch studies tests docs

lint: $(VENV)/.tested
	$(BIN)/ruff check $(OURS)
	$(BIN)/ruff format --check $(OURS)

types: $(VENV)/.tested
	$(BIN)/mypy

bench: $(VENV)/.tested
	$(BIN)/python -m tests.benchmarks --json build/benchmarks.json

# Generated files; tests fail when they are out of date.
docs: $(VENV)/.installed
	$(BIN)/python -m scalesearch.study.jsonschema docs/schema
	$(BIN)/python -m docs.tools.families docs/families.md
	$(BIN)/python -m docs.tools.paper_costs docs/reproduction.md

# What the networks of papers cost, ours beside theirs: counted in seconds, without training.
paper-costs: $(VENV)/.installed
	$(BIN)/python -m docs.tools.paper_costs docs/reproduction.md build/paper_costs.csv

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
