# Everything one can do in this checkout. Each command first sets up .venv, which takes no time when nothing has changed.

SHELL := bash
.DEFAULT_GOAL := help
python := .venv/bin/python
WORKERS ?= 2

# Ground floor first; a room imports only lower floors, rooms joined by | never import each other (CONTRIBUTING.md).
layers := core,metrics,data|prompts|models|adapters|losses,rollout,segment,training|evaluation,runs,export|report,autopilot,studio,cli,__main__

.PHONY: help setup demo test lint format types shape check wheel lock

help: ## List the commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## Set up .venv; no CUDA packages where there is no NVIDIA GPU
	@tools/setup.sh

demo: setup ## Run the main job on drawn data: check, fine-tune, prove; the report is runs/demo/report.html
	$(python) -m segtune demo --out runs/demo

# One thread a worker: with two workers on two cores, more of them only wait for each other. Whoever is done takes
# tests from the other: the long ones lie together.
test: setup ## Run every test (TESTS=tests/cli for some, WORKERS=8 for more processes)
	OMP_NUM_THREADS=1 $(python) -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

lint: setup ## Look for faults and for unformatted code
	$(python) -m ruff check .
	$(python) -m ruff format --check .

format: setup ## Format the code and mend what can be mended by itself
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

types: setup ## Check the types, strictly
	$(python) -m mypy

shape: setup ## Check the layers and measure the shape of the code
	$(python) tools/style_numbers.py . src/segtune --max-cycles 0 --layers "$(layers)"

check: test lint types shape ## All of the above, as CI does

wheel: setup ## Build dist/segtune-*.whl
	$(python) -m hatchling build -t wheel

lock: setup ## Pin the newest versions of all dependencies in constraints.txt
	tools/lock.sh
