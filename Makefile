# make demo   swap a face in a real clip and show before and after
# make test   the checks and the tests, exactly what CI runs
# make test-gpu   the tests that need an NVIDIA GPU; fails where there is none (CUDA=cuda12: old drivers)
# make check  lint, format, types, import contracts
# make clean  remove everything that make made here
#
# PYTHON=python3.12 make ... uses another interpreter (3.11 or newer) for a new .venv.

PYTHON ?= python3
CUDA ?= cuda13
TORCH_cuda12 := torch>=2.10,<2.11
TORCH_cuda13 := torch>=2.14,<2.16
ONNX_cuda12 := onnxruntime-gpu[cuda,cudnn]>=1.26,<1.27
ONNX_cuda13 := onnxruntime-gpu[cuda,cudnn]>=1.31,<2
VENV := .venv
BESIDE := $(VENV)/beside
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

# PyTorch wants another NVRTC than the pinned one, and onnxruntime-gpu brings onnxruntime's module:
# they go beside, where only these tests look.
test-gpu: $(STAMP)
	$(PIP) install --quiet --constraint constraints.txt 'swapfarm[$(CUDA)-lean]'
	sed '/^nvidia-cuda-nvrtc/d' constraints.txt > $(BESIDE).txt
	$(PIP) install --quiet --upgrade --target $(BESIDE) --constraint $(BESIDE).txt \
		'$(TORCH_$(CUDA))' '$(ONNX_$(CUDA))'
	FAIL_WITHOUT_CUDA=1 PYTHONPATH=$(abspath $(BESIDE)) scripts/test -m cuda

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
