# Everything a developer types. Each target sets up what it needs in .venv first, from nothing but Python, make and
# a package registry; a set-up that is up to date costs nothing and asks no network.

PYTHON ?= python3
# What `make test-pythons` looks for.
PYTHONS ?= python3.10 python3.11 python3.12

PY := .venv/bin/python
READY := .venv/.ready
DEMO_READY := .venv/.demo-ready
ENGINES_READY := .venv/.engines-ready
PYTEST := -m pytest --numprocesses 3 --dist loadfile
# Those with targets of their own.
FAST_ENOUGH := not chaos and not runners and not stores

# Only .venv counts, whichever environment is active.
unexport VIRTUAL_ENV PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help demo test test-runners test-stores check lint types format coverage simulate chaos bench test-pythons test-lowest pins dist clean

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(DEMO_READY) ## Label photographs and digits over HTTP on this machine, then query the tables
	$(PY) -m pipelines.demo

test: $(READY) ## Run every test but those of chaos, runners and stores, in parallel
	$(PY) $(PYTEST) -m '$(FAST_ENOUGH)'

coverage: $(READY) ## Run the same without the simulation, and report what they cover
	$(PY) -m coverage erase
	$(PY) -m coverage run $(PYTEST) -m '$(FAST_ENOUGH)' --ignore=tests/simulation
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

chaos: $(READY) ## Kill the real command at random moments: KILLS=5 times a test, SEED=1
	CHAOS_KILLS=$(or $(KILLS),5) CHAOS_SEED=$(or $(SEED),1) $(PY) $(PYTEST) -m chaos tests/chaos

test-runners: $(ENGINES_READY) ## Run jobs on a Flink cluster, Prism and Spark; what they need is built once (20 minutes)
	$(PY) -m pytest -m runners tests/runners tests/readers

test-stores: $(ENGINES_READY) ## Run jobs from and to MinIO, a GCS emulator, azurite and HDFS; built once (15 minutes)
	$(PY) -m pytest -m stores tests/stores

simulate: $(READY) ## Simulate lives of an output: SEEDS=10000 of them, or SEED=n with a trace
	$(PY) tests/simulation/simulate.py $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000))

bench: | $(PY) ## Measure beside peers, in environments of their own: BENCH_IMAGES=5000 ROUNDS=3 BENCH_OPTIONS=...
	$(PY) -m benchmarks.bench --images $(or $(BENCH_IMAGES),5000) --rounds $(or $(ROUNDS),3) $(BENCH_OPTIONS)

check: lint types test ## Run lint, types and test: what a change has to pass

lint: $(READY) ## Check style, formatting and which module imports which
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	.venv/bin/lint-imports

types: $(READY) ## Check the types (mypy, strict)
	$(PY) -m mypy

format: $(READY) ## Format the code and mend what ruff can mend
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

test-pythons: $(READY) ## Run the fast tests under each of Python 3.10, 3.11 and 3.12 that is here
	@set -e; ran=; for python in $(PYTHONS); do \
	  if ! "$$python" -c '' 2>/dev/null; then echo "== $$python is not here: left out"; continue; fi; \
	  ran=yes; env=".venvs/$${python##*/}"; echo "== $$python"; \
	  $(PY) -m uv venv --quiet --clear --python "$$(command -v "$$python")" "$$env"; \
	  $(PY) -m uv pip install --quiet --python "$$env/bin/python" -c constraints.txt -e '.[dev]'; \
	  "$$env/bin/python" $(PYTEST) -m 'not slow and $(FAST_ENOUGH)'; \
	done; test -n "$$ran" || { echo "None of these is here: $(PYTHONS)" >&2; exit 1; }

test-lowest: $(READY) ## Run the fast tests with the oldest dependencies that pyproject.toml allows
	$(PY) -m uv venv --quiet --clear --python "$$(command -v "$(PYTHON)")" .venvs/lowest
	$(PY) -m uv pip install --quiet --python .venvs/lowest/bin/python --resolution lowest-direct -e '.[dev]'
	.venvs/lowest/bin/python $(PYTEST) -m 'not slow and $(FAST_ENOUGH)'

pins: $(READY) ## Renew constraints.txt with the newest releases that pyproject.toml allows
	$(PY) -m uv pip compile --quiet --universal --python-version 3.10 --extra engines --upgrade --no-annotate \
	  --custom-compile-command 'make pins' --output-file constraints.txt pyproject.toml

dist: $(READY) ## Build the sdist and the wheel, and check them for the package index
	rm -rf dist
	$(PY) -m build --no-isolation
	$(PY) -m twine check --strict dist/*

clean: ## Remove what the other targets made, except .venv
	rm -rf demo build dist .venvs benchmarks/.venvs benchmarks/results/latest.json .cache htmlcov .coverage .coverage.* coverage.xml *.egg-info
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up ---------------------------------------------------------------------------------------

# The pinned build backend goes in first, so that no build needs an isolated environment of its own.
define install
	@echo "Installing into .venv (once; again when pyproject.toml or constraints.txt change)"
	@if command -v uv >/dev/null 2>&1; then install="uv pip install --python $(PY)"; \
	else install="$(PY) -m pip install --disable-pip-version-check"; fi; set -e; \
	$$install --quiet -c constraints.txt setuptools; \
	$$install --quiet -c constraints.txt --no-build-isolation -e '.[$(1)]'
	@touch $@
endef

$(READY): pyproject.toml constraints.txt setup.py | $(PY)
	$(call install,dev)
	@touch $(DEMO_READY)

$(ENGINES_READY): pyproject.toml constraints.txt setup.py | $(PY)
	$(call install,engines)
	@touch $(READY) $(DEMO_READY)

# A newcomer's first two minutes need no linters and no stores to test against.
$(DEMO_READY): pyproject.toml constraints.txt setup.py | $(PY)
	$(call install,demo)

$(PY):
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "deepo-beam needs Python 3.10 or newer, and $(PYTHON) is $$("$(PYTHON)" --version 2>&1 || true)." >&2; \
	  echo "Name another one, for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@rm -rf .venv
	@if command -v uv >/dev/null 2>&1; then uv venv --quiet --seed --python "$$(command -v "$(PYTHON)")" .venv; \
	else "$(PYTHON)" -m venv .venv; fi || { rm -rf .venv; \
	  echo "No environment could be made; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
