# `make demo` and `make test` are all a new checkout needs; the rest is for contributors.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test quick fuzz thorough check format lint types mutants wheel bench docs clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

demo: setup
	$(BIN)/lnsim sweep

test: setup
	$(BIN)/pytest -n 2 --dist loadfile

# under a minute once kernels are compiled
quick: setup
	HYPOTHESIS_PROFILE=dev $(BIN)/pytest -q -n 2 --dist loadfile -m 'not slow'

check: lint types test

# bad input, long: prints how many inputs were tried, refused and answered
FUZZ_EXAMPLES ?= 300
fuzz: setup
	HYPOTHESIS_PROFILE=thorough LNSIM_FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/pytest -q -n 0 tests/fuzz

thorough: setup
	HYPOTHESIS_PROFILE=thorough $(BIN)/pytest -n auto

mutants: setup
	$(BIN)/python tests/mutation/run.py

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

wheel: setup
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation -c constraints.txt -w dist .

bench: setup
	$(BIN)/python -m bench.run

$(VENV)/.docs: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -b html -W --keep-going -n -q docs build/docs
	@echo build/docs/index.html

clean:
	rm -rf $(VENV) .venv-newest build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
