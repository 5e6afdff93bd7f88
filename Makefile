# Everything one does here. Each target makes the virtual environment it needs by itself.

PYTHON   ?= python3
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
ARGS     ?=
JOBS     ?= 3# processes that share the tests: some compute, some wait

BIN    := .venv/bin
PIP    := $(BIN)/pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/pytest $(ARGS)
RUN    := .venv/.stamp-run
DEV    := .venv/.stamp-dev

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check test-browser test-api bench bench-dashboard faults screenshots lock clean

help: ## list what you can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUN) ## play a day of orders through all four processes; ONCE=1 ends when it is over
	@$(BIN)/python -m demo $(if $(ONCE),--once)

test: $(DEV) ## all tests but the browser's, the API fuzzing and the long ones; ARGS="tests/core -x"
	@$(PYTEST) -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not browser and not api and not long"

check: $(DEV) ## what CI runs first: ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# pytest answers 5 when no test was selected, and says so: nothing to run is not a failure of these two.
test-browser: $(DEV) ## the dashboard in a real Chromium, where one is installed
	@if [ -z "$(CHROMIUM)" ]; then \
	  echo "SKIPPED every browser test of the dashboard: no Chromium here (Debian: apt-get install chromium)"; \
	else \
	  CHROMIUM="$(CHROMIUM)" $(PYTEST) -n 2 --dist loadfile -m browser $(wildcard tests/browser) || [ $$? -eq 5 ]; \
	fi

test-api: $(DEV) ## fuzz the HTTP API from its schema
	@$(PYTEST) -m "api and not long" || [ $$? -eq 5 ]

bench: $(DEV) ## measure intake and processing on this machine
	@$(BIN)/python -m bench $(ARGS)

bench-dashboard: $(DEV) ## time its pages on 1 M orders (10 GB of disk); ARGS="--orders 100000 --data FOLDER"
	@$(BIN)/python -m bench.dashboard $(ARGS)

faults: $(DEV) ## the long tests: kill, restart and starve every part under load
	@$(PYTEST) -m long

screenshots: $(DEV) ## take the pictures of the pages for the docs, once a demo has played; takes two minutes
	@CHROMIUM="$(CHROMIUM)" $(BIN)/python -m tests.browser.screenshots

lock: ## pin requirements*.txt again, with hashes; ARGS=--upgrade takes the newest
	@tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT && \
	$(PYTHON) -m venv "$$tools" && "$$tools/bin/pip" --disable-pip-version-check --quiet install uv && \
	compile="$$tools/bin/uv --quiet pip compile pyproject.toml --extra embedded --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate $(ARGS)" && \
	$$compile --output-file requirements.txt && \
	$$compile --output-file requirements-dev.txt --group dev --constraint requirements.txt

clean: ## remove the virtual environment, the demo's data and all caches
	rm -rf .venv .demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The demo needs the pinned packages only; `python -m` finds ours in this folder.
$(RUN): requirements.txt | $(BIN)/python
	@echo "installing into .venv (about half a minute) ..."
	@$(PIP) install --require-hashes -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt pyproject.toml | $(BIN)/python
	@echo "installing into .venv with all test tools (about a minute) ..."
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is not: apt-get install python3, or make PYTHON=python3.12 ..."; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv
