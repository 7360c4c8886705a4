# make demo   swap a face in a real clip and show before and after
# make test   the checks and the tests, exactly what CI runs
# make test-gpu   the tests that need an NVIDIA GPU; fails where there is none (CUDA=cuda12: old drivers)
# make check  lint, format, types, import contracts
# make clean  remove everything that make made here
#
# PYTHON=python3.12 make ... uses another interpreter (3.11 or newer) for a new .venv.

PYTHON ?= python3
CUDA ?= cuda13
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-gpu check clean

help:
	@sed -n 's/^# \{0,1\}//; /./!q; p' Makefile

setup: $(STAMP)

demo: $(STAMP)
	$(VENV)/bin/python scripts/demo

test: check
	scripts/test

test-gpu: $(STAMP)
	$(PIP) install --quiet --constraint constraints.txt 'swapfarm[$(CUDA)-lean]'
	FAIL_WITHOUT_CUDA=1 scripts/test -m cuda

check: $(STAMP)
	scripts/check

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache \
		.hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made again only when what is to be installed changes. The build back end comes from the same
# constraints, so pip needs no build environment of its own with whatever is newest today.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: $(PYTHON) is missing or older than Python 3.11." >&2; \
		echo "Next: install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
		exit 2; }
	@$(VENV)/bin/python -c '' 2>/dev/null || rm -rf $(VENV)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "error: $(PYTHON) could not make a virtual environment (on Debian: apt install python3-venv)." >&2; \
		exit 2; }
	$(PIP) install --quiet --constraint constraints.txt pip hatchling editables
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@
