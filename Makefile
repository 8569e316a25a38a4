# Every task of the project. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_ARGS ?=
# The tests wait more than they compute.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(max(2, (os.cpu_count() or 1) * 3 // 2))')
CHAOS_ARGS ?=
BENCH_ARGS ?=
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help install demo test test-projects test-chaos test-chart test-pages test-image test-cluster bench bench-stall lint docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.12")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python3 -m venv failed: install your system's venv package (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

install: $(STAMP) ## make the virtual environment with the locked dependencies

demo: $(STAMP) ## the main job on an embedded PostgreSQL, real output
	@$(BIN)/python demo.py

test: $(STAMP) ## the tests on real embedded PostgreSQL servers (no Docker, no Kubernetes)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not thorough and not venvs" $(PYTEST_ARGS)

test-projects: $(STAMP) ## mlflow, optuna, 1,000 revisions, oldest and newest libraries, further variations
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "thorough or venvs" $(PYTEST_ARGS)

test-chaos: $(STAMP) ## 300 kills, lost connections, crashed servers, full disks: the whole chaos suite (about 12 minutes)
	$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

test-image: $(STAMP) ## the image and compose.yaml on a real Docker engine (needs root and Docker)
	$(BIN)/python -m pytest tests/image $(PYTEST_ARGS)

test-chart: $(STAMP) ## the chart and the examples as rendered, and the helm-unittest suites (needs Go, or installs one)
	$(BIN)/python -m pytest -n $(WORKERS) tests/chart tests/examples $(PYTEST_ARGS)
	$(BIN)/python -m tests.chart.unittest

test-pages: $(STAMP) ## the HTML pages in a real Chromium (needs one: apt-get install chromium)
	$(BIN)/python -m pytest tests/pages -n 2 --dist loadgroup $(PYTEST_ARGS)

test-cluster: $(STAMP) ## the chart on the Kubernetes cluster in KUBECONFIG, with Helm 3 and 4 (builds images: needs Docker)
	$(BIN)/python -m pytest tests/cluster -n 4 --dist worksteal $(PYTEST_ARGS)

bench: $(STAMP) ## alembic-job against bare alembic, interleaved, as ratios
	$(BIN)/python -m bench

bench-stall: $(STAMP) ## how long an application waits while a migration wants a lock: the job, bare alembic, lock_timeout
	$(BIN)/python -m bench.stall $(BENCH_ARGS)

lint: $(STAMP) ## ruff, mypy --strict, hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy docs bench tests/chart tests/cluster tests/examples tests/chaos tests/rules tests/pages
	$(BIN)/hadolint Dockerfile

docs: $(STAMP) ## write the reference pages made from the code's tables
	$(BIN)/python -m docs.generate
	$(BIN)/python -m docs.locks

lock: ## resolve the dependencies anew into the lock files
	uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --extra sql --extra stores --extra age --extra notify pyproject.toml -o requirements.lock
	uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --group dev --all-extras pyproject.toml -o requirements-dev.lock

clean: ## remove the virtual environment and what was built
	rm -rf $(VENV) .build dist .mypy_cache .ruff_cache .pytest_cache
