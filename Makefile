# Everything one does with this tree. Each target sets up what it needs: a virtual environment, then the C extensions.
#
#   make run [SYSTEM=workstation]   boot a system on this terminal
#   make test [ARGS=…]              the quick tests            make test-slow   those of minutes    make test-long   of hours
#   make check                      format, lint, types, import contracts, the protocol where Spin is installed
#   make protocol [REQUIRE_SPIN=1]  the protocols of channels and mappings, checked by Spin: the quick bounds (ARGS='-m slow': larger ones)
#   make bench [ARGS=…]             benchmarks                 make docs        write what is generated in docs/
#   make ci                         all that .ci/run runs      make clean       remove whatever was made
#
# Set-up writes to standard error alone, so that `printf 'ps\nexit\n' | make run` prints the system's output and no more.

.SILENT:
.PHONY: run test test-model test-unit test-first test-second test-slow test-long check static protocol bench docs docs-check build ci clean
MAKEFLAGS += --no-print-directory --no-builtin-rules
SHELL := /bin/sh
# Bytecode lies beside its source, whatever the shell says: without it each process that is started compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE
# Tests are made of assertions, which this leaves out.
unexport PYTHONOPTIMIZE

PYTHON ?= python3
VENV ?= .venv
SYSTEM ?= workstation
REQUIRE_SPIN ?=
ARGS ?=
MODEL := tests/model tests/conformance tests/unit/kernel tests/unit/sdk tests/unit/authority $(wildcard tests/unit/test_*.py)
BOOTING := tests/system tests/escape
# The same, in two parts that take about as long as each other.
FIRST := $(wildcard tests/system/test_[a-l]*.py)
SECOND := $(filter-out $(FIRST),$(wildcard tests/system/test_*.py)) tests/escape
PY := $(VENV)/bin/python
SOURCES := hw/spin.h $(wildcard hw/_*/*.c hw/_*/*.h kerneld/_*/*.c kerneld/_*/*.h servers/network/_lwip/*.* servers/network/_lwip/arch/*) libsel4py/abi.py \
    hw/header.py setup.py
COMPILED := hw kerneld libsel4py servers apps deploy tests bench

run: build
	$(PY) -m deploy.cli up $(SYSTEM) $(ARGS)

# All of a kind ($(1) selects it), two parts beside each other, since each of them keeps one processor busy: first what
# boots no system, then the others. Those of minutes ($(2)) measure shares of processors, and boot their systems alone.
define test-all
	echo "two parts run beside each other, some minutes; what each says comes at its end" >&2
	status=0; $(MAKE) -k -j2 --output-sync=target test-model test-unit SELECT='$(1)' || status=1; \
	    $(2); exit $$status
endef

test: build
ifeq ($(ARGS),)
	$(call test-all,,$(MAKE) -k -j2 --output-sync=target test-first test-second || status=1)
else
	$(PY) -m pytest $(ARGS)
endif

test-slow: build
ifeq ($(ARGS),)
	$(call test-all,-m slow,$(PY) -m pytest -m slow $(BOOTING) || status=1)
else
	$(PY) -m pytest -m slow $(ARGS)
endif

test-model: build
	$(PY) -m pytest $(SELECT) $(MODEL)

test-unit: build
	$(PY) -m pytest $(SELECT) tests $(addprefix --ignore ,$(MODEL) $(BOOTING))

test-first: build
	$(PY) -m pytest $(FIRST)

test-second: build
	$(PY) -m pytest $(SECOND)

test-long: build
	$(PY) -m pytest -m long $(ARGS)

# Beside each other, since these keep one processor busy, and the protocol's tests now and then another one.
check: build
	$(MAKE) -k -j2 --output-sync=target static protocol ARGS=

static: build
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

# Prints states and depth of each search. Without Spin it says so and skips, unless REQUIRE_SPIN is set.
protocol: build
	REQUIRE_SPIN=$(REQUIRE_SPIN) $(PY) -m pytest -s -rs -m 'not slow' tests/protocol $(ARGS)

bench: build $(VENV)/bench.stamp
	$(PY) -m bench $(ARGS)

docs: build
	$(PY) -m tests.conformance.table
	$(PY) -m tests.conformance.systems
	$(PY) -m deploy.manual

docs-check: build
	$(PY) -m tests.conformance.table --check
	$(PY) -m tests.conformance.systems --check
	$(PY) -m deploy.manual --check

ci:
	.ci/run

build: $(VENV)/extensions.stamp $(VENV)/bytecode.stamp
	$(PY) -c '' 2> /dev/null || { echo "$$(id -un) cannot run $(PY), which belongs to another user's Python;" \
	    "clone the tree for yourself" >&2; exit 1; }

# A stamp is written last: what was interrupted is done again.
$(VENV)/environment.stamp: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "sel4py needs Python 3.11 or later, and $(PYTHON) is not; say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	if [ -e $(VENV) ] && [ ! -w $(VENV) ] || [ ! -w . ]; then \
	    echo "$(VENV) or this folder belongs to another user ($$(id -un) cannot write there); clone the tree for yourself," \
	        "or let its owner run make build" >&2; exit 1; fi
	echo "setting up $(VENV), which takes minutes where the network is slow; $(VENV)/setup.log says what it does …" >&2
	mkdir -p $(VENV)
	{ $(PYTHON) -m venv $(VENV) && $(PY) -m pip install --disable-pip-version-check 'setuptools>=77' wheel -e '.[dev]'; } \
	    > $(VENV)/setup.log 2>&1 || { cat $(VENV)/setup.log >&2; \
	    echo "the set-up failed (its log is $(VENV)/setup.log); it needs Python's venv module, a C compiler, Python's" \
	        "headers and PyPI" >&2; exit 1; }
	touch $@

# Peers that cannot be had are left out of the benchmarks, which say so; they are asked for again the next time.
$(VENV)/bench.stamp: $(VENV)/environment.stamp
	echo "installing what the benchmarks compare with …" >&2
	if $(PY) -m pip install --disable-pip-version-check -e '.[bench]' > $(VENV)/bench.log 2>&1; then touch $@; \
	    else echo "not installed (the log is $(VENV)/bench.log): some peers will be missing" >&2; fi

$(VENV)/extensions.stamp: $(VENV)/environment.stamp $(SOURCES)
	if [ ! -w hw ] || [ ! -w $(VENV) ]; then \
	    echo "the C extensions are out of date, and $$(id -un) cannot write here; let the owner run make build" >&2; exit 1; fi
	echo "building the C extensions; $(VENV)/build.log says what it does …" >&2
	$(PY) setup.py -q build_ext --inplace > $(VENV)/build.log 2>&1 || { cat $(VENV)/build.log >&2; exit 1; }
	grep -s 'is built without' $(VENV)/build.log >&2 || true
	touch $@

# What does not compile is told by whoever imports it; where nothing can be written here, nothing is.
$(VENV)/bytecode.stamp: $(VENV)/extensions.stamp $(shell find $(COMPILED) -name '*.py')
	$(PY) -m compileall -qq $(COMPILED) 2> /dev/null && touch $@ 2> /dev/null || :

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f hw/*.so kerneld/*.so servers/network/*.so hw/abi.h
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
