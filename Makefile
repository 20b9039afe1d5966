# Two commands do all their own set-up: make demo, make test.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test check setup clean tools test-tools

demo: setup
	$(BIN)/fairway demo

# Everything: the static checks, the unit tests, the kernel and the whole lab.
test: $(VENV)/dev.done test-tools
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest

# Fast, and without root or a kernel of its own.
check: $(VENV)/dev.done
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -m "not kernel and not lab"

.PHONY: lint
lint:
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: $(VENV)/runtime.done tools

# Programs of the host: installed where root and missing, named where not root and missing.
tools:
	@sh scripts/tools.sh

test-tools:
	@sh scripts/tools.sh --tests

$(VENV)/bin/python:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || sh scripts/tools.sh python3-venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.done: requirements/runtime.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.done: requirements/dev.txt $(VENV)/runtime.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

# The newest versions of everything, with their hashes; wants pip-compile (pip-tools) on PATH.
.PHONY: lock
lock: export CUSTOM_COMPILE_COMMAND = make lock
lock:
	pip-compile --quiet --upgrade --output-file=requirements/runtime.txt pyproject.toml
	pip-compile --quiet --upgrade --extra=dev --constraint=requirements/runtime.txt --output-file=requirements/dev.txt pyproject.toml

clean:
	rm -rf $(VENV) build src/*.egg-info
