SHELL := /bin/bash
.DEFAULT_GOAL := help

# The newest interpreter that is new enough; `make PYTHON=...` overrides.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; exit; }; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Control planes side by side in the system tests: most of their time is waiting. Each needs 2 GiB.
PLANES ?= 2

# Of the fleet whose cost `make bench FULL=1` measures. A comma cannot stand in a function's argument.
ALL_SIZES := 100,1000,10000

# What must be covered to the last branch: the stages that decide.
PURE := operator/specdecode/api/*,operator/specdecode/engine/*,operator/specdecode/plan/*,operator/specdecode/manifests/*,operator/specdecode/meter/*,operator/specdecode/decide/*,operator/specdecode/status.py,operator/specdecode/summary.py,operator/specdecode/calibrate.py,operator/specdecode/notes.py,operator/specdecode/drift.py,operator/specdecode/control.py,operator/specdecode/findings.py,operator/specdecode/fleet.py,operator/specdecode/judge.py,operator/specdecode/rest.py,operator/specdecode/dormitory.py,operator/specdecode/packed.py,operator/specdecode/resource_metrics.py,operator/specdecode/observe/cache.py,operator/specdecode/observe/causes.py,operator/specdecode/observe/cluster.py,operator/specdecode/observe/follow.py,operator/specdecode/observe/glance.py,operator/specdecode/observe/past.py,operator/specdecode/observe/queries.py,operator/specdecode/observe/readings.py,operator/specdecode/observe/speculation.py,operator/specdecode/observe/subject.py,operator/specdecode/observe/track.py

.PHONY: help rehearse engine test check static bench bench-scale test-engine test-faults lock release-record clean docs

help:  ## Show what there is to run
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(READY): pyproject.toml requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and none is on PATH. Install it, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "==> virtual environment in $(VENV) ($$($(PYTHON) --version))"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

rehearse: $(READY)  ## Play the stories on a real control plane (ENGINE=vllm: the real engine; STORY=name, REPORT=dir, KEEP=1)
	@$(BIN)/python -m rehearsal --engine '$(or $(ENGINE),simulated)' --report '$(or $(REPORT),report)' $(if $(STORY),--story '$(STORY)') $(if $(filter 1,$(KEEP)),--keep)

check: $(READY)  ## The fast part: lints, types, import contracts, unit and property tests (two minutes)
	@$(MAKE) --no-print-directory static
	$(BIN)/pytest -q -n auto -m 'not system and not engine'

static: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: $(READY)  ## Everything: the fast part with coverage, then the system tests on a real control plane (minutes)
	@$(MAKE) --no-print-directory static
	$(BIN)/pytest -q -n auto -m 'not system and not engine' --ignore=tests/security --ignore=tests/fuzz --cov --cov-report=
	$(BIN)/coverage report --include='$(PURE)' --fail-under=100
	$(BIN)/coverage report --fail-under=90
	$(BIN)/pytest -q -n auto tests/security tests/fuzz
	$(BIN)/pytest -q -n $(PLANES) --dist loadfile --no-loadscope-reorder -m system

bench: $(READY)  ## How good plan, prediction and guard are, and what a fleet costs, beside what others do (10 minutes; FULL=1: all days, faults and sizes, an hour)
	@PYTHONPATH=tests $(BIN)/python -m bench $(if $(filter 1,$(FULL)),--full)
	@$(MAKE) --no-print-directory bench-scale SIZES='$(or $(SIZES),$(if $(filter 1,$(FULL)),$(ALL_SIZES),100))'

bench-scale: $(READY)  ## What a fleet costs, on a real API server and Prometheus, beside two other operators (SIZES=100,1000,10000; five minutes a size)
	@PYTHONPATH=tests $(BIN)/python -m bench.scale --sizes '$(or $(SIZES),100,1000)'

engine: $(READY)  ## Make an environment with the real vLLM, for CPU, in the cache folder (3 minutes and 6 GB, once)
	@$(BIN)/python -m rehearsal.vllm

test-engine: engine  ## Ask the real vLLM: parser, config classes and metrics, then its stories on a real control plane (ten minutes)
	$(BIN)/pytest -q -m engine tests/contract
	$(BIN)/pytest -q -m engine tests/vllm_stories

test-faults: $(READY)  ## Break everything that can be broken, as often as the docs say, on a real control plane
	$(BIN)/pytest -q -n $(PLANES) --dist loadfile --no-loadscope-reorder -m system tests/system/faults --faults=full

docs: $(READY)  ## Write docs/reference-fields.md anew, from the types
	@$(BIN)/python tests/docs/fields.py

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --exclude-newer '7 days'

lock: $(READY)  ## Lock what is installed, with hashes and nothing younger than a week (UPGRADE=1: the newest of that age)
	@$(BIN)/python -m pip install --quiet uv
	@$(LOCK) $(if $(filter 1,$(UPGRADE)),--upgrade) pyproject.toml --output-file requirements/runtime.txt
	@$(LOCK) $(if $(filter 1,$(UPGRADE)),--upgrade) pyproject.toml --extra rehearsal --extra dev --constraint requirements/runtime.txt --output-file requirements/dev.txt
	@echo 'hatchling>=1.27' | $(LOCK) $(if $(filter 1,$(UPGRADE)),--upgrade) - --output-file requirements/build.txt
	@sed -i '1i # Locked with hashes, nothing younger than a week: `make lock` writes this file.' requirements/*.txt

release-record: $(READY)  ## Keep what a release does, for the upgrade tests of later ones (VERSION=x.y.z)
	@PYTHONPATH=operator $(BIN)/python tests/upgrade/releases.py '$(VERSION)' $(if $(filter 1,$(AGAIN)),--again)

clean:  ## Remove the virtual environment and what the tools left behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov report
