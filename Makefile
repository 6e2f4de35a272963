# One line per question: `make help`. Nothing here needs an activated environment.
# Needed: GNU make 4, Python 3.11 or newer; Go only for `make up`, `make test-all` and `make failover`;
# Maven and Java 21 or newer, for the real Kafka and Strimzi's CRDs, only for `make test-all`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.installed
PYTEST := $(PY) -m pytest -p tests.no_skips
# The trials mostly wait for what they start: two at once, each a cluster of its own, fill two cores and 24 GiB.
LANES ?= 2
# Hashes pin every file; no index and no link is written down, so that any mirror serves.
COMPILE = $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(LOCK_OPTIONS)

.DEFAULT_GOAL := help
.PHONY: help venv up down test test-all check bench lock golden failover
.DELETE_ON_ERROR:

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: venv ## everything from nothing: tools, control plane, the dev stack; ends with its status
	./payctl up --stack dev

down: venv ## destroy the dev stack and stop what `make up` started
	./payctl down --stack dev

test: venv ## fast tests, and those with real daemons that need no compiler
	$(PYTEST) tests --ignore tests/sandbox -m "not slow" -n auto

test-all: test ## also build and test the real engine and the real API server (needs Go, Maven, Java)
	$(PYTEST) tests -m "slow or sandbox" -p tests.lanes -n $(LANES) --dist loadscope --durations 20

check: venv ## format, lint, types, import contracts, dead code, workflows, settings and policies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=.:client $(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github
	$(PYTEST) tests/unit/test_requirements.py
	./payctl check --stack dev
	./payctl check --stack prod

bench: venv ## every benchmark beside its rival: a table and a JSON file
	$(PY) -m bench
	$(PY) -m bench.edge
	PYTHONPATH=.:client $(PY) -m bench.cache
	PYTHONPATH=.:client $(PY) -m bench.data
	PYTHONPATH=.:client $(PY) -m bench.kafka

failover: venv ## every fault of the database five times, beside Patroni's defaults: docs/failover.md (needs Go)
	$(PY) -m bench.failover $(FAILOVER_OPTIONS)

lock: venv ## write the hashed requirements*.txt anew (LOCK_OPTIONS=--upgrade for newer versions)
	$(COMPILE) requirements-dev.in --output-file requirements-dev.txt
	$(COMPILE) requirements.in --constraints requirements-dev.txt --output-file requirements.txt
	$(COMPILE) policies/requirements.in --constraints requirements-dev.txt --output-file policies/requirements.txt

golden: venv ## write the golden manifests of tests/golden anew; look at the diff
	$(PY) -m tests.golden.regenerate

venv: $(STAMP) ## make .venv with the pinned packages; costs nothing when they are installed

# uv installs all of it in 4 s where pip takes 21 s (2 cores, nothing cached); pip only fetches uv itself, by hash.
# `sync` also removes what is no longer listed, so that a forgotten line shows here and not in CI.
$(STAMP): requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: Python 3.11 or newer is needed, and '$(PYTHON)' says: $$($(PYTHON) --version 2>&1 | head -n 1)" >&2; \
	  echo "      install one, then for example: make PYTHON=python3.12 $(or $(MAKECMDGOALS),venv)" >&2; exit 1; }
	@$(PY) -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "make: '$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PY) -m uv --version >/dev/null 2>&1 || { \
	  awk '/^[^ #]/ { wanted = /^uv==/ } wanted' requirements-dev.txt >$(VENV)/uv.txt && \
	  $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(VENV)/uv.txt; }
	$(PY) -m uv pip sync --quiet --python $(PY) --require-hashes requirements-dev.txt
	@touch $(STAMP)
