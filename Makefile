# Everything runs in .venv, which the first target makes: `make` lists the targets.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --constraint constraints.txt
BENCHMARKS := $(filter-out app,$(sort $(patsubst benchmarks/%.py,%,$(wildcard benchmarks/[a-z]*.py))))

.PHONY: help install demo test check bench

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

install: .venv/.dev  ## make .venv with everything for running and developing

demo: .venv/.run  ## MODEL=folder: the application in the browser
	$(BIN)/python app.py --open $(if $(MODEL),--model "$(MODEL)")

test: .venv/.dev  ## every test
	$(BIN)/python -m pytest

check: .venv/.dev  ## format, lint, types, import rules and the tests that take seconds
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/ty check
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m "not slow"

bench: .venv/.dev  ## speed and memory, as tables (the application: python -m benchmarks.app --model FOLDER)
	$(foreach name,$(BENCHMARKS),$(BIN)/python -m benchmarks.$(name) &&) true

.venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Groma needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

# torch first: a build that is already there stays, and nothing pulls another one in.
.venv/.torch: constraints.txt | .venv
	$(PIP) torch
	@touch $@

.venv/.run: .venv/.torch requirements.txt
	$(PIP) --requirement requirements.txt --editable .
	@touch $@

.venv/.dev: .venv/.run requirements-dev.txt
	$(PIP) --requirement requirements-dev.txt
	@touch $@
