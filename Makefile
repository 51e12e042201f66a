# make demo and make test need nothing done before but git, make and Python 3.11 on Debian.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Python compiles what is imported, once: compiling all of it takes as long as installing it.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile
unexport PYTHONDONTWRITEBYTECODE
export PYTHON

# command=package: what the tests run besides Python.
TEST_COMMANDS := chromium-headless-shell=chromium-headless-shell firefox-esr=firefox-esr ffprobe=ffmpeg nginx=nginx-light caddy=caddy \
  sshd=openssh-server ssh=openssh-client ip=iproute2 curl=curl openssl=openssl
# What people look at the page with, where its own windows or its figures count.
nightly bench: TEST_COMMANDS += chromium=chromium
# The project that `reactor init` copies: its own top-level modules, so it is type-checked apart.
TEMPLATE := src/reactor_runtime/cli/template
# What checks the control page. Node and npm come with the Python packages: Debian's are too old.
PAGE_TOOLS := tools/page
NPM = cd $(PAGE_TOOLS) && PATH="$(abspath $(BIN)):$$PATH" npm

.PHONY: help setup demo test check lint types check-page nightly coverage bench clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

setup: $(VENV)/.installed-dev ## Install the package with everything for development into .venv

demo: $(VENV)/.installed-demo ## Drive on a road that a network dreams up; open the printed address
	$(BIN)/reactor run examples/drive $(ARGS)

# Debian's packages come beside Python's, and the type checks run beside the tests.
test: $(BIN)/python ## Lint, type-check and run every test, real browser included
	@$(MAKE) --no-print-directory -j2 system setup
	@$(MAKE) --no-print-directory lint
	PATH="$(abspath $(BIN)):$$PATH" PYTHON=$(BIN)/python BESIDE="make --no-print-directory types check-page" \
	  tools/run-tests $(ARGS)

check: lint ## Lint and type-check
	@$(MAKE) --no-print-directory -j2 --output-sync types check-page

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy
	for example in testcard stylize offline drive; do \
	  MYPYPATH=src:examples/$$example $(BIN)/mypy --explicit-package-bases examples/$$example || exit 1; done
	$(BIN)/mypy $(TEMPLATE)/model.py
	MYPYPATH=$(TEMPLATE) $(BIN)/mypy $(TEMPLATE)/tests/test_model.py

check-page: $(PAGE_TOOLS)/node_modules/.installed ## Lint and type-check the control page
	$(NPM) run --silent check

nightly: system setup $(VENV)/.installed-notebook ## Run the long form of every promise, hours on two cores; writes docs/promises.md
	PATH="$(abspath $(BIN)):$$PATH" REACTOR_NIGHTLY=1 $(BIN)/python -m pytest --timeout=3600 --promises=docs/promises.md $(ARGS)
	@$(MAKE) --no-print-directory coverage ARGS=

coverage: setup ## Measure what the fast tests reach; fails below the figure in pyproject.toml
	$(BIN)/coverage run -m pytest -q -m "not slow and not browser and not alone" $(ARGS)
	$(BIN)/coverage report --skip-covered --sort=cover

bench: system setup ## Measure latency, rates and costs; JSON in benchmarks/results/
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove .venv and caches
	rm -rf $(VENV) $(PAGE_TOOLS)/node_modules .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: system
system:
	@tools/need $(TEST_COMMANDS)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@tools/need venv=python3-venv
	$(PYTHON) -m venv $(VENV)

$(PAGE_TOOLS)/node_modules/.installed: $(PAGE_TOOLS)/package-lock.json | setup
	$(NPM) ci --silent
	@touch $@

# Stamps: pip runs again when pyproject.toml has changed since.
$(VENV)/.installed-demo: pyproject.toml | $(BIN)/python
	@echo 'Installing Python packages into $(VENV); the first time takes a few minutes.'
	$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.installed-notebook: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[notebook,cluster]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo 'Installing Python packages into $(VENV); the first time takes a few minutes.'
	$(PIP) -e '.[dev,demo,aiortc]'
	@touch $@ $(VENV)/.installed-demo
