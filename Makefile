# The environment is .venv in the checkout. `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
CONFIG ?= configs/demo.toml
BIN := .venv/bin
STAGES := frames flows masks inpaint features train eval

.PHONY: install demo $(STAGES) report status lint test clean

install: .venv/installed

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

demo: install
	$(BIN)/stpa data synth --config configs/demo.toml
	for stage in flows inpaint features train eval report; do $(BIN)/stpa $$stage --config configs/demo.toml || exit; done

$(STAGES) report status: install
	$(BIN)/stpa $@ --config $(CONFIG)

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy stpa.py pipeline trainer scoring tools
	$(BIN)/lint-imports

# a process per core, each file whole in one of them: libraries that each take all cores would only slow one another down
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
