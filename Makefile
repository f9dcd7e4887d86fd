# The environment is .venv in the checkout.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install lint test clean

install: .venv/installed

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports

TYPED := pipeline/config.py pipeline/contract.py pipeline/artifacts pipeline/execution pipeline/stages pipeline/models/flow.py pipeline/cli.py stpa.py

test: lint
	$(BIN)/python -m pytest

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
