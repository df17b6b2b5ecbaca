# What people type. Each target sets up what it needs, on a machine with Python 3.11 and make.
# With PYTHON=python3.13, say, a target runs on that Python, in a virtual environment beside .venv.

PYTHON ?= python3
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
PROTOS_VENV := .venv-protos
# The tests of a file run in order, in one of three processes, for many of them wait. With WORKERS= all run in one.
WORKERS ?= -n 3 --dist loadfile --no-loadscope-reorder
SOURCES := benchmarks docs examples helm lookaside client_resolver tests protos

.DELETE_ON_ERROR:
.PHONY: help setup demo test test-pythons test-cluster bench docs generate lint format protos requirements clean

help: ## Show the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.done ## Make the virtual environment with both packages and the pinned tools.

$(VENV)/.done: requirements/dev.txt pyproject.toml client_resolver/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e ./client_resolver
	@touch $@

demo: setup ## Run the service, three backends and a client; print who answered.
	$(BIN)/lookaside demo

test: setup ## Run the tests that need neither network, root nor Go.
	$(BIN)/pytest $(WORKERS) --ignore=tests/cluster $(PYTEST_ARGS)

test-pythons: setup ## Run the client's tests, and most of the service's, on each supported Python that is here.
	$(BIN)/python -m tests.pythons $(PYTEST_ARGS)

test-busy: setup ## Run the tests five times in a row on a busy machine: REPEAT=5 BUSY=6.
	$(BIN)/python -m tests.busy --repeat $(or $(REPEAT),5) --busy $(or $(BUSY),6) $(WORKERS) --ignore=tests/cluster $(PYTEST_ARGS)

test-cluster: setup ## Run the tests on a real API server. Needs root and, once, Go.
	$(BIN)/python -m tests.cluster.run $(PYTEST_ARGS)

bench: setup ## Measure: what a pick costs, a change costs, and the Kubernetes source beside client-go.
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.instructions
	$(BIN)/python -m benchmarks.idle
	$(BIN)/python -m benchmarks.churn
	$(BIN)/python -m benchmarks.turns
	$(BIN)/python -m benchmarks.informer

docs: setup ## Build the documentation's site.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

generate: setup ## Write the pages, tables and dashboards that are made from the code.
	$(BIN)/python -m docs.generate
	$(BIN)/python -m helm.generate

lint: setup $(PROTOS_VENV)/.done ## Check style, types, layers, protos, phrases and generated files.
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports
	$(BIN)/buf lint protos
	$(BIN)/buf format --diff --exit-code protos
	$(PROTOS_VENV)/bin/python protos/generate.py --check
	$(BIN)/python -m docs.phrases
	$(BIN)/python -m docs.generate --check
	$(BIN)/python -m helm.generate --check

format: setup ## Format the code.
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/buf format --write protos

protos: $(PROTOS_VENV)/.done ## Generate the stubs of both packages.
	$(PROTOS_VENV)/bin/python protos/generate.py

# Generated code refuses a runtime older than its generator: a virtual environment of its own has
# the lowest version that the packages support.
$(PROTOS_VENV)/.done: requirements/protos.txt
	$(PYTHON) -m venv $(PROTOS_VENV)
	$(PROTOS_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/protos.txt
	@touch $@

requirements: setup ## Pin the newest versions anew. Needs uv.
	for pins in requirements/runtime requirements/dev requirements/image requirements/protos \
	        examples/requirements; do \
	    uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	        --no-header --no-emit-index-url --no-emit-find-links \
	        --output-file $$pins.txt $$pins.in || exit 1; \
	done

clean: ## Remove what the other targets made.
	rm -rf .venv .venv-python* $(PROTOS_VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
