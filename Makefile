# Everything from a fresh clone: each target does the set-up it needs. Only Python 3.11 or newer, make and a shell
# must be there. PYTHON=/path/to/python chooses the interpreter.

export PYTHON
PACKAGES := crypto consensus pbft ledger network byzantine tetrarch
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test campaign attacks machines mutants soak check format bench image lock clean

help: ## show these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv ready for development
	@tools/setup dev

demo: ## the whole story in one run: four replicas, a lost primary, an audit
	@tools/setup runtime
	@$(BIN)/tetrarch demo

test: setup ## run all tests
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

campaign: ## schedules of faults and lies that chance makes (ARGS="--schedules 100000")
	@tools/setup runtime
	@$(BIN)/tetrarch attack campaign $(ARGS)

attacks: ## the whole catalogue of attacks (ARGS="-n 4 -n 7 --seeds 50", or "--runner processes")
	@tools/setup runtime
	@$(BIN)/tetrarch attack run --all $(ARGS)

mutants: ## every rule of the protocol broken in turn: does the campaign notice?
	@tools/setup runtime
	@$(BIN)/tetrarch attack mutants $(ARGS)

soak: setup ## real processes killed, paused and ended under load (ARGS="--minutes 60 --seed 7")
	@$(BIN)/python -m tests.processes.soak $(ARGS)

machines: setup ## all tests of replicas in hosts of their own, the long ones too
	@$(BIN)/python -m pytest tests/machines -m "long or not long" $(ARGS)

check: setup ## format, lint, types and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## put the code into its one form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: ## throughput and latency with everything on
	@tools/setup runtime
	@$(BIN)/tetrarch bench $(ARGS)

image: setup ## build the container image, and run the compose files in containers, as far as this machine can
	@$(BIN)/python -m docker.check $(ARGS)

lock: ## resolve the lock files anew (needs uv)
	@tools/lock

clean: ## remove what these targets made
	rm -rf .venv build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
