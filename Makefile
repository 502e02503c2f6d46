# Everything a developer or an operator types. `make` alone says what there is.
#
# Needs Python 3.11 or newer with its venv module, and make. All else goes into .venv, once: the stamps below
# are older than the files that describe the packages only when one of those changed, and only then does pip run.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
PLUGINS ?=
CONTAINER ?= docker

BIN := $(VENV)/bin
INSTALL := $(BIN)/python .ci/install.py
PYVERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
# Every plugin's folder; those that `make serve` installs; those that PLUGINS adds, awskms for plugins/tsa-signer-awskms.
FOLDERS := $(patsubst %/pyproject.toml,%,$(sort $(wildcard plugins/*/pyproject.toml)))
BASIC := $(patsubst %,plugins/tsa-%,signer-memory signer-file monitor-chrony monitor-ntp)
ADDED := $(foreach name,$(PLUGINS),$(filter plugins/tsa-$(name) %-$(name),$(FOLDERS)))
UNKNOWN := $(strip $(foreach name,$(PLUGINS),$(if $(filter plugins/tsa-$(name) %-$(name),$(FOLDERS)),,$(name))))
NAMES := $(patsubst signer-%,%,$(patsubst plugins/tsa-%,%,$(filter-out $(BASIC),$(FOLDERS))))
$(if $(and $(filter serve,$(MAKECMDGOALS)),$(UNKNOWN)),$(error There is no plugin $(UNKNOWN); there are: $(NAMES)))
METADATA := pyproject.toml constraints.txt $(FOLDERS:%=%/pyproject.toml)

# Three workers per core, at most eight: a test waits for its servers most of its time. Each takes a run of files, so that
# a server which a module starts is started once, and whoever is done early takes over what others have not begun.
WORKERS ?= $(shell "$(PYTHON)" -c 'import os; print(min(8, 3 * (os.cpu_count() or 1)))' 2>/dev/null)
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

READY := $(VENV)/.stamp-python$(PYVERSION)
SERVE := $(VENV)/.stamp-serve
DEV := $(VENV)/.stamp-dev
DOCS := $(VENV)/.stamp-docs
DIST := $(VENV)/.stamp-dist

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help serve dist image test interop-clients bench bench-all bench-quick drills lint format types docs import-graph constraints clean

help: ## say what there is
	@echo "make TARGET [PYTHON=python3.12] [ARGS='options for the command']"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

serve: $(SERVE) $(ADDED:plugins/%=$(VENV)/.stamp-plugin-%) ## serve timestamps on 127.0.0.1:3000; PLUGINS="awskms tink" adds plugins
	@echo 'More plugins: make serve PLUGINS="awskms tink"; there are: $(NAMES)'
	$(BIN)/timestamp-server serve $(ARGS)

# Compiled once, before the workers start: each would compile the same modules at the same time.
test: $(DEV) ## run the whole test suite; ARGS='-k name' chooses
	@$(BIN)/python .ci/compile.py
	$(PYTEST) $(ARGS)

interop-clients: $(DEV) ## build the clients in Go, Node, Java and Rust that tests use; once, into the user's cache
	$(BIN)/python -m tests.interop.builds
	$(BIN)/python -m tests.interop.reference_tests

bench: $(DEV) ## measure beside others on this machine, and write docs/operate/measured.md; 12 minutes, ARGS='--only servers' chooses
	$(BIN)/python -m bench.page $(if $(findstring --only,$(ARGS)),,--write) $(ARGS)

bench-all: $(DEV) ## run every benchmark, and compare with the baselines; an hour
	$(BIN)/python -m bench $(ARGS)

bench-quick: $(DEV) ## run the benchmarks for a few seconds, to see that they work
	$(BIN)/python -m bench --quick $(ARGS)

drills: $(DEV) ## run replicas behind HAProxy and nginx, and let parts fail; ARGS='--only kill' chooses
	$(BIN)/python -m bench.replicas $(ARGS)

lint: $(DEV) ## check style, formatting and who imports whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache

format: $(DEV) ## mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(DEV) ## check types in the core, the plugins and the tests
	PATH="$(abspath $(BIN)):$$PATH" .ci/types

docs: $(DOCS) ## build the documentation into site/; a warning is an error
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --doctree-dir site/.doctrees docs site
	@echo "The documentation is in site/index.html"

dist: $(DIST) ## build and check wheels, sdists, a wheelhouse and an SBOM in dist/
	$(BIN)/python .ci/dist.py $(ARGS)

image: ## build the container image and print its size; CONTAINER=podman instead of docker
	BUILDAH_FORMAT=docker $(CONTAINER) build -f deploy/Dockerfile -t tsa-core $(ARGS) .
	@$(CONTAINER) image inspect --format '{{.Size}}' tsa-core | awk '{ printf "tsa-core: %.0f MB\n", $$1 / 1e6 }'

import-graph: $(DEV) ## draw which room imports which, for the documentation
	$(BIN)/python .ci/import_graph.py

constraints: $(DEV) ## write constraints.txt anew from what the indexes offer today
	$(BIN)/python .ci/constraints.py

clean: ## remove .venv and everything that was built
	rm -rf "$(VENV)" .tox build dist site wheels .coverage* coverage.xml htmlcov
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY):
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "tsa-core needs Python 3.11 or newer, and there is no $(PYTHON); name one: make PYTHON=python3.12" >&2; \
	  exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tsa-core needs Python 3.11 or newer, and $(PYTHON) is $(PYVERSION); name another: make PYTHON=python3.12" >&2; \
	  exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python$(PYVERSION)-venv" >&2; \
	  exit 1; }
	"$(PYTHON)" -m venv --clear "$(VENV)"
	@touch $@

$(SERVE): $(READY) $(METADATA)
	@echo "Installing tsa-core, its memory and file signers and its clock monitors into $(VENV)"
	@$(INSTALL) . $(BASIC)
	@rm -f $(VENV)/.stamp-plugin-*
	@touch $@

$(VENV)/.stamp-plugin-%: $(SERVE) plugins/%/pyproject.toml
	@echo "Adding $*"
	@$(INSTALL) plugins/$*
	@touch $@

# The serving packages are among these: no second run of pip for `make serve` after `make test`.
$(DEV): $(READY) $(METADATA) requirements-dev.txt
	@echo "Installing tsa-core, its plugins and the development tools into $(VENV)"
	@$(INSTALL) --requirement requirements-dev.txt
	@touch $(SERVE) $(FOLDERS:plugins/%=$(VENV)/.stamp-plugin-%) $@

$(DOCS): $(SERVE) docs/requirements.txt
	@echo "Installing the documentation tools into $(VENV)"
	@$(INSTALL) --requirement docs/requirements.txt
	@touch $@

$(DIST): $(READY) constraints.txt requirements-dist.txt
	@echo "Installing the packaging tools into $(VENV)"
	@$(INSTALL) --requirement requirements-dist.txt
	@touch $@
