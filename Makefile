# PYTHON names the environment's interpreter: make check PYTHON=.venv/bin/python
PYTHON ?= python

.PHONY: check format lint types layers test slow gpu benchmarks

check: lint types layers test

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types:
	$(PYTHON) -m mypy

layers:
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

test:
	$(PYTHON) -m pytest

slow:
	$(PYTHON) -m pytest -m slow -n 0

gpu:
	$(PYTHON) -m pytest -m gpu -n 0

benchmarks:
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks
