# Everything a fresh machine needs: Python 3.11+ with venv, and make.
.DEFAULT_GOAL := help
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
# Two test processes; a file stays in one, so that what its tests share is made once. In the order of their names: the
# slow ones, on whole portals, come first, and neither process waits for the other at the end.
TWO := -n 2 --dist loadfile --no-loadscope-reorder
# Fault tests wait most of their time.
THREE := -n 3 --dist loadfile --no-loadscope-reorder
# What keeps or counts anything in the database or in Redis; the other rooms' tests touch neither.
STORED := tests/integration $(addprefix tests/unit/,api audit authorities coverage identity inventory notify outbox probing reconcile web) \
	$(wildcard tests/unit/test_*.py)
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

help:
	@echo "make up            run the portal here, with a local Cloudflare stand-in"
	@echo "make test          run the tests that need nothing but Python"
	@echo "make check         format, lint, types, rooms, templates, migrations, deploy settings"
	@echo "make test-services those of them that use a database or Redis, on PostgreSQL and Redis (DATABASE_URL, REDIS_URL)"
	@echo "make test-faults   whole portals under every fault; on PostgreSQL and Redis with DATABASE_URL and REDIS_URL"
	@echo "make chaos         random faults for SECONDS=600, with SEED=... again; test-chaos is a short one"
	@echo "make test-browser  the main job in a browser (needs chromium)"
	@echo "make lock          write requirements*.txt anew"
	@echo "make clean         remove the virtual environment and the data folder"

.venv/made:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv found. Install python3 and python3-venv."; exit 1; }
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: requirements.txt | .venv/made
	@echo "Installing the portal's packages"
	@$(PIP) -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt | .venv/made
	@echo "Installing the portal's and the tests' packages"
	@$(PIP) -r requirements-dev.txt
	@touch $@ .venv/installed

up: .venv/installed
	@exec $(BIN)/python manage.py up

test: .venv/installed-dev
	$(BIN)/python -m pytest -m "not browser and not faults and not chaos" $(TWO) --cov --cov-branch --cov-report=
	$(BIN)/python tests/coverage_gate.py
	@echo "Left out here: the same tests on PostgreSQL and Redis (make test-services), faults (make test-faults), and the browser (make test-browser)."

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/djlint templates --lint --quiet
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python tests/deploy_check.py

test-services: .venv/installed-dev
	@test -n "$$DATABASE_URL" && test -n "$$REDIS_URL" || { echo "Set DATABASE_URL and REDIS_URL."; exit 1; }
	$(BIN)/python -m pytest $(STORED) $(TWO) --create-db

test-faults: .venv/installed-dev
	$(BIN)/python -m pytest tests/faults -m faults $(THREE)

test-chaos: .venv/installed-dev
	$(BIN)/python -m pytest tests/faults -m chaos

SECONDS ?= 600
chaos: .venv/installed-dev
	SECONDS=$(SECONDS) SEED=$(SEED) $(BIN)/python -m tests.faults.chaos

test-browser: .venv/installed-dev
	@test -n "$(CHROMIUM)" || { echo "No chromium found. Install it, then run this again."; exit 1; }
	$(BIN)/python -m pytest tests/browser -m browser $(TWO)

lock:
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv
	.venv-lock/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet -o requirements.txt
	.venv-lock/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --no-strip-extras --quiet -c requirements.txt -o requirements-dev.txt
	rm -rf .venv-lock

clean:
	rm -rf .venv .data

.PHONY: help up test check test-services test-faults test-chaos chaos test-browser lock clean
