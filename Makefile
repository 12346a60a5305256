# jeoni: everything a newcomer needs. `make demo` and `make test` set up what they need themselves.
PYTHON ?= python3
BIN := .venv/bin
# One thread a worker: two processes with two threads each on two cores wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8

.PHONY: help setup demo test test-all check bench clean

help:
	@echo "make demo      set up, fine-tune a pretrained model to answer questions, show the difference it makes"
	@echo "make test      set up, lint, type-check, run the tests"
	@echo "make setup     only set up: leaves .venv/bin/jeoni"
	@echo "make check     linter, formatter check, strict type checker"
	@echo "make test-all  the tests that take minutes, too (20 kill -9 rounds, whole corpora)"
	@echo "make bench     fine-tuning speed against the transformers Trainer"
	@echo "make clean     remove .venv, caches and the demo's runs"

.venv/created:
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"jeoni needs Python 3.11 or later; {sys.executable} is {v.major}.{v.minor}. Try: make PYTHON=python3.12 setup")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

.venv/demo: .venv/created pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[demo]'
	@touch $@

.venv/test: .venv/created pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[test]'
	@touch $@

.venv/bench: .venv/created pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[test,bench,tensorboard]'
	@touch $@

setup: .venv/demo

demo: .venv/demo
	@$(BIN)/python -m jeoni demo

check: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: .venv/test check
	$(PYTEST) -m "not slow"

test-all: .venv/test check
	$(PYTEST)

bench: .venv/bench
	$(BIN)/python benchmarks/finetune.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache build dist src/*.egg-info runs/demo*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
