# `make check` runs the gate, `make test` the tests; each sets up what is missing, once.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: check test lint nightly docs spin clean

check: $(READY)
	$(BIN)/radixproof check --profile quick

test: $(READY) lint
	@{ command -v spin && command -v gcc; } >/dev/null || echo "spin or gcc is missing: its tests will be SKIPPED, not passed; make spin installs them"
	$(BIN)/pytest

# What takes longer than CI allows.
nightly: $(READY)
	$(BIN)/pytest -m nightly

# What the machine alone, without tests and corpus, reaches of the specification: lines and branches.
coverage: $(READY)
	mkdir -p .radixproof
	$(BIN)/coverage run -m radixproof.stateful_tests.model_coverage
	$(BIN)/coverage report

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p radixproof

# The checker that the explorer is counted against; without it three tests are skipped, by name.
spin:
	{ command -v spin && command -v gcc; } >/dev/null || { apt-get update -q && apt-get install -qy spin gcc; }

# Pages that are generated from the code; a test checks that they are current.
docs: $(READY)
	$(BIN)/radixproof spec --markdown > docs/invariants.md

$(READY): requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps -e .
	touch $@

clean:
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache .radixproof *.egg-info
