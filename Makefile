# make run   build the whole dataset from the SYNTHETIC sample and serve the Dagster UI on http://127.0.0.1:3000
# make test  run the tests
# Both need git, make and Python 3.11 to 3.13, and do their whole set-up themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 3000
READY := $(VENV)/.ready

export ARCTIC_ASSETS_HOME ?= $(CURDIR)/data
# with DAGSTER_HOME, dagster dev would not read the dagster.yaml here; without bytecode each process starts 5 s later
unexport DAGSTER_HOME PYTHONDONTWRITEBYTECODE

.PHONY: run build serve test lint lock clean

run: build serve

build: $(READY)
	$(BIN)/arctic-assets build

serve: $(READY)
	$(BIN)/dagster dev --host 127.0.0.1 --port $(PORT)

test: $(READY)
	$(BIN)/pytest $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# uv installs the locked set about four times faster than pip
$(READY): requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.11 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) --version); set PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirements requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# exact versions of everything, for Python 3.11 to 3.13
lock:
	$(BIN)/uv pip compile setup.cfg --extra dev --universal --python-version 3.11 --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --output-file requirements.lock --upgrade

clean:
	rm -rf $(VENV) data
