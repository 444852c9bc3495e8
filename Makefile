# Needs only Python 3.11+ and make. Every target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A folder beside the checkout may hold the real data; otherwise they are fetched.
DATA := $(if $(ETUDE_DATA),,$(if $(wildcard ../shared/data),ETUDE_DATA=../shared/data))
WORKERS ?= auto

.PHONY: demo test test-slow coverage wheel lint bench docs clean
.DEFAULT_GOAL := test

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Etude needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(READY)
	$(BIN)/etude train gravitational-waves/demo --overwrite
	$(DATA) $(BIN)/etude detect runs/gravitational-waves/demo GW150914 || \
		echo "The network is trained, but GW150914 was not searched; see the line above."

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-slow: $(READY)
	XLA_FLAGS="--xla_backend_optimization_level=3 --xla_cpu_use_fusion_emitters=true" \
		$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "slow or hypothesis" --timeout 1800 \
		--hypothesis-profile thorough

# How much of the package the tests run: the lines of `make test`, in all of its processes.
coverage: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pytest-cov==7.1.0
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov=etude --cov-report=term

# The package as others install it: built, put into an environment of its own, its examples run.
wheel: $(READY)
	rm -rf dist $(VENV)-wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build==1.6.1
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(VENV)-wheel/bin/python -m pip install --quiet --disable-pip-version-check --no-deps dist/*.whl
	cd dist && ../$(VENV)-wheel/bin/python -m pytest -n $(WORKERS) -q -p no:cacheprovider \
		--doctest-modules -o doctest_optionflags=NORMALIZE_WHITESPACE --pyargs etude

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

# The peers (Keras, Lightning, torch) are large and only the benchmarks need them.
$(VENV)/.ready-bench: $(READY) benchmarks/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

bench: $(VENV)/.ready-bench
	$(BIN)/python -m benchmarks

docs: $(READY)
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(VENV)-wheel dist site runs .pytest_cache .hypothesis .ruff_cache
