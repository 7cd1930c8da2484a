# make demo       set up .venv (once), then the whole pipeline on the real demo data
# make test       set up .venv (once), then what CI runs: format, lint, types, import contracts, tests
# make test-all   ... the slow tests too
# make bench      measure against the goals and write docs/benchmarks.md; quiet machine, a few minutes
# make bench-balance   what a step costs under each balance method, over equal weights; three minutes
# make bench-quality   candidate recipes on the flights, beside models for one task alone and LightGBM; an hour
# make bench-peers     torch-rechub's experts beside ours; its own environment from PyPI, once; four minutes
# make bench-serve   the service: clients nobody here wrote, made-up requests, a minute of load; needs PyPI once
# make replay     a year of flights, a retraining a month, spoilt drops between them: what the schedule promises; half an hour
# make experiments   worlds whose answer is known: does the verdict say it? Half an hour, mostly on flights

SHELL := /bin/sh
PYTHON := $(shell command -v python3 || command -v python)
BIN := .venv/bin

.PHONY: demo test test-all bench bench-balance bench-quality bench-peers bench-serve replay experiments check setup clean

demo: setup
	@$(BIN)/python flows/pipeline.py

test: check
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: check
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: setup
	@$(BIN)/python -m benchmarks

bench-balance: setup
	@$(BIN)/python -m benchmarks.balance

bench-quality: setup
	@$(BIN)/python -m benchmarks.quality

bench-peers: setup
	@$(BIN)/python -m benchmarks.peers

bench-serve: setup
	@$(BIN)/python -m benchmarks.service

replay: setup
	@$(BIN)/python -m benchmarks.replay

experiments: setup
	@$(BIN)/python -m benchmarks.experiments

check: setup
	@$(BIN)/ruff format --check --quiet . >/dev/null || { echo "Not formatted; run: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >/dev/null || $(BIN)/lint-imports --no-logo

setup:
	@$(PYTHON) .ci/setup.py

# What tools leave behind; data, models and the cache of DVC stay.
clean:
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache src/*.egg-info
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
